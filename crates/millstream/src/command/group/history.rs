//! `group history`: what `__consumer_offsets` still holds of a group: what was committed and when, its
//! generations and who had which partitions in them. Whatever compaction has removed is not told any more.

use std::{collections::VecDeque, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use millstream_client::{Consumer, ConsumerRecord, IsolationLevel};
use millstream_coordinator::group::partition_for;
use millstream_record::{
    internal::decode_version,
    messages::{
        ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, ConsumerProtocolAssignment, GroupMetadataKey,
        GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, group_metadata_value::MemberMetadata,
    },
};
use millstream_types::{
    PartitionId, TimestampMs, TopicName, TopicPartition,
    codec::{DecodeError, Message, Reader},
};
use serde_json::{Value, json};

use crate::command::{
    connect::ConnectArguments,
    failure::{self, Failure},
    output::{Answer, OutputArguments, Section, counted},
    position::bounds,
    time,
    topic::find,
};

const OFFSETS_TOPIC: &str = "__consumer_offsets";
const POLL: Duration = Duration::from_secs(1);
const EVENTS_MAX: u32 = 100_000;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The group
    name: String,
    /// Only commits for this topic; repeat for more
    #[arg(short, long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only generations: who was in the group, and what each had
    #[arg(short, long, conflicts_with = "topics")]
    generations: bool,
    /// Only the last so many
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(EVENTS_MAX)))]
    last: u32,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let connected = arguments.connect.connect().await?;
    let admin = connected.client.admin();
    let name = TopicName::from_static(OFFSETS_TOPIC);
    let topic = match find(&admin, &name).await {
        // Nobody has committed anything yet.
        Err(error) if failure::is_not_found(&error) => return Err(failure::no_group(&arguments.name)),
        found => found?,
    };
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let partition = TopicPartition::new(name, partition_for(&arguments.name, count));
    let known = bounds(&admin, std::slice::from_ref(&partition), IsolationLevel::ReadCommitted).await?;
    let (start, end) = (known[&partition].start, known[&partition].end);
    let mut config = connected.consumer;
    config.group_id = None;
    // What a transaction that was aborted would have committed is no part of it.
    config.isolation_level = IsolationLevel::ReadCommitted;
    let mut consumer = Consumer::new(connected.client, config);
    consumer.assign([(partition.clone(), start)]);
    let (mut events, mut is_known, mut left_out) = (VecDeque::new(), false, 0);
    while consumer.progress(&partition).is_some_and(|progress| progress.position < end) {
        for record in consumer.poll(POLL).await? {
            let Some(event) = Event::of(&arguments.name, &record) else { continue };
            is_known = true;
            if arguments.wants(&event) {
                events.push_back(event);
            }
            if events.len() > arguments.last as usize {
                events.pop_front();
                left_out += 1;
            }
        }
    }
    if !is_known {
        let text = format!(
            "nothing is known of group {}; `millstream group ls` lists those that are",
            arguments.name
        );
        return Err(Failure::NotFound(text).into());
    }
    let mut section = Section::new("event", &["TIME", "EVENT", "WHAT", "DETAIL"]);
    for event in &events {
        section.row([
            time::format(event.at),
            event.kind.name().to_owned(),
            event.kind.what(),
            event.kind.detail(),
        ]);
    }
    let mut answer = Answer::new(events.iter().map(Event::value).collect::<Value>(), vec![section]);
    if left_out > 0 {
        answer.note = Some(format!("{} before these; --last shows more", counted(left_out, "event")));
    }
    arguments.output.print(&answer)
}

impl Arguments {
    fn wants(&self, event: &Event) -> bool {
        match &event.kind {
            Kind::Committed { partition, .. } | Kind::Forgotten { partition } => {
                let is_named = |topic: &String| topic == partition.topic.as_str();
                !self.generations && (self.topics.is_empty() || self.topics.iter().any(is_named))
            }
            Kind::Generation { .. } | Kind::Epoch(_) | Kind::Removed => self.topics.is_empty(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    at: TimestampMs,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Committed {
        partition: TopicPartition,
        offset: i64,
        metadata: String,
    },
    /// An offset that was deleted or has expired.
    Forgotten {
        partition: TopicPartition,
    },
    Generation {
        generation: i32,
        protocol: Option<String>,
        leader: Option<String>,
        members: Vec<Member>,
    },
    /// Of a group of the new protocol (KIP-848).
    Epoch(i32),
    Removed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    id: String,
    client_id: String,
    host: String,
    /// None where it is no consumer's.
    partitions: Option<Vec<TopicPartition>>,
}

impl Event {
    /// What a record says of this group; None if it is of another, or says nothing of this kind.
    fn of(group: &str, record: &ConsumerRecord) -> Option<Self> {
        let kind = Kind::of(group, record.key.clone()?, record.value.clone()).ok()??;
        Some(Self { at: record.timestamp, kind })
    }

    fn value(&self) -> Value {
        let mut value = json!({ "time": time::format(self.at), "event": self.kind.name() });
        match &self.kind {
            Kind::Committed { partition, offset, metadata } => {
                value["topic"] = json!(partition.topic.as_str());
                value["partition"] = json!(partition.partition.0);
                value["offset"] = json!(offset);
                value["metadata"] = json!(metadata);
            }
            Kind::Forgotten { partition } => {
                value["topic"] = json!(partition.topic.as_str());
                value["partition"] = json!(partition.partition.0);
            }
            Kind::Generation { generation, protocol, leader, members } => {
                value["generation"] = json!(generation);
                value["protocol"] = json!(protocol);
                value["leader"] = json!(leader);
                value["members"] = members.iter().map(Member::value).collect();
            }
            Kind::Epoch(epoch) => value["epoch"] = json!(epoch),
            Kind::Removed => {}
        }
        value
    }
}

impl Kind {
    fn of(group: &str, key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, DecodeError> {
        let mut key = Reader::new(key);
        let kind = match decode_version(&mut key)? {
            0 | 1 => {
                let OffsetCommitKey { group: of, topic, partition } = OffsetCommitKey::read(&mut key, 0)?;
                let Ok(topic) = TopicName::parse(&topic) else { return Ok(None) };
                let partition = TopicPartition::new(topic, PartitionId(partition));
                let kind = match read::<OffsetCommitValue>(value)? {
                    Some(OffsetCommitValue { offset, metadata, .. }) => {
                        Self::Committed { partition, offset, metadata }
                    }
                    None => Self::Forgotten { partition },
                };
                (of, kind)
            }
            2 => {
                let of = GroupMetadataKey::read(&mut key, 0)?.group;
                (of, read::<GroupMetadataValue>(value)?.map_or(Self::Removed, Self::generation))
            }
            3 => {
                let of = ConsumerGroupMetadataKey::read(&mut key, 0)?.group_id;
                let value = read::<ConsumerGroupMetadataValue>(value)?;
                (of, value.map_or(Self::Removed, |value| Self::Epoch(value.epoch)))
            }
            _ => return Ok(None),
        };
        Ok(Some(kind).filter(|(of, _)| of == group).map(|(_, kind)| kind))
    }

    fn generation(value: GroupMetadataValue) -> Self {
        let is_consumer = value.protocol_type == "consumer";
        let member = |member: MemberMetadata| Member {
            id: member.member_id,
            client_id: member.client_id,
            host: member.client_host,
            partitions: is_consumer.then(|| assigned(member.assignment)),
        };
        Self::Generation {
            generation: value.generation,
            protocol: value.protocol,
            leader: value.leader,
            members: value.members.into_iter().map(member).collect(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Committed { .. } => "committed",
            Self::Forgotten { .. } => "forgotten",
            Self::Generation { .. } => "generation",
            Self::Epoch(_) => "epoch",
            Self::Removed => "removed",
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Committed { partition, .. } | Self::Forgotten { partition } => partition.to_string(),
            Self::Generation { generation, .. } => generation.to_string(),
            Self::Epoch(epoch) => epoch.to_string(),
            Self::Removed => "-".to_owned(),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Committed { offset, metadata, .. } if metadata.is_empty() => offset.to_string(),
            Self::Committed { offset, metadata, .. } => format!("{offset} ({metadata})"),
            Self::Generation { members, .. } if members.is_empty() => "no members".to_owned(),
            Self::Generation { members, .. } => {
                members.iter().map(Member::text).collect::<Vec<_>>().join("; ")
            }
            Self::Forgotten { .. } | Self::Epoch(_) | Self::Removed => "-".to_owned(),
        }
    }
}

impl Member {
    fn text(&self) -> String {
        let Some(partitions) = &self.partitions else { return self.id.clone() };
        let partitions: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
        let partitions = if partitions.is_empty() { "nothing".to_owned() } else { partitions.join(" ") };
        format!("{}: {partitions}", self.id)
    }

    fn value(&self) -> Value {
        let one = |one: &TopicPartition| json!({ "topic": one.topic.as_str(), "partition": one.partition.0 });
        json!({
            "member_id": self.id,
            "client_id": self.client_id,
            "host": self.host,
            "partitions": self.partitions.as_ref().map(|all| all.iter().map(one).collect::<Vec<_>>()),
        })
    }
}

fn read<M: Message>(value: Option<Bytes>) -> Result<Option<M>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut reader = Reader::new(value);
    let version = decode_version(&mut reader)?;
    M::read(&mut reader, version).map(Some)
}

/// What a member was given; nothing if that cannot be read.
fn assigned(bytes: Bytes) -> Vec<TopicPartition> {
    let Ok(Some(assignment)) =
        read::<ConsumerProtocolAssignment>(Some(bytes).filter(|bytes| !bytes.is_empty()))
    else {
        return Vec::new();
    };
    let mut partitions = Vec::new();
    for one in assignment.assigned_partitions {
        let Ok(topic) = TopicName::parse(&one.topic) else { continue };
        let numbers = one.partitions.into_iter().map(PartitionId);
        partitions.extend(numbers.map(|number| TopicPartition::new(topic.clone(), number)));
    }
    partitions
}

#[cfg(test)]
mod tests {
    use millstream_record::internal::{encode_key, encode_versioned};

    use super::*;

    #[test]
    fn commits_and_what_was_forgotten_are_told_of_one_group() {
        let key = OffsetCommitKey { group: "g".to_owned(), topic: "t".to_owned(), partition: 3 };
        let key = encode_key(1, &key).unwrap();
        let value = OffsetCommitValue { offset: 42, metadata: "m".to_owned(), ..Default::default() };
        let value = encode_versioned(&value, 3).unwrap();
        let committed = Kind::of("g", key.clone(), Some(value.clone())).unwrap().unwrap();
        assert_eq!((committed.what(), committed.detail()), ("t-3".to_owned(), "42 (m)".to_owned()));
        assert_eq!(Kind::of("other", key.clone(), Some(value)).unwrap(), None);
        assert_eq!(Kind::of("g", key, None).unwrap().unwrap().name(), "forgotten");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_passed_over() {
        assert!(Kind::of("g", Bytes::from_static(&[0, 1, 0]), None).is_err());
        assert_eq!(Kind::of("g", Bytes::from_static(&[0, 99]), None).unwrap(), None);
        assert!(assigned(Bytes::from_static(&[0, 3, 255])).is_empty());
    }
}
