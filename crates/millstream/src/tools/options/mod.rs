//! A tool's options: declared once, from which they are parsed, checked and listed by `--help`.
//!
//! Kafka's tools stand on two libraries, joptsimple and argparse4j, which differ in what they accept and in
//! their sentences; `joptsimple` and `argparse` follow them.

pub(super) mod argparse;
mod help;
mod joptsimple;

use std::{collections::BTreeMap, str::FromStr};

use super::exit::{Exit, Outcome};

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// The name of the value, for `--help`.
    One(&'static str),
    /// It may be left out.
    AtMostOne(&'static str),
    /// All that follow, up to the next option (argparse4j's `nargs("+")`).
    Many(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    /// A one-letter spelling.
    pub(super) short: Option<char>,
    pub(super) takes: Takes,
    pub(super) help: &'static str,
    pub(super) default: Option<&'static str>,
    pub(super) required: bool,
    /// An older spelling of another option: accepted, and not listed.
    pub(super) hidden: bool,
    /// What the value must be, as argparse4j names it.
    pub(super) number: Option<&'static str>,
}

impl Flag {
    pub(super) const fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            short: None,
            takes: Takes::Nothing,
            default: None,
            required: false,
            hidden: false,
            number: None,
        }
    }

    pub(super) const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    pub(super) const fn takes(self, value: &'static str) -> Self {
        Self { takes: Takes::One(value), ..self }
    }

    pub(super) const fn may_take(self, value: &'static str) -> Self {
        Self { takes: Takes::AtMostOne(value), ..self }
    }

    pub(super) const fn takes_many(self, value: &'static str) -> Self {
        Self { takes: Takes::Many(value), ..self }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    /// `Integer` or `Long`.
    pub(super) const fn number(self, kind: &'static str) -> Self {
        Self { number: Some(kind), ..self }
    }
}

pub(super) const BOOTSTRAP_SERVER: Flag =
    Flag::new("bootstrap-server", "Brokers to ask first; one that answers is enough.").takes("HOST:PORT,…");
pub(super) const COMMAND_CONFIG: Flag =
    Flag::new("command-config", "A Java properties file with the client's configuration.").takes("FILE");
pub(super) const HELP: Flag = Flag::new("help", "Show this.");
pub(super) const VERSION: Flag = Flag::new("version", "Show the version of Kafka that this tool follows.");

/// What a list is made of, as Java's `split(",")` sees it: nothing behind the last comma is no element.
pub(super) fn elements(list: &str) -> Vec<&str> {
    let mut all: Vec<&str> = list.split(',').collect();
    while all.len() > 1 && all.last().is_some_and(|last| last.is_empty()) {
        all.pop();
    }
    // Commas alone leave nothing at all, no text at all leaves an empty element.
    if !list.is_empty() && all == [""] {
        all.clear();
    }
    all
}

/// One tool's command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) flags: &'static [Flag],
    pub(super) examples: &'static [&'static str],
}

impl Spec {
    fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }
}

/// What was given on a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// By long name; None for an option without its value.
    values: BTreeMap<&'static str, Vec<Option<String>>>,
    defaults: BTreeMap<&'static str, &'static str>,
    /// The long names in the order given.
    order: Vec<&'static str>,
    /// What is no option and no option's value.
    pub(super) rest: Vec<String>,
    /// The sub-command, where a tool has them.
    pub(super) command: &'static str,
}

impl Given {
    fn add(&mut self, name: &'static str, value: Option<String>) {
        self.values.entry(name).or_default().push(value);
        self.order.push(name);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.rest.is_empty()
    }

    /// The only value of an option, or its default.
    pub(super) fn one(&self, name: &'static str) -> Outcome<Option<&str>> {
        let given: Vec<&str> = self.all(name).collect();
        match given[..] {
            [] => Ok(self.defaults.get(name).copied()),
            [value] => Ok(Some(value)),
            _ => Err(Exit::failure(format!(
                "Found multiple arguments for option {name}, but you asked for only one"
            ))),
        }
    }

    /// The last value of an option, or its default.
    pub(super) fn last(&self, name: &'static str) -> Option<&str> {
        self.all(name).last().or_else(|| self.defaults.get(name).copied())
    }

    /// Every value of an option in the order given.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values.get(name).into_iter().flatten().filter_map(Option::as_deref)
    }

    /// What was given of these, in the order given, each with its value.
    pub(super) fn in_order<'a>(
        &'a self,
        names: &'a [&'static str],
    ) -> impl Iterator<Item = (&'static str, Option<&'a str>)> {
        let mut taken: BTreeMap<&'static str, usize> = BTreeMap::new();
        self.order.iter().filter(|name| names.contains(name)).map(move |name| {
            let index = taken.entry(name).or_default();
            let value = self.values[name].get(*index).and_then(Option::as_deref);
            *index += 1;
            (*name, value)
        })
    }

    /// The only value, as a number.
    pub(super) fn number<T: FromStr>(&self, name: &'static str) -> Outcome<Option<T>> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let malformed = |_| Exit::failure(format!("Cannot parse argument '{text}' of option {name}"));
        text.parse().map(Some).map_err(malformed)
    }

    /// Each of these must be there.
    pub(super) fn require(&self, names: &[&str]) -> Outcome {
        match names.iter().find(|name| !self.has(name)) {
            Some(missing) => Err(Exit::usage(format!("Missing required argument \"[{missing}]\""))),
            None => Ok(()),
        }
    }

    /// With `used`, none of `others`.
    pub(super) fn forbid(&self, used: &str, others: &[&str]) -> Outcome {
        match others.iter().find(|other| self.has(used) && self.has(other)) {
            Some(other) => {
                Err(Exit::usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\"")))
            }
            None => Ok(()),
        }
    }

    /// Each of these only beside one of those that it belongs to.
    pub(super) fn need(&self, rules: &[(&str, &[&str])]) -> Outcome {
        let lost =
            |(name, beside): &&(&str, &[&str])| self.has(name) && !beside.iter().any(|one| self.has(one));
        let lost: Vec<&str> = rules.iter().filter(lost).map(|(name, _)| *name).collect();
        match lost.is_empty() {
            true => Ok(()),
            false => Err(Exit::failure(format!(
                "Option(s) [{}] are unavailable given other options on the command line",
                lost.join(", ")
            ))),
        }
    }

    /// An old spelling beside the new one is one too many; returns the one that is there.
    pub(super) fn either(&self, new: &'static str, old: &'static str) -> Outcome<&'static str> {
        if self.has(new) && self.has(old) {
            let sentence = format!("Options --{new} and --{old} cannot be specified together.");
            return Err(Exit::failure(sentence));
        }
        Ok(if self.has(old) { old } else { new })
    }
}

#[test]
fn lists_are_split_as_in_java() {
    assert_eq!(elements("a,,b,,"), ["a", "", "b"]);
    assert_eq!(elements(""), [""]);
    assert!(elements(",,").is_empty());
}
