//! Java regular expressions: look-ahead, look-behind and back references work, and a pattern that takes too
//! long is an error instead of a hang.

use fancy_regex::{Regex, RegexBuilder};

use super::exit::{Exit, Outcome};

/// How often matching one name may go back before it is given up.
const BACKTRACKS_MAX: usize = 100_000;

#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// As Java's `Pattern.matches`: the whole name must match.
    pub(super) fn new(text: &str) -> Option<Self> {
        let whole = format!("^(?:{text})$");
        // Checked alone first, so that a stray parenthesis is not closed by ours.
        Regex::new(text).ok()?;
        let regex = RegexBuilder::new(&whole).backtrack_limit(BACKTRACKS_MAX).build().ok()?;
        Some(Self { text: text.to_owned(), regex })
    }

    /// Kafka's `IncludeList`: a comma separates alternatives, quotation marks around it all are dropped.
    pub(super) fn include_list(text: &str) -> Outcome<Self> {
        let cleaned = text.trim().replace(',', "|").replace(' ', "");
        let cleaned = cleaned.trim_matches(['"', '\'']);
        Self::new(cleaned).ok_or_else(|| Exit::failure(format!("{cleaned} is an invalid regex.")))
    }

    pub(super) fn matches(&self, name: &str) -> Outcome<bool> {
        self.regex.is_match(name).map_err(|error| {
            Exit::failure(format!("{} takes too long to match against {name}: {error}", self.text))
        })
    }

    /// Kafka's `TopicFilter.isTopicAllowed`.
    pub(super) fn allows(&self, topic: &str, exclude_internal: bool) -> Outcome<bool> {
        let internal = matches!(topic, "__consumer_offsets" | "__transaction_state" | "__share_group_state");
        Ok(self.matches(topic)? && !(internal && exclude_internal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_alternatives_over_whole_names_and_look_ahead_works() {
        let allows =
            |list: &str, topic: &str| Pattern::include_list(list).unwrap().allows(topic, true).unwrap();
        assert!(allows("a,b.*", "bcd") && !allows("a,b.*", "ab") && !allows("b", "abc"));
        assert!(allows("\"orders\"", "orders"));
        assert!(allows("(?!test-).*", "orders") && !allows("(?!test-).*", "test-orders"));
        assert!(!allows(".*", "__consumer_offsets") && allows(".*", "__other"));
        assert_eq!(Pattern::include_list("[").unwrap_err().sentence(), "[ is an invalid regex.");
        assert!(Pattern::include_list("a)(b").is_err());
    }

    #[test]
    fn a_pattern_that_explodes_is_given_up() {
        let pattern = Pattern::include_list(r"(a|aa)+(?=\1c)").unwrap();
        assert!(pattern.matches(&"a".repeat(60)).unwrap_err().sentence().contains("too long"));
    }
}
