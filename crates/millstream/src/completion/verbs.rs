//! What can come next on a command line of our own, from the definition that also parses it.

use clap::{Arg, Command};

use super::{Hints, Live, Word};
use crate::tools;

/// `before` are the words behind the program's name that are complete.
pub(super) fn hints(root: &Command, before: &[String]) -> Hints {
    let mut command = root;
    let mut path: Vec<&str> = Vec::new();
    let mut words = before.iter();
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            let takes_value = option(command, word).is_some_and(takes_value);
            if takes_value && !word.contains('=') && words.next().is_none() {
                break;
            }
        } else if let Some(next) = command.find_subcommand(word) {
            command = next;
            path.push(next.get_name());
        }
    }
    let text = |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string).unwrap_or_default();
    let mut hints = Hints::default();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    hints.words.extend(verbs.map(|verb| Word::new(verb.get_name(), text(verb.get_about()))));
    if path.is_empty() {
        hints.words.extend(tools::names().map(|name| Word::new(name, "as in Kafka")));
    }
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        if arg.is_positional() {
            let values = values(arg, &path);
            hints.words.extend(values.words);
            hints.live = hints.live.or(values.live);
            continue;
        }
        let spellings = arg.get_long().map(|long| format!("--{long}"));
        let spellings = spellings.into_iter().chain(arg.get_short().map(|short| format!("-{short}")));
        for (index, spelling) in spellings.enumerate() {
            // One spelling is enough to choose from; values follow either.
            if index == 0 {
                hints.options.push(Word::new(spelling.clone(), text(arg.get_help())));
            }
            if takes_value(arg) {
                hints.values.insert(spelling, values(arg, &path));
            }
        }
    }
    hints
}

fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    command.get_arguments().find(|arg| {
        arg.get_long() == Some(name) || arg.get_short().is_some_and(|short| name == short.to_string())
    })
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// What a value may be: one of a list, or a name that the cluster knows. A verb's own subject is what the
/// noun before it says.
fn values(arg: &Arg, path: &[&str]) -> Hints {
    let possible = arg.get_possible_values();
    let words = possible.iter().filter(|value| !value.is_hide_set());
    let words: Vec<Word> = words
        .map(|value| {
            Word::new(value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default())
        })
        .collect();
    let id = arg.get_id().as_str();
    let of_noun = arg.is_positional() && matches!(id, "name" | "names");
    let makes_new = path.last() == Some(&"create");
    let live = match path.first() {
        _ if makes_new => None,
        _ if matches!(id, "topic" | "topics") => Some(Live::Topics),
        _ if matches!(id, "group" | "groups") => Some(Live::Groups),
        Some(&"topic") if of_noun => Some(Live::Topics),
        Some(&"group") if of_noun => Some(Live::Groups),
        _ => None,
    };
    Hints { words, live, ..Hints::default() }
}
