//! The sticky assignment where members want different topics: what is new goes to whoever has least and may
//! have it, then single partitions move from those with more to those with less, as long as that helps.

use std::collections::{BTreeMap, BTreeSet};

use millstream_types::{TopicName, TopicPartition};

use super::{
    Assignments, Members, PartitionCounts, movements::Movements, nothing, partitions, sticky::Claims,
};

pub(super) fn assign(counts: &PartitionCounts, members: &Members) -> Assignments {
    let mut board = Board::new(counts, members);
    let unassigned = board.unassigned();
    let was_empty = board.assignments.values().all(Vec::is_empty);
    for partition in &unassigned {
        board.give_to_least(partition);
    }
    board.set_fixed_aside();
    let before = (board.assignments.clone(), board.owners.clone());
    let movable: Vec<TopicPartition> =
        board.partitions.iter().filter(|p| board.candidates(&p.topic).len() > 1).cloned().collect();
    // What is new may move for nothing.
    if !board.had_to_revoke {
        let fresh: Vec<_> = unassigned.into_iter().filter(|p| board.candidates(&p.topic).len() > 1).collect();
        board.rebalance(&fresh);
    }
    let moved = board.rebalance(&movable);
    if !was_empty && moved && imbalance(&board.assignments) >= imbalance(&before.0) {
        (board.assignments, board.owners) = before;
    }
    board.assignments.extend(board.fixed);
    board.assignments
}

struct Board {
    /// By how few members may have them, then by name: the choosiest first.
    partitions: Vec<TopicPartition>,
    counts: PartitionCounts,
    /// Who may have a topic.
    candidates: BTreeMap<TopicName, Vec<String>>,
    topics: BTreeMap<String, BTreeSet<TopicName>>,
    assignments: Assignments,
    owners: BTreeMap<TopicPartition, String>,
    /// Members by how much they have.
    by_load: BTreeSet<(usize, String)>,
    /// Of members that can neither give nor take.
    fixed: Assignments,
    /// Whom a partition belonged to before its present owner.
    previous: BTreeMap<TopicPartition, String>,
    movements: Movements,
    had_to_revoke: bool,
}

impl Board {
    fn new(counts: &PartitionCounts, members: &Members) -> Self {
        let mut candidates: BTreeMap<TopicName, Vec<String>> = BTreeMap::new();
        let mut topics: BTreeMap<String, BTreeSet<TopicName>> = BTreeMap::new();
        for (id, member) in members {
            let existing: BTreeSet<_> =
                member.topics.iter().filter(|t| counts.contains_key(*t)).cloned().collect();
            for topic in &existing {
                candidates.entry(topic.clone()).or_default().push(id.clone());
            }
            topics.insert(id.clone(), existing);
        }
        let mut wanted: Vec<&TopicName> = counts.keys().collect();
        wanted.sort_by_key(|topic| (candidates.get(*topic).map_or(0, Vec::len), *topic));
        let all = wanted.iter().flat_map(|topic| partitions(topic, counts[*topic])).collect();
        let mut board = Self {
            partitions: all,
            counts: counts.clone(),
            candidates,
            topics,
            assignments: nothing(members),
            owners: BTreeMap::new(),
            by_load: BTreeSet::new(),
            fixed: BTreeMap::new(),
            previous: previous_owners(members),
            movements: Movements::default(),
            had_to_revoke: false,
        };
        board.keep(Claims::new(counts, members));
        board
    }

    /// Everyone keeps what it has and still wants.
    fn keep(&mut self, claims: Claims) {
        for (id, owned) in claims.owned {
            for partition in owned {
                let exists = self
                    .counts
                    .get(&partition.topic)
                    .is_some_and(|count| (0..*count).contains(&partition.partition.0));
                if !exists {
                    continue;
                }
                if !self.topics[&id].contains(&partition.topic) {
                    self.had_to_revoke = true;
                    continue;
                }
                self.owners.insert(partition.clone(), id.clone());
                self.assignments.entry(id.clone()).or_default().push(partition);
            }
        }
        self.by_load = self.assignments.iter().map(|(id, assigned)| (assigned.len(), id.clone())).collect();
    }

    fn candidates(&self, topic: &TopicName) -> &[String] {
        self.candidates.get(topic).map_or(&[], Vec::as_slice)
    }

    fn unassigned(&self) -> Vec<TopicPartition> {
        self.partitions.iter().filter(|partition| !self.owners.contains_key(partition)).cloned().collect()
    }

    fn load(&self, member: &str) -> usize {
        self.assignments.get(member).map_or(0, Vec::len)
    }

    fn least_loaded_for(&self, topic: &TopicName) -> Option<String> {
        let mut wanting = self.by_load.iter().filter(|(_, id)| self.topics[id].contains(topic));
        wanting.next().map(|(_, id)| id.clone())
    }

    fn give_to_least(&mut self, partition: &TopicPartition) {
        if let Some(id) = self.least_loaded_for(&partition.topic) {
            self.change(&id, |assigned| assigned.push(partition.clone()));
            self.owners.insert(partition.clone(), id);
        }
    }

    fn change(&mut self, member: &str, change: impl FnOnce(&mut Vec<TopicPartition>)) {
        let assigned = self.assignments.entry(member.to_owned()).or_default();
        self.by_load.remove(&(assigned.len(), member.to_owned()));
        change(assigned);
        self.by_load.insert((assigned.len(), member.to_owned()));
    }

    /// The most that a member could have.
    fn most(&self, member: &str) -> usize {
        let counts = self.topics[member].iter().map(|topic| self.counts[topic]);
        counts.map(|count| usize::try_from(count).unwrap_or(0)).sum()
    }

    /// A member that has all it may have, and nothing that others want, takes no part in what follows.
    fn set_fixed_aside(&mut self) {
        let fixed: Vec<String> = self
            .assignments
            .iter()
            .filter(|(id, assigned)| {
                let shared = assigned.iter().any(|held| self.candidates(&held.topic).len() > 1);
                assigned.len() >= self.most(id) && !shared
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in fixed {
            if let Some(assigned) = self.assignments.remove(&id) {
                self.by_load.remove(&(assigned.len(), id.clone()));
                self.fixed.insert(id, assigned);
            }
        }
    }

    /// Moves one partition after the other to better places. Whether any moved.
    fn rebalance(&mut self, movable: &[TopicPartition]) -> bool {
        let mut moved_any = false;
        loop {
            let mut moved = false;
            for partition in movable {
                if self.is_balanced() {
                    break;
                }
                let Some(owner) = self.owners.get(partition).cloned() else { continue };
                if let Some(target) = self.better_place(partition, &owner) {
                    self.move_to(partition, &owner, &target);
                    moved = true;
                }
            }
            moved_any |= moved;
            if !moved {
                return moved_any;
            }
        }
    }

    fn better_place(&self, partition: &TopicPartition, owner: &str) -> Option<String> {
        let load = self.load(owner);
        let is_better = |other: &str| self.assignments.contains_key(other) && load > self.load(other) + 1;
        if let Some(previous) = self.previous.get(partition).filter(|previous| is_better(previous)) {
            return Some(previous.clone());
        }
        if !self.candidates(&partition.topic).iter().any(|other| is_better(other)) {
            return None;
        }
        self.least_loaded_for(&partition.topic)
    }

    fn move_to(&mut self, partition: &TopicPartition, owner: &str, target: &str) {
        let partition = self.movements.instead_of(partition, owner, target);
        let Some(owner) = self.owners.insert(partition.clone(), target.to_owned()) else { return };
        self.movements.moved(&partition, &owner, target);
        self.change(&owner, |assigned| assigned.retain(|held| *held != partition));
        self.change(target, |assigned| assigned.push(partition));
    }

    /// Whether no member could be given a partition of another that has more.
    fn is_balanced(&self) -> bool {
        let (Some((least, _)), Some((most, _))) = (self.by_load.first(), self.by_load.last()) else {
            return true;
        };
        if least + 1 >= *most {
            return true;
        }
        self.by_load.iter().all(|(load, id)| {
            let mut others = self.topics[id].iter().flat_map(|topic| partitions(topic, self.counts[topic]));
            *load == self.most(id)
                || others.all(|partition| {
                    let owner = self.owners.get(&partition).filter(|owner| *owner != id);
                    owner.is_none_or(|owner| *load >= self.load(owner))
                })
        })
    }
}

/// The owner before the present one, where a partition is claimed in two generations.
fn previous_owners(members: &Members) -> BTreeMap<TopicPartition, String> {
    let mut claims: BTreeMap<&TopicPartition, Vec<_>> = BTreeMap::new();
    for (id, member) in members {
        for partition in &member.owned {
            claims.entry(partition).or_default().push((member.generation, id));
        }
    }
    let mut previous = BTreeMap::new();
    for (partition, mut claimants) in claims {
        claimants.sort_unstable();
        if let [.., (second, id), (first, _)] = claimants.as_slice()
            && second < first
        {
            previous.insert(partition.clone(), (*id).clone());
        }
    }
    previous
}

/// The differences between all members' loads, added up.
fn imbalance(assignments: &Assignments) -> usize {
    let mut loads: Vec<usize> = assignments.values().map(Vec::len).collect();
    loads.sort_unstable();
    let mut sum = 0;
    for (index, load) in loads.iter().enumerate() {
        sum += loads[index..].iter().map(|other| other - load).sum::<usize>();
    }
    sum
}
