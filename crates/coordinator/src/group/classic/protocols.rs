//! Which protocol a group uses: only one that every member supports, and of those the one with the most
//! votes; and what the consumer protocol tells about subscriptions.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_record::{internal::decode_version, messages::ConsumerProtocolSubscription};
use millstream_types::codec::{DecodeError, Reader};

use super::{ClassicGroup, Member};

/// The protocol type of Kafka's consumers.
const CONSUMER: &str = "consumer";

impl ClassicGroup {
    /// Whether somebody with these protocols could be a member now.
    pub(super) fn supports_any(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let supported_by_all = |name: &str| self.members.values().all(|member| member.supports(name));
        self.protocol_type() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| supported_by_all(name))
    }

    /// Every member votes for its favourite among the protocols that all support; a tie goes to the name
    /// that comes first. `None` without members.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let supported_by_all = |name: &str| self.members.values().all(|member| member.supports(name));
        let vote = |member: &Member| {
            member.protocols.iter().map(|(name, _)| name.clone()).find(|name| supported_by_all(name))
        };
        let mut votes = BTreeMap::<String, usize>::new();
        for name in self.members.values().filter_map(vote) {
            *votes.entry(name).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name)
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type() == Some(CONSUMER)
    }

    /// Consumers whose subscriptions are not known count as subscribed to everything.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// Whether it is known what the consumers of this group read.
    pub(crate) fn knows_subscriptions(&self) -> bool {
        self.uses_consumer_protocol() && self.subscribed_topics.is_some()
    }

    pub(super) fn compute_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription_topics(member.metadata(protocol)).ok()?);
        }
        Some(topics)
    }
}

/// Every version of the subscription begins as version 0 does, so what follows need not be known.
fn subscription_topics(metadata: Bytes) -> Result<Vec<String>, DecodeError> {
    let mut r = Reader::new(metadata);
    decode_version(&mut r)?;
    Ok(ConsumerProtocolSubscription::read(&mut r, 0)?.topics)
}
