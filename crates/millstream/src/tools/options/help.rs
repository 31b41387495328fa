//! `--help`, made from the declaration.

use std::fmt::Write;

use super::{Flag, Spec, Takes};

const COLUMN: usize = 34;
const WIDTH: usize = 100;

impl Spec {
    pub(in crate::tools) fn help(&self) -> String {
        let mut text = format!("{}\n\nusage: {} OPTIONS\n\n", self.summary, self.name);
        text += &list(self.flags);
        if !self.examples.is_empty() {
            text += "\nexamples:\n";
            for example in self.examples {
                text += format!("  {} {example}", self.name).trim_end();
                text.push('\n');
            }
        }
        text
    }
}

/// One line and more for each option that is not merely an older spelling.
pub(super) fn list(flags: &[Flag]) -> String {
    let mut text = String::new();
    for flag in flags.iter().filter(|flag| !flag.hidden) {
        let value = match flag.takes {
            Takes::Nothing => String::new(),
            Takes::One(value) => format!(" {value}"),
            Takes::AtMostOne(value) => format!(" [{value}]"),
            Takes::Many(value) => format!(" {value} …"),
        };
        let short = flag.short.map(|short| format!("-{short}, ")).unwrap_or_default();
        let head = format!("  {short}--{}{value}", flag.name);
        let mut says = flag.help.to_owned();
        if flag.required {
            says += " Required.";
        }
        if let Some(default) = flag.default.filter(|default| !default.is_empty()) {
            write!(says, " [default: {default}]").expect("a string takes everything");
        }
        let mut line = head;
        if line.chars().count() >= COLUMN {
            text += &line;
            text.push('\n');
            line = String::new();
        }
        for word in says.split(' ') {
            let length = line.chars().count();
            if length > COLUMN && length + 1 + word.chars().count() > WIDTH {
                text += line.trim_end();
                text.push('\n');
                line = String::new();
            }
            let pad = COLUMN.saturating_sub(line.chars().count()).max(1);
            line.extend(std::iter::repeat_n(' ', pad));
            line += word;
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_and_older_spellings_are_left_out() {
        let words = "word ".repeat(30);
        let flags = [
            Flag::new("old", "").hidden(),
            Flag::new("topic", Box::leak(words.into_boxed_str())).takes("TOPIC").default("x"),
        ];
        let text = list(&flags);
        assert!(text.starts_with("  --topic TOPIC                   word"), "{text}");
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.ends_with("[default: x]\n") && !text.contains("old"));
    }
}
