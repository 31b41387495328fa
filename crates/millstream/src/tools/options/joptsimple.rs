//! What joptsimple accepts, as Kafka's tools set it up: `--k v`, `--k=v`, `-k v`, options anywhere, no
//! abbreviations.

use super::{Flag, Given, Spec, Takes};
use crate::tools::exit::{Exit, Outcome};

impl Spec {
    pub(in crate::tools) fn parse(&self, arguments: &[String]) -> Outcome<Given> {
        let mut given = Given::default();
        for flag in self.flags {
            if let Some(default) = flag.default {
                given.defaults.insert(flag.name, default);
            }
        }
        let mut left = arguments.iter().peekable();
        while let Some(argument) = left.next() {
            if argument == "--" {
                given.rest.extend(left.cloned());
                break;
            }
            let Some(named) = option_token(argument) else {
                given.rest.push(argument.clone());
                continue;
            };
            let (name, inline) = match named.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (named, None),
            };
            let flag = self.flag(name).ok_or_else(|| unrecognized(argument, name))?;
            let inline = inline.filter(|value| !value.is_empty()).map(str::to_owned);
            let value = match flag.takes {
                Takes::Nothing => None,
                Takes::One(_) | Takes::Many(_) => {
                    let missing = || Exit::failure(format!("Option {} requires an argument", flag.name));
                    Some(inline.or_else(|| left.next().cloned()).ok_or_else(missing)?)
                }
                Takes::AtMostOne(_) if inline.is_some() => inline,
                Takes::AtMostOne(_) => left.next_if(|next| is_value(next, flag)).cloned(),
            };
            given.add(flag.name, value);
        }
        let missing: Vec<&str> =
            self.flags.iter().filter(|flag| flag.required && !given.has(flag.name)).map(|f| f.name).collect();
        if !missing.is_empty() && !given.has("help") && !given.has("version") {
            return Err(Exit::failure(format!("Missing required option(s) [{}]", missing.join(", "))));
        }
        Ok(given)
    }
}

/// The name, and perhaps a value, behind one dash or two; a dash alone is no option.
fn option_token(argument: &str) -> Option<&str> {
    argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).filter(|rest| !rest.is_empty())
}

/// Behind one dash, an unknown name is taken for a cluster of one-letter options.
fn unrecognized(argument: &str, name: &str) -> Exit {
    let letter = name.chars().next().map_or(0, char::len_utf8);
    let name = if argument.starts_with("--") { name } else { &name[..letter] };
    Exit::failure(format!("{name} is not a recognized option"))
}

/// A number that may be left out is left out where no number follows, even if it is no option either.
fn is_value(next: &str, flag: &Flag) -> bool {
    match flag.number {
        Some(_) => next.parse::<i64>().is_ok(),
        None => option_token(next).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec {
        name: "kafka-test",
        summary: "",
        flags: &[
            Flag::new("topic", "").takes("TOPIC"),
            Flag::new("list", ""),
            Flag::new("state", "").may_take("STATE"),
            Flag::new("timeout", "").may_take("MS").number("Long"),
            Flag::new("offset", "").takes("OFFSET").default("latest"),
        ],
        examples: &[],
    };

    fn parse(line: &str) -> Outcome<Given> {
        SPEC.parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn refusal(line: &str) -> String {
        parse(line).unwrap_err().sentence().to_owned()
    }

    #[test]
    fn values_follow_or_stand_behind_an_equals_sign_after_one_dash_or_two() {
        for line in ["--topic a", "--topic=a", "-topic a", "-topic=a", "--topic= a"] {
            assert_eq!(parse(line).unwrap().one("topic").unwrap(), Some("a"), "{line}");
        }
        let given = parse("x --topic --list -- --list").unwrap();
        assert_eq!(given.one("topic").unwrap(), Some("--list"));
        assert_eq!((given.has("list"), &given.rest[..]), (false, &["x".to_owned(), "--list".to_owned()][..]));
    }

    #[test]
    fn a_value_that_may_be_left_out_is_not_taken_from_the_next_option() {
        let given = parse("--state --list").unwrap();
        assert!(given.has("state") && given.has("list") && given.one("state").unwrap().is_none());
        assert_eq!(parse("--state Stable").unwrap().one("state").unwrap(), Some("Stable"));
        assert_eq!(parse("--timeout -5").unwrap().number("timeout").unwrap(), Some(-5));
        let word = parse("--timeout soon").unwrap();
        assert_eq!((word.number::<i64>("timeout").unwrap(), word.rest.len()), (None, 1));
    }

    #[test]
    fn options_are_told_in_the_order_given() {
        let given = parse("--topic a --list --topic b --state x").unwrap();
        let order: Vec<_> = given.in_order(&["topic", "list"]).collect();
        assert_eq!(order, [("topic", Some("a")), ("list", None), ("topic", Some("b"))]);
    }

    #[test]
    fn refusals_are_joptsimples() {
        assert_eq!(refusal("--frob"), "frob is not a recognized option");
        assert_eq!(refusal("-h"), "h is not a recognized option");
        assert_eq!(refusal("--top a"), "top is not a recognized option");
        assert_eq!(refusal("--topic"), "Option topic requires an argument");
        let twice = parse("--topic a --topic b").unwrap().one("topic").unwrap_err();
        assert_eq!(twice.sentence(), "Found multiple arguments for option topic, but you asked for only one");
        let word = parse("--topic a").unwrap().number::<i32>("topic").unwrap_err();
        assert_eq!(word.sentence(), "Cannot parse argument 'a' of option topic");
        assert_eq!(parse("").unwrap().one("offset").unwrap(), Some("latest"));
    }
}
