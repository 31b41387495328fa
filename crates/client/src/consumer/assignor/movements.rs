//! Which partitions have been moved between which members in one assignment, so that no two partitions of
//! a topic trade places: that would cost both members and balance nothing.

use std::collections::{BTreeMap, BTreeSet};

use millstream_types::{TopicName, TopicPartition};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    from: String,
    to: String,
}

#[derive(Debug, Default)]
pub(super) struct Movements {
    routes: BTreeMap<TopicPartition, Route>,
    by_route: BTreeMap<(TopicName, Route), BTreeSet<TopicPartition>>,
}

impl Movements {
    pub(super) fn moved(&mut self, partition: &TopicPartition, from: &str, to: &str) {
        let key = |route: &Route| (partition.topic.clone(), route.clone());
        let earlier = self.routes.remove(partition);
        if let Some(earlier) = &earlier
            && let Some(same) = self.by_route.get_mut(&key(earlier))
        {
            same.remove(partition);
            if same.is_empty() {
                self.by_route.remove(&key(earlier));
            }
        }
        let from = earlier.map_or_else(|| from.to_owned(), |earlier| earlier.from);
        // Back where it came from is not moved at all.
        if from != to {
            let route = Route { from, to: to.to_owned() };
            self.by_route.entry(key(&route)).or_default().insert(partition.clone());
            self.routes.insert(partition.clone(), route);
        }
    }

    /// The partition to move in place of this one: one of its topic that came the other way, if any did.
    pub(super) fn instead_of(&self, partition: &TopicPartition, from: &str, to: &str) -> TopicPartition {
        let from = self.routes.get(partition).map_or(from, |earlier| &earlier.from);
        let back = Route { from: to.to_owned(), to: from.to_owned() };
        let came = self.by_route.get(&(partition.topic.clone(), back)).and_then(BTreeSet::first);
        came.unwrap_or(partition).clone()
    }
}
