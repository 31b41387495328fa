//! What a consumer wants to read: partitions, topics by name, topics by a pattern. And keeping the metadata
//! of these topics fresh.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_types::{ErrorCode, TopicName};
use regex::Regex;

use crate::{Client, Error, Metadata, Result};

#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// Whatever was assigned by hand.
    Partitions,
    Names(BTreeSet<TopicName>),
    Pattern {
        filter: TopicFilter,
        matching: BTreeSet<TopicName>,
        /// Whether it has been matched against the cluster's topics.
        is_matched: bool,
    },
}

/// Decides by its name whether a topic is one of those wanted.
#[derive(Clone)]
pub(super) struct TopicFilter(Arc<dyn Fn(&TopicName) -> bool + Send + Sync>);

impl TopicFilter {
    pub(super) fn new(accepts: impl Fn(&TopicName) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(accepts))
    }

    fn accepts(&self, topic: &TopicName) -> bool {
        (self.0)(topic)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TopicFilter")
    }
}

/// A pattern for whole names, as Java matches them.
pub(super) fn whole(pattern: &str) -> Result<Regex> {
    let wrong = |error: regex::Error| Error::config("subscription pattern", error);
    // By itself first: what is wrong in it should be shown as it was written.
    Regex::new(pattern).map_err(wrong)?;
    Regex::new(&format!("^(?:{pattern})$")).map_err(wrong)
}

impl Wanted {
    /// The topics that the group is told of.
    pub(super) fn topics(&self) -> &BTreeSet<TopicName> {
        static NONE: BTreeSet<TopicName> = BTreeSet::new();
        match self {
            Self::Partitions => &NONE,
            Self::Names(names) => names,
            Self::Pattern { matching, .. } => matching,
        }
    }

    /// Whether it is not known yet which topics are wanted.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Pattern { is_matched: false, .. })
    }

    /// Whether a topic may be assigned. A pattern's leader may have seen a topic before this member.
    pub(super) fn accepts(&self, topic: &TopicName) -> bool {
        match self {
            Self::Partitions => false,
            Self::Names(names) => names.contains(topic),
            Self::Pattern { filter, .. } => filter.accepts(topic),
        }
    }
}

/// What a look at the cluster brought.
pub(super) struct Look {
    /// Of a pattern: the topics that match.
    pub(super) matching: Option<BTreeSet<TopicName>>,
    /// What is wrong with topics for good, such as missing rights.
    pub(super) trouble: Option<Error>,
}

/// When metadata is asked for, and whether it is under way.
#[derive(Debug, Default)]
pub(super) struct Looking {
    under_way: bool,
    not_before: Option<Instant>,
    /// When a pattern was last matched.
    last: Option<Instant>,
    /// How often looks have begun, and which was the last to end well.
    begun: u64,
    done: u64,
    failures: u32,
}

impl Looking {
    /// Whether to look now. `urgent`: something needed is not known.
    pub(super) fn is_due(&self, now: Instant, urgent: bool, max_age: Option<Duration>) -> bool {
        let old = |age| self.last.is_none_or(|last| now >= last + age);
        let wanted = urgent || max_age.is_some_and(old);
        wanted && !self.under_way && self.not_before.is_none_or(|time| now >= time)
    }

    pub(super) fn begin(&mut self) {
        self.under_way = true;
        self.begun += 1;
    }

    /// The number of the first look to begin from now on.
    pub(super) fn next(&self) -> u64 {
        self.begun + 1
    }

    pub(super) fn has_done(&self, number: u64) -> bool {
        self.done >= number
    }

    /// `well`: the cluster has answered. `calm`: nothing that was looked for is missing.
    pub(super) fn ended(&mut self, now: Instant, well: bool, calm: bool, backoff: (Duration, Duration)) {
        self.under_way = false;
        self.failures = if calm { 0 } else { self.failures + 1 };
        let (backoff, backoff_max) = backoff;
        self.not_before = Some(now + (backoff * 2u32.saturating_pow(self.failures.min(16))).min(backoff_max));
        if well {
            self.done = self.begun;
            self.last = Some(now);
        }
    }

    pub(super) fn next_wakeup(&self, now: Instant, max_age: Option<Duration>) -> Option<Instant> {
        let due = max_age.zip(self.last).map(|(age, last)| last + age);
        [self.not_before, due].into_iter().flatten().filter(|time| *time > now).min()
    }
}

/// Refreshes the metadata of what is wanted and of `more`.
pub(super) async fn look(
    client: &Client,
    wanted: &Wanted,
    exclude_internal: bool,
    more: BTreeSet<TopicName>,
) -> Result<Look> {
    let create = client.config().allow_auto_create_topics;
    let (matching, names, create) = match wanted {
        Wanted::Pattern { filter, .. } => {
            let matching = matching(client, filter, exclude_internal).await?;
            (Some(matching.clone()), matching, false)
        }
        Wanted::Names(names) => (None, names.clone(), create),
        Wanted::Partitions => (None, BTreeSet::new(), create),
    };
    let troubles = client.refresh_or_create(names.iter().cloned().chain(more), create).await?;
    let mut trouble = None;
    for (topic, error) in troubles {
        match error.code() {
            Some(ErrorCode::UnknownTopicOrPartition) if names.contains(&topic) => {
                tracing::warn!(%topic, "a topic that is subscribed to does not exist");
            }
            Some(ErrorCode::InvalidTopicException | ErrorCode::TopicAuthorizationFailed)
                if names.contains(&topic) =>
            {
                trouble = Some(error);
            }
            _ => tracing::debug!(%topic, %error, "no metadata"),
        }
    }
    Ok(Look { matching, trouble })
}

async fn matching(
    client: &Client,
    filter: &TopicFilter,
    exclude_internal: bool,
) -> Result<BTreeSet<TopicName>> {
    let mut all = Metadata::default();
    all.update(client.fetch_metadata(None, false).await?);
    let topics = all.topics.into_values();
    let matching = topics.filter(|topic| !(exclude_internal && topic.is_internal));
    Ok(matching.map(|topic| topic.name).filter(|name| filter.accepts(name)).collect())
}

/// How many partitions each of these topics has; those that are not known are left out.
pub(super) fn counts(metadata: &Metadata, topics: &BTreeSet<TopicName>) -> BTreeMap<TopicName, i32> {
    let count = |topic: &TopicName| {
        let count = metadata.topic(topic)?.partitions.len();
        Some((topic.clone(), i32::try_from(count).unwrap_or(i32::MAX)))
    };
    topics.iter().filter_map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_and_is_shown_as_written_when_it_is_wrong() {
        let regex = whole("a|b.").unwrap();
        for (name, matches) in [("a", true), ("bc", true), ("ab", false), ("b", false), ("xa", false)] {
            assert_eq!(regex.is_match(name), matches, "{name}");
        }
        let wrong = whole("a(").unwrap_err().to_string();
        assert!(wrong.starts_with("subscription pattern: ") && !wrong.contains("(?:"), "{wrong}");
    }

    #[test]
    fn a_look_in_vain_is_followed_by_a_longer_pause() {
        let (mut looking, start) = (Looking::default(), Instant::now());
        let ms = Duration::from_millis;
        let backoff = (ms(100), ms(1000));
        assert!(looking.is_due(start, true, None) && !looking.is_due(start, false, None));
        looking.begin();
        assert!(!looking.is_due(start, true, None));
        let awaited = looking.next();
        looking.ended(start, false, false, backoff);
        assert!(!looking.is_due(start + ms(150), true, None) && looking.is_due(start + ms(200), true, None));
        looking.begin();
        looking.ended(start, true, true, backoff);
        assert!(looking.has_done(awaited) && looking.is_due(start + ms(100), true, None));
        assert!(looking.is_due(start + ms(5000), false, Some(ms(5000))));
    }
}
