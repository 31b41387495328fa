//! `millstream completion SHELL`: a script for bash, zsh or fish that asks this program for what can come
//! next: sub-commands, options, and the names of the topics and groups that there are at the moment. For
//! Kafka's tools by their names as well.

mod live;
mod verbs;

use std::{collections::BTreeMap, env, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::tools;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// bash: `source <(millstream completion bash)`; zsh the same; fish: `millstream completion fish | source`
    shell: Shell,
}

/// What the scripts call.
#[derive(clap::Args)]
pub(crate) struct CompleteArguments {
    shell: Shell,
    /// From bash the line up to the cursor, from the others its words
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// A word that can come next, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    text: String,
    help: String,
}

impl Word {
    pub(crate) fn new(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { text: text.into(), help: help.into() }
    }
}

/// Names that only a cluster knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Live {
    Topics,
    Groups,
}

/// What can stand at a place of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    /// Sub-commands, or the values of an option.
    pub(crate) words: Vec<Word>,
    pub(crate) options: Vec<Word>,
    pub(crate) live: Option<Live>,
    /// By option, for those that take a value.
    pub(crate) values: BTreeMap<String, Hints>,
}

#[expect(clippy::print_stdout, reason = "the script is this command's output")]
pub(crate) fn script(arguments: &Arguments) -> Result<ExitCode> {
    let program = env::current_exe().context("where this program is")?;
    let program = program.display().to_string();
    let commands: Vec<String> = std::iter::once("millstream".to_owned())
        .chain(tools::names().flat_map(|name| [name.to_owned(), format!("{name}.sh")]))
        .collect();
    let text = match arguments.shell {
        Shell::Bash => include_str!("millstream.bash"),
        Shell::Zsh => include_str!("millstream.zsh"),
        Shell::Fish => include_str!("millstream.fish"),
    };
    let text = text.replace("@PROGRAM@", &quoted(&program)).replace("@COMMANDS@", &commands.join(" "));
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// As a word that all three shells read alike.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[expect(clippy::print_stdout, reason = "the words are this command's output")]
pub(crate) fn complete(arguments: &CompleteArguments, command: &clap::Command) -> Result<ExitCode> {
    let words = match (arguments.shell, &arguments.words[..]) {
        (Shell::Bash, [line]) => split(line),
        (_, words) => words.to_vec(),
    };
    let fetch = |live, words: &[String]| live::names(live, words);
    for word in candidates(arguments.shell, &words, command, fetch) {
        // A tab ends the word; of the help the first sentence has to do.
        let help = word.help.lines().next().unwrap_or_default();
        println!("{}\t{help}", word.text);
    }
    Ok(ExitCode::SUCCESS)
}

/// The words that fit what is typed of the last one.
fn candidates(
    shell: Shell,
    words: &[String],
    command: &clap::Command,
    fetch: impl Fn(Live, &[String]) -> Vec<String>,
) -> Vec<Word> {
    let Some((typed, before)) = words.split_last() else { return Vec::new() };
    let Some(called) = before.first() else { return Vec::new() };
    let called = Path::new(called).file_name().map(|name| name.to_string_lossy().into_owned());
    let called = called.unwrap_or_default();
    let behind = &before[1..];
    let hints = match (tools::known(&called), behind.first().and_then(|word| tools::known(word))) {
        (Some(tool), _) => tools::hints(tool, behind),
        (None, Some(tool)) => tools::hints(tool, &behind[1..]),
        (None, None) => verbs::hints(command, behind),
    };
    // `--topic=ord` and `--topic ord`.
    let inline = typed.split_once('=').filter(|(option, _)| option.starts_with("--"));
    let (hints, typed, lead) = match inline {
        Some((option, value)) => {
            // bash takes what stands behind the equals sign for a word of its own.
            let lead = if shell == Shell::Bash { String::new() } else { format!("{option}=") };
            (hints.values.get(option).cloned().unwrap_or_default(), value, lead)
        }
        None => match before.last().and_then(|option| hints.values.get(option)) {
            Some(values) => (values.clone(), typed.as_str(), String::new()),
            None => (hints, typed.as_str(), String::new()),
        },
    };
    // Of a list only the last name is completed.
    let (list, typed) = match typed.rsplit_once(',') {
        Some((list, last)) if hints.live.is_some() => (format!("{list},"), last),
        _ => (String::new(), typed),
    };
    let mut all: Vec<Word> = hints.words;
    if typed.starts_with('-') || (all.is_empty() && hints.live.is_none()) {
        all.extend(hints.options);
    }
    if let Some(live) = hints.live {
        all.extend(fetch(live, words).into_iter().map(|name| Word::new(name, "")));
    }
    all.retain(|word| word.text.starts_with(typed));
    all.iter_mut().for_each(|word| word.text = format!("{lead}{list}{}", word.text));
    all
}

/// Words as bash splits them; the last one may be empty, or not have its closing quotation mark yet.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quote, mut escaped, mut blank) = (None, false, true);
    for letter in line.chars() {
        match (quote, letter) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => {
                escaped = true;
                continue;
            }
            (Some(open), _) if letter == open => {
                quote = None;
                continue;
            }
            (None, '\'' | '"') => {
                quote = Some(letter);
                blank = false;
                continue;
            }
            (None, ' ' | '\t') => {
                if !blank {
                    words.push(String::new());
                    blank = true;
                }
                continue;
            }
            _ => {}
        }
        blank = false;
        words.last_mut().expect("there is always one").push(letter);
    }
    words
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn offered(shell: Shell, line: &str) -> Vec<String> {
        let fetch = |live, _: &[String]| match live {
            Live::Topics => vec!["orders".to_owned(), "other".to_owned(), "payments".to_owned()],
            Live::Groups => vec!["billing".to_owned()],
        };
        let words = candidates(shell, &split(line), &crate::Arguments::command(), fetch);
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn a_line_is_split_as_bash_does() {
        assert_eq!(split("a  'b c' \"d\\\"e\" f\\ g"), ["a", "b c", "d\"e", "f g"]);
        assert_eq!(split("a "), ["a", ""]);
        assert_eq!(split("a 'b c"), ["a", "b c"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn tools_by_their_names_know_their_options_and_the_clusters_names() {
        assert_eq!(offered(Shell::Bash, "kafka-topics.sh --descr"), ["--describe"]);
        assert_eq!(offered(Shell::Bash, "/opt/bin/kafka-topics --topic o"), ["orders", "other"]);
        assert_eq!(offered(Shell::Bash, "millstream kafka-topics --topic=o"), ["orders", "other"]);
        assert_eq!(offered(Shell::Zsh, "kafka-topics --topic=p"), ["--topic=payments"]);
        assert_eq!(offered(Shell::Fish, "kafka-consumer-groups --group "), ["billing"]);
        assert_eq!(offered(Shell::Bash, "kafka-log-dirs --topic-list orders,pay"), ["orders,payments"]);
        assert_eq!(offered(Shell::Bash, "kafka-configs --entity-type gr"), ["groups"]);
        assert_eq!(offered(Shell::Bash, "kafka-configs --entity-type groups --entity-name "), ["billing"]);
        assert_eq!(offered(Shell::Bash, "kafka-transactions descr"), ["describe", "describe-producers"]);
        assert_eq!(offered(Shell::Bash, "kafka-transactions describe --trans"), ["--transactional-id"]);
        assert!(offered(Shell::Bash, "kafka-topics --command-config ").is_empty());
    }

    #[test]
    fn our_own_verbs_are_completed_from_their_definition() {
        let first = offered(Shell::Bash, "millstream ");
        assert!(first.contains(&"topic".to_owned()) && first.contains(&"kafka-topics".to_owned()));
        assert!(!first.contains(&"complete".to_owned()), "what only scripts call is not offered");
        assert!(offered(Shell::Bash, "millstream topic ").contains(&"ls".to_owned()));
        assert!(offered(Shell::Bash, "millstream up --").len() > 3);
        assert_eq!(offered(Shell::Bash, "millstream completion z"), ["zsh"]);
        assert!(offered(Shell::Bash, "").is_empty());
    }
}
