//! What argparse4j accepts: sub-commands, groups of options that exclude each other, names cut short as
//! long as they fit one option alone.

use std::{collections::VecDeque, fmt::Write};

use super::{Flag, Given, Takes, help::list};
use crate::tools::exit::{Exit, Outcome};

/// Options of which at most one, or exactly one, may be given.
#[derive(Clone, Copy, Debug)]
pub(in crate::tools) struct Group {
    pub(in crate::tools) names: &'static [&'static str],
    pub(in crate::tools) required: bool,
}

/// A sub-command.
#[derive(Clone, Copy, Debug)]
pub(in crate::tools) struct Verb {
    pub(in crate::tools) name: &'static str,
    pub(in crate::tools) help: &'static str,
    pub(in crate::tools) flags: &'static [Flag],
    pub(in crate::tools) groups: &'static [Group],
}

#[derive(Clone, Copy, Debug)]
pub(in crate::tools) struct Grammar {
    pub(in crate::tools) name: &'static str,
    pub(in crate::tools) summary: &'static str,
    pub(in crate::tools) flags: &'static [Flag],
    pub(in crate::tools) groups: &'static [Group],
    /// Empty for a tool without sub-commands.
    pub(in crate::tools) verbs: &'static [Verb],
    pub(in crate::tools) examples: &'static [&'static str],
    /// How the tool ends after `--help`, which differs among Kafka's.
    pub(in crate::tools) help_code: u8,
}

/// A command line, or the request to be told about it.
pub(in crate::tools) enum Parsed {
    Given(Given),
    Help(String),
    Version,
}

const HELP_FLAG: Flag = Flag::new("help", "Show this.").short('h');

impl Grammar {
    pub(in crate::tools) fn parse(&self, arguments: &[String]) -> Outcome<Parsed> {
        let mut left: VecDeque<String> = arguments.iter().cloned().collect();
        let mut given = Given::default();
        let mut verb: Option<&'static Verb> = None;
        self.note_defaults(&mut given, self.flags);
        while let Some(argument) = left.pop_front() {
            let is_option = argument.len() > 1 && argument.starts_with('-');
            if !is_option {
                match verb {
                    None if !self.verbs.is_empty() => {
                        let chosen = self.verb(&argument)?;
                        given.command = chosen.name;
                        self.note_defaults(&mut given, chosen.flags);
                        verb = Some(chosen);
                    }
                    _ => return Err(self.error(&format!("unrecognized arguments: '{argument}'"))),
                }
                continue;
            }
            // Behind a sub-command its own options come first.
            let known = verb.map_or(self.flags, |verb| verb.flags);
            let (flag, inline) = self.find(known, &argument)?;
            match flag.name {
                "help" => return Ok(Parsed::Help(self.help(verb))),
                // Of no tool's sub-commands, and answered before anything is missed.
                "version" => return Ok(Parsed::Version),
                _ => {}
            }
            self.take(&mut given, flag, inline, &mut left)?;
        }
        if verb.is_none() && !self.verbs.is_empty() {
            return Err(self.error("too few arguments"));
        }
        self.check(&given, self.flags, self.groups)?;
        if let Some(verb) = verb {
            self.check(&given, verb.flags, verb.groups)?;
        }
        Ok(Parsed::Given(given))
    }

    fn note_defaults(&self, given: &mut Given, flags: &'static [Flag]) {
        for flag in flags {
            if let Some(default) = flag.default {
                given.defaults.insert(flag.name, default);
            }
        }
    }

    fn verb(&self, name: &str) -> Outcome<&'static Verb> {
        let names: Vec<String> = self.verbs.iter().map(|verb| format!("'{}'", verb.name)).collect();
        let unknown = || self.error(&format!("invalid choice: '{name}' (choose from {})", names.join(", ")));
        self.verbs.iter().find(|verb| verb.name == name).ok_or_else(unknown)
    }

    fn find(&self, flags: &'static [Flag], argument: &str) -> Outcome<(Flag, Option<String>)> {
        let unknown = || self.error(&format!("unrecognized arguments: '{argument}'"));
        let Some(long) = argument.strip_prefix("--") else {
            let mut letters = argument[1..].chars();
            let letter = letters.next().unwrap_or_default();
            let flag = flags.iter().chain([&HELP_FLAG]).find(|flag| flag.short == Some(letter));
            let behind = letters.as_str();
            let inline = Some(behind.strip_prefix('=').unwrap_or(behind).to_owned());
            return Ok((*flag.ok_or_else(unknown)?, inline.filter(|text| !text.is_empty())));
        };
        let (name, inline) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let all = || flags.iter().chain([&HELP_FLAG]);
        if let Some(flag) = all().find(|flag| flag.name == name) {
            return Ok((*flag, inline));
        }
        let fitting: Vec<&Flag> = all().filter(|flag| flag.name.starts_with(name)).collect();
        match fitting[..] {
            [flag] => Ok((*flag, inline)),
            [] => Err(unknown()),
            _ => {
                let names: Vec<String> = fitting.iter().map(|flag| format!("--{}", flag.name)).collect();
                Err(self.error(&format!("ambiguous option: --{name} could match {}", names.join(", "))))
            }
        }
    }

    fn take(
        &self,
        given: &mut Given,
        flag: Flag,
        inline: Option<String>,
        left: &mut VecDeque<String>,
    ) -> Outcome {
        let follows = |left: &VecDeque<String>| left.front().is_some_and(|next| is_argument(next));
        let needs = |count: &str| self.error(&format!("argument {}: expected {count}", spelled(&flag)));
        match flag.takes {
            Takes::Nothing => given.add(flag.name, None),
            Takes::One(_) | Takes::AtMostOne(_) => {
                let value = match inline {
                    Some(value) => value,
                    None if follows(left) => left.pop_front().unwrap_or_default(),
                    None => return Err(needs("one argument")),
                };
                self.check_number(&flag, &value)?;
                given.add(flag.name, Some(value));
            }
            Takes::Many(_) => {
                let mut values: Vec<String> = inline.into_iter().collect();
                while values.is_empty() || follows(left) {
                    if !follows(left) {
                        return Err(needs("at least one argument"));
                    }
                    values.extend(left.pop_front());
                }
                values.into_iter().for_each(|value| given.add(flag.name, Some(value)));
            }
        }
        Ok(())
    }

    fn check_number(&self, flag: &Flag, value: &str) -> Outcome {
        let Some(kind) = flag.number else { return Ok(()) };
        let fits = match kind {
            "Integer" => value.parse::<i32>().is_ok(),
            "Short" => value.parse::<i16>().is_ok(),
            "Double" => value.parse::<f64>().is_ok(),
            _ => value.parse::<i64>().is_ok(),
        };
        if fits {
            return Ok(());
        }
        let name = spelled(flag);
        Err(self.error(&format!(
            "argument {name}: could not convert '{value}' to {kind} (For input string: \"{value}\")"
        )))
    }

    fn check(&self, given: &Given, flags: &[Flag], groups: &[Group]) -> Outcome {
        if let Some(missing) = flags.iter().find(|flag| flag.required && !given.has(flag.name)) {
            return Err(self.error(&format!("argument {} is required", spelled(missing))));
        }
        for group in groups {
            let used: Vec<&&str> = group.names.iter().filter(|name| given.has(name)).collect();
            let spelled_by_name =
                |name: &str| flags.iter().find(|flag| flag.name == name).map_or(name.to_owned(), spelled);
            if let [first, second, ..] = used[..] {
                return Err(self.error(&format!(
                    "argument {}: not allowed with argument {}",
                    spelled_by_name(second),
                    spelled_by_name(first)
                )));
            }
            if used.is_empty() && group.required {
                let names: Vec<String> = group.names.iter().map(|name| spelled_by_name(name)).collect();
                return Err(self.error(&format!("one of the arguments {} is required", names.join(" "))));
            }
        }
        Ok(())
    }

    /// argparse4j shows the usage above the sentence, and where to read more.
    pub(in crate::tools) fn error(&self, sentence: &str) -> Exit {
        Exit::failure(format!(
            "usage: {} [-h] OPTIONS\n{}: error: {sentence}\n`{} --help` lists the options",
            self.name, self.name, self.name
        ))
    }

    /// By what the tool is started: what argparse4j is told of in Kafka is not always that.
    fn called(&self) -> String {
        let name = self.name.trim_end_matches(".sh");
        if name.starts_with("kafka-") { name.to_owned() } else { format!("kafka-{name}") }
    }

    fn help(&self, verb: Option<&Verb>) -> String {
        let called = self.called();
        let mut text = format!("{}\n\nusage: {called}", self.summary);
        match verb {
            Some(verb) => write!(text, " {} OPTIONS\n\n{}\n\n", verb.name, verb.help),
            None if self.verbs.is_empty() => write!(text, " OPTIONS\n\n"),
            None => write!(text, " COMMAND OPTIONS\n\ncommands:\n"),
        }
        .expect("a string takes everything");
        if verb.is_none() {
            for verb in self.verbs {
                text += &format!("  {:<32}{}\n", verb.name, verb.help);
            }
            if !self.verbs.is_empty() {
                text += "\noptions:\n";
            }
        }
        text += &list(verb.map_or(self.flags, |verb| verb.flags));
        text += &list(&[HELP_FLAG]);
        if !self.examples.is_empty() {
            text += "\nexamples:\n";
            for example in self.examples {
                text += &format!("  {called} {example}\n");
            }
        }
        text
    }
}

/// argparse4j names an option by all its spellings.
fn spelled(flag: &Flag) -> String {
    match flag.short {
        Some(short) => format!("--{}/-{short}", flag.name),
        None => format!("--{}", flag.name),
    }
}

/// Negative numbers are values, as long as no option looks like one.
fn is_argument(text: &str) -> bool {
    !text.starts_with('-') || text.len() == 1 || text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAMMAR: Grammar = Grammar {
        name: "kafka-test",
        summary: "",
        flags: &[
            Flag::new("bootstrap-server", "").takes("B"),
            Flag::new("bootstrap-controller", "").takes("B"),
            Flag::new("version", ""),
        ],
        groups: &[Group { names: &["bootstrap-server", "bootstrap-controller"], required: true }],
        verbs: &[Verb {
            name: "describe",
            help: "",
            flags: &[
                Flag::new("id", "").short('i').takes("ID").number("Integer").required(),
                Flag::new("props", "").takes_many("P"),
            ],
            groups: &[],
        }],
        examples: &[],
        help_code: 0,
    };

    fn parse(line: &str) -> Result<Given, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match GRAMMAR.parse(&words) {
            Ok(Parsed::Given(given)) => Ok(given),
            Ok(Parsed::Help(text)) => Err(text),
            Ok(Parsed::Version) => Err("version".to_owned()),
            Err(exit) => Err(exit.sentence().lines().nth(1).unwrap_or_default().to_owned()),
        }
    }

    #[test]
    fn options_of_the_tool_stand_before_the_command_and_its_own_behind() {
        let given = parse("--bootstrap-s x describe -i -3 --props a=b c=d").unwrap();
        assert_eq!((given.command, given.last("id")), ("describe", Some("-3")));
        assert_eq!(given.all("props").collect::<Vec<_>>(), ["a=b", "c=d"]);
        assert_eq!(
            parse("--bootstrap-server=x describe --id=4").unwrap().last("bootstrap-server"),
            Some("x")
        );
    }

    #[test]
    fn refusals_are_argparse4js() {
        for (line, sentence) in [
            ("--bootstrap-server x", "too few arguments"),
            ("frob", "invalid choice: 'frob' (choose from 'describe')"),
            (
                "--boot x describe",
                "ambiguous option: --boot could match --bootstrap-server, --bootstrap-controller",
            ),
            ("--bootstrap-server x describe", "argument --id/-i is required"),
            ("describe --id 1", "one of the arguments --bootstrap-server --bootstrap-controller is required"),
            ("--bootstrap-server x describe --frob", "unrecognized arguments: '--frob'"),
            ("--bootstrap-server x describe --id", "argument --id/-i: expected one argument"),
        ] {
            assert_eq!(parse(line).unwrap_err(), format!("kafka-test: error: {sentence}"), "{line}");
        }
        assert!(parse("describe -h").unwrap_err().contains("usage: kafka-test describe"));
        assert_eq!(parse("--bootstrap-server x --version frob").unwrap_err(), "version");
        assert!(parse("describe --version").unwrap_err().ends_with("unrecognized arguments: '--version'"));
    }
}
