//! The assignors by themselves, and beside Java's on random groups (`conformance/assignors`). A failure
//! names the seed; `MILLSTREAM_SEED=… cargo test -p millstream-client assignor` repeats it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    hash::{BuildHasher, RandomState},
};

use bytes::Bytes;
use millstream_testkit::{java_source, repository, skip};
use millstream_types::{GenerationId, PartitionId, TopicName, TopicPartition};

use super::{
    super::protocol::{Subscription, read_assignment, read_subscription, write_assignment},
    AssignmentStrategy, Assignments, Members, PartitionCounts, StickyData,
};
use crate::JoinedMember;

const STRATEGIES: [AssignmentStrategy; 4] = [
    AssignmentStrategy::Range,
    AssignmentStrategy::RoundRobin,
    AssignmentStrategy::Sticky,
    AssignmentStrategy::CooperativeSticky,
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

fn topic(number: u64) -> TopicName {
    TopicName::parse(&format!("topic{number}")).unwrap()
}

fn partition(topic: &TopicName, number: i32) -> TopicPartition {
    TopicPartition::new(topic.clone(), PartitionId(number))
}

/// A group before a rebalance.
#[derive(Clone, Debug)]
struct Case {
    strategy: AssignmentStrategy,
    counts: PartitionCounts,
    /// With `group.instance.id`.
    members: BTreeMap<String, (Option<String>, Subscription)>,
}

impl Case {
    fn random(random: &mut Random, strategy: AssignmentStrategy) -> Self {
        let topics = 1 + random.below(5);
        let counts: PartitionCounts =
            (0..topics).map(|t| (topic(t), i32::try_from(random.below(9)).unwrap())).collect();
        let counts = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        let alike = random.below(2) == 0;
        let count = 1 + random.below(7);
        let member = |index: u64| {
            let mut wants = |_: &u64| alike || random.below(3) > 0;
            // Not nothing at all: Java's sticky assignors give such a member what others want.
            let mut topics: BTreeSet<TopicName> = (0..=topics).filter(&mut wants).map(topic).collect();
            if topics.is_empty() {
                topics.insert(topic(0));
            }
            let instance = (random.below(4) == 0).then(|| format!("i{}", random.below(1000) * 10 + index));
            let subscription = Subscription { topics, ..Subscription::default() };
            (format!("m{}-{index}", random.below(100)), (instance, subscription))
        };
        Self { strategy, counts, members: (0..count).map(member).collect() }
    }

    /// The same group later: everyone holds what it was assigned; members go and come, topics grow.
    fn after(&self, random: &mut Random, assigned: &Assignments) -> Self {
        let mut next = self.clone();
        for (id, (_, subscription)) in &mut next.members {
            let held = &assigned[id];
            let generation = Some(GenerationId(7));
            if self.strategy.is_cooperative() {
                subscription.owned = held.iter().cloned().collect();
                subscription.generation = generation;
            }
            subscription.last = Some(StickyData { assignment: held.clone(), generation });
        }
        if random.below(2) == 0 && next.members.len() > 1 {
            next.members.pop_first();
        }
        if random.below(2) == 0 {
            let topics = next.members.values().next().unwrap().1.topics.clone();
            let fresh = Subscription { topics, ..Subscription::default() };
            next.members.insert(format!("m{}-new", random.below(100)), (None, fresh));
        }
        if random.below(3) == 0 {
            next.counts.values_mut().for_each(|count| *count += 1);
        }
        next
    }

    fn bytes(&self, id: &str) -> Bytes {
        self.members[id].1.to_bytes(self.strategy).unwrap()
    }

    /// What the leader makes of it, from the bytes.
    fn members(&self) -> Members {
        let member = |(id, (instance, _)): (&String, &(Option<String>, Subscription))| {
            let joined = JoinedMember {
                member_id: id.clone(),
                group_instance_id: instance.clone(),
                metadata: self.bytes(id),
            };
            (id.clone(), read_subscription(self.strategy, &joined).unwrap())
        };
        self.members.iter().map(member).collect()
    }

    fn assign(&self) -> Assignments {
        self.strategy.assign(&self.counts, &self.members())
    }

    fn is_fresh(&self) -> bool {
        self.members.values().all(|(_, subscription)| subscription.last.is_none())
    }

    /// Everything that somebody wants has exactly one owner, who wants it.
    fn check(&self, assigned: &Assignments) {
        let mut owners = BTreeMap::new();
        for (id, partitions) in assigned {
            for partition in partitions {
                let wanted = self.members[id].1.topics.contains(&partition.topic);
                assert!(wanted && owners.insert(partition.clone(), id).is_none(), "{self:?}: {assigned:?}");
            }
        }
        let wanted = |topic: &TopicName| self.members.values().any(|(_, s)| s.topics.contains(topic));
        let all: usize =
            self.counts.iter().filter(|(t, _)| wanted(t)).map(|(_, c)| usize::try_from(*c).unwrap()).sum();
        let withheld = self.strategy.is_cooperative() && !self.is_fresh();
        assert!(owners.len() == all || withheld, "{self:?}: {assigned:?}");
    }

    /// How many partitions stay where they were.
    fn kept(&self, assigned: &Assignments) -> usize {
        let held = |id: &str| self.members[id].1.last.clone().unwrap_or_default().assignment;
        let kept = |(id, now): (&String, &Vec<TopicPartition>)| {
            held(id).iter().filter(|held| now.contains(held)).count()
        };
        assigned.iter().map(kept).sum()
    }
}

fn loads(assigned: &Assignments) -> Vec<usize> {
    let mut loads: Vec<usize> = assigned.values().map(Vec::len).collect();
    loads.sort_unstable();
    loads
}

#[test]
fn what_is_wanted_has_one_owner_under_every_strategy_and_sticky_ones_settle() {
    let mut random = Random(1);
    for round in 0..300 {
        for strategy in STRATEGIES {
            let case = Case::random(&mut random, strategy);
            let first = case.assign();
            case.check(&first);
            let later = case.after(&mut random, &first);
            let second = later.assign();
            later.check(&second);
            if strategy.is_cooperative() {
                // What was withheld is given out in the next rebalance, and then nothing moves.
                let mut third = later.clone();
                for (id, (_, subscription)) in &mut third.members {
                    subscription.owned = second[id].iter().cloned().collect();
                    let generation = Some(GenerationId(8));
                    subscription.generation = generation;
                    subscription.last = Some(StickyData { assignment: second[id].clone(), generation });
                }
                let settled = third.assign();
                let all: usize = settled.values().map(Vec::len).sum();
                let wanted: usize = Case { members: third.members.clone(), ..case.clone() }
                    .counts
                    .keys()
                    .filter(|t| third.members.values().any(|(_, s)| s.topics.contains(*t)))
                    .map(|t| usize::try_from(third.counts[t]).unwrap())
                    .sum();
                assert_eq!(all, wanted, "round {round}: {third:?} {settled:?}");
            }
        }
    }
}

#[test]
fn a_claim_of_an_older_generation_gives_way_and_one_of_the_same_is_nobodys() {
    let t = topic(0);
    let member = |generation, owned: &[i32]| {
        let subscription = Subscription {
            topics: [t.clone()].into(),
            owned: owned.iter().map(|p| partition(&t, *p)).collect(),
            generation: Some(GenerationId(generation)),
            ..Subscription::default()
        };
        (None, subscription)
    };
    let strategy = AssignmentStrategy::CooperativeSticky;
    let counts = PartitionCounts::from([(t.clone(), 2)]);
    let members = [("a".to_owned(), member(3, &[0, 1])), ("b".to_owned(), member(4, &[0]))];
    let assigned = Case { strategy, counts: counts.clone(), members: members.into() }.assign();
    assert_eq!(assigned["b"], [partition(&t, 0)]);
    assert_eq!(assigned["a"], [partition(&t, 1)]);
    let members = [("a".to_owned(), member(4, &[0])), ("b".to_owned(), member(4, &[0]))];
    let assigned = Case { strategy, counts, members: members.into() }.assign();
    assert!(assigned.values().flatten().all(|p| *p == partition(&t, 1)), "{assigned:?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Bytes {
    if text == "-" {
        return Bytes::new();
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// What Java answers for one member.
struct Answer {
    subscription: Bytes,
    assignment: Bytes,
    user_data: Bytes,
}

/// Java's answers to these cases, or None where there is no Java.
fn ask_java(cases: &[Case]) -> Option<Vec<BTreeMap<String, Answer>>> {
    let program = java_source(&repository().join("conformance/assignors/Assignors.java"), None);
    let program = program
        .inspect_err(|error| skip("assignments_are_those_of_javas_assignors", &format!("{error:#}")))
        .ok()?;
    let mut text = String::new();
    for case in cases {
        writeln!(text, "CASE {}", case.strategy.name()).unwrap();
        for (topic, count) in &case.counts {
            writeln!(text, "TOPIC {topic} {count}").unwrap();
        }
        for (id, (instance, _)) in &case.members {
            let instance = instance.as_deref().unwrap_or("-");
            writeln!(text, "MEMBER {id} {instance} {}", hex(&case.bytes(id))).unwrap();
        }
        text.push_str("END\n");
    }
    let file = std::env::temp_dir().join(format!("millstream-assignors-{}", std::process::id()));
    fs::write(&file, text).unwrap();
    let finished = program.arg(file.display().to_string()).run().unwrap().ok().unwrap();
    fs::remove_file(&file).unwrap();
    let mut answers = vec![BTreeMap::new()];
    for line in finished.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["MEMBER", id, subscription, assignment, user_data] => {
                let (subscription, assignment) = (unhex(subscription), unhex(assignment));
                let answer = Answer { subscription, assignment, user_data: unhex(user_data) };
                answers.last_mut().unwrap().insert(id.to_owned(), answer);
            }
            ["END"] => answers.push(BTreeMap::new()),
            _ => panic!("Java says {line:?}"),
        }
    }
    answers.pop();
    Some(answers)
}

/// The same partitions, the topics in whatever order the bytes have them: Java's is that of a hash table.
fn in_topic_order(assignment: &Bytes) -> (Vec<TopicPartition>, Bytes) {
    let partitions: Vec<_> = read_assignment(assignment.clone()).unwrap().into_iter().collect();
    let bytes = write_assignment(&partitions).unwrap();
    assert_eq!(bytes.len(), assignment.len());
    (partitions, bytes)
}

#[test]
fn assignments_are_those_of_javas_assignors() {
    let seed = match std::env::var("MILLSTREAM_SEED") {
        Ok(text) => text.parse().expect("MILLSTREAM_SEED is a number"),
        Err(_) => RandomState::new().hash_one("a seed"),
    };
    let mut random = Random(seed);
    let mut cases = Vec::new();
    for _ in 0..250 {
        for strategy in STRATEGIES {
            let case = Case::random(&mut random, strategy);
            let later = case.after(&mut random, &case.assign());
            cases.extend([case, later]);
        }
    }
    let Some(answers) = ask_java(&cases) else { return };
    assert_eq!(answers.len(), cases.len());
    for (case, java) in cases.iter().zip(&answers) {
        compare(seed, case, java);
    }
}

fn compare(seed: u64, case: &Case, java: &BTreeMap<String, Answer>) {
    let ours = case.assign();
    case.check(&ours);
    let about = || format!("MILLSTREAM_SEED={seed}: {case:#?}\nours: {ours:#?}");
    let mut theirs = Assignments::new();
    for (id, answer) in java {
        assert_eq!(answer.subscription, case.bytes(id), "{}", about());
        let (partitions, bytes) = in_topic_order(&answer.assignment);
        let generation = Some(GenerationId(7));
        let held = StickyData { assignment: partitions.clone(), generation };
        let user_data = Subscription { last: Some(held.clone()), ..Subscription::default() };
        match case.strategy {
            AssignmentStrategy::Range | AssignmentStrategy::RoundRobin => {
                assert_eq!(bytes, write_assignment(&ours[id]).unwrap(), "{}", about());
                assert!(answer.user_data.is_empty());
            }
            AssignmentStrategy::Sticky => {
                assert_eq!(StickyData::from_bytes(answer.user_data.clone()).map(sorted), Ok(sorted(held)));
                assert_eq!(answer.user_data.len(), user_data.last.unwrap().to_bytes().len());
            }
            AssignmentStrategy::CooperativeSticky => {
                assert_eq!(answer.user_data, super::cooperative_user_data(generation));
            }
        }
        theirs.insert(id.clone(), partitions);
    }
    let sets = |assigned: &Assignments| -> Vec<BTreeSet<TopicPartition>> {
        assigned.values().map(|partitions| partitions.iter().cloned().collect()).collect()
    };
    let tell = || format!("{}\nJava's: {theirs:#?}", about());
    if case.is_fresh() {
        assert_eq!(sets(&ours), sets(&theirs), "{}", tell());
    } else if matches!(case.strategy, AssignmentStrategy::Sticky) {
        // Who keeps one more is up to the order of a hash table in Java.
        assert_eq!(loads(&ours), loads(&theirs), "{}", tell());
        assert!(case.kept(&ours) >= case.kept(&theirs), "{}", tell());
    } else if matches!(case.strategy, AssignmentStrategy::CooperativeSticky) {
        let held = |assigned: &Assignments| assigned.values().map(Vec::len).sum::<usize>();
        assert!(case.kept(&ours) >= case.kept(&theirs) && held(&ours) >= held(&theirs), "{}", tell());
    }
}

fn sorted(mut data: StickyData) -> StickyData {
    data.assignment.sort_unstable();
    data
}
