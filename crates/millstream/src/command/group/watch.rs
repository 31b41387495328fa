//! `group watch`: what happens to a group, a line for each change: its state, members that come and go, and
//! which partitions they are given.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::Result;
use millstream_client::{Admin, GroupDescription, GroupMember};
use millstream_types::{ErrorCode, TopicPartition};
use serde_json::{Value, json};

use crate::command::{
    connect::ConnectArguments,
    failure::usage,
    output::{Output, OutputArguments, printable, reader_is_gone, say, spreadsheet_line, write},
    time, yaml,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The group; one that does not exist yet is waited for
    name: String,
    /// How often to look
    #[arg(short, long, value_name = "TIME", default_value = "500ms", value_parser = time::duration)]
    interval: Duration,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let output = arguments.output.output;
    if output == Output::Name {
        return Err(usage("changes have no names: expected --output table, json, yaml or csv"));
    }
    let admin = arguments.connect.connect().await?.client.admin();
    let mut known = Known::default();
    if output == Output::Csv && !write(spreadsheet_line(["TIME", "EVENT", "MEMBER", "DETAIL"]).as_bytes())? {
        return Ok(());
    }
    loop {
        match look(&admin, &arguments.name).await {
            Ok(group) => {
                if group.is_none() && known == Known::default() {
                    say(&format!("group {} does not exist yet; waiting for it", arguments.name));
                    known.state = Some(GONE.to_owned());
                }
                for event in known.take(group.as_ref()) {
                    if !write(event.text(&arguments.name, output).as_bytes())? {
                        return Ok(());
                    }
                }
            }
            Err(error) => say(&format!("millstream: {error:#}")),
        }
        if reader_is_gone() {
            return Ok(());
        }
        tokio::time::sleep(arguments.interval).await;
    }
}

/// None if there is no such group.
async fn look(admin: &Admin, name: &str) -> Result<Option<GroupDescription>> {
    match admin.describe_group(name).await {
        Ok(group) => Ok(Some(group)),
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The state of a group that does not exist.
const GONE: &str = "gone";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    State {
        is: String,
        was: Option<String>,
    },
    Joined(Member),
    Left(Member),
    /// All that it has from now on.
    Assigned(Member, Vec<TopicPartition>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    id: String,
    client_id: String,
    host: String,
}

impl Member {
    fn of(member: &GroupMember) -> Self {
        Self { id: member.id.clone(), client_id: member.client_id.clone(), host: member.host.clone() }
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::State { .. } => "state",
            Self::Joined(_) => "joined",
            Self::Left(_) => "left",
            Self::Assigned(..) => "assigned",
        }
    }

    fn member(&self) -> Option<&Member> {
        match self {
            Self::State { .. } => None,
            Self::Joined(member) | Self::Left(member) | Self::Assigned(member, _) => Some(member),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::State { is, was: None } => is.clone(),
            Self::State { is, was: Some(was) } => format!("{is} (was {was})"),
            Self::Joined(member) | Self::Left(member) => format!("{} at {}", member.client_id, member.host),
            Self::Assigned(_, partitions) if partitions.is_empty() => "nothing".to_owned(),
            Self::Assigned(_, partitions) => {
                partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>().join(" ")
            }
        }
    }

    fn value(&self, group: &str, at: &str) -> Value {
        let member = self.member();
        let mut value = json!({
            "time": at,
            "group": group,
            "event": self.name(),
            "member_id": member.map(|member| &member.id),
            "client_id": member.map(|member| &member.client_id),
            "host": member.map(|member| &member.host),
        });
        match self {
            Self::State { is, was } => {
                value["state"] = json!(is);
                value["before"] = json!(was);
            }
            Self::Assigned(_, partitions) => {
                let one = |one: &TopicPartition| json!({ "topic": one.topic.as_str(), "partition": one.partition.0 });
                value["partitions"] = partitions.iter().map(one).collect();
            }
            Self::Joined(_) | Self::Left(_) => {}
        }
        value
    }

    /// As it is printed, the end of the line included.
    fn text(&self, group: &str, output: Output) -> String {
        let at = time::format(time::now());
        let member = self.member().map_or("-", |member| member.id.as_str());
        match output {
            Output::Json => format!("{}\n", self.value(group, &at)),
            Output::Yaml => format!("---\n{}", yaml::to_string(&self.value(group, &at))),
            Output::Csv => spreadsheet_line([at.as_str(), self.name(), member, &self.detail()]),
            _ if io::stdout().is_terminal() => {
                let who = self.member().map(|member| format!("{}  ", member.id)).unwrap_or_default();
                printable(&format!("{at}  {:<8}  {who}{}", self.name(), self.detail())) + "\n"
            }
            _ => format!("{at}\t{}\t{member}\t{}\n", self.name(), self.detail()),
        }
    }
}

/// What was last seen of the group.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    state: Option<String>,
    members: BTreeMap<String, Member>,
    /// While members are given their partitions anew nobody is said to have any, which is no news.
    assigned: BTreeMap<String, BTreeSet<TopicPartition>>,
}

impl Known {
    /// What is new.
    fn take(&mut self, group: Option<&GroupDescription>) -> Vec<Event> {
        let mut events = Vec::new();
        let state = group.map_or(GONE, |group| group.state.as_str());
        let members: &[GroupMember] = group.map_or(&[], |group| &group.members);
        let now: BTreeMap<String, Member> =
            members.iter().map(|member| (member.id.clone(), Member::of(member))).collect();
        for (id, member) in &self.members {
            if !now.contains_key(id) {
                self.assigned.remove(id);
                events.push(Event::Left(member.clone()));
            }
        }
        let joined = now.iter().filter(|(id, _)| !self.members.contains_key(*id));
        events.extend(joined.map(|(_, member)| Event::Joined(member.clone())));
        if self.state.as_deref() != Some(state) {
            events.push(Event::State { is: state.to_owned(), was: self.state.replace(state.to_owned()) });
        }
        self.members = now;
        for member in members.iter().filter(|_| state == "Stable") {
            let assigned: BTreeSet<TopicPartition> = member.assignment.iter().cloned().collect();
            if self.assigned.get(&member.id) != Some(&assigned) {
                events.push(Event::Assigned(Member::of(member), assigned.iter().cloned().collect()));
                self.assigned.insert(member.id.clone(), assigned);
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use millstream_types::{PartitionId, TopicName};

    use super::*;

    fn group(state: &str, members: &[(&str, &[i32])]) -> GroupDescription {
        let partition = |number: &i32| TopicPartition::new(TopicName::from_static("t"), PartitionId(*number));
        let member = |(id, partitions): &(&str, &[i32])| GroupMember {
            id: (*id).to_owned(),
            instance_id: None,
            client_id: "c".to_owned(),
            host: "h".to_owned(),
            assignment: partitions.iter().map(partition).collect(),
        };
        GroupDescription {
            id: "g".to_owned(),
            state: state.to_owned(),
            group_type: "classic",
            protocol_type: "consumer".to_owned(),
            assignor: "range".to_owned(),
            members: members.iter().map(member).collect(),
        }
    }

    fn take(known: &mut Known, group: Option<&GroupDescription>) -> Vec<String> {
        let text = |event: &Event| {
            let who = event.member().map(|member| format!(" {}", member.id)).unwrap_or_default();
            format!("{}{who}: {}", event.name(), event.detail())
        };
        known.take(group).iter().map(text).collect()
    }

    #[test]
    fn a_rebalance_is_told_from_its_beginning_to_what_everybody_has_then() {
        let mut known = Known::default();
        let first = group("Stable", &[("a", &[0, 1])]);
        assert_eq!(
            take(&mut known, Some(&first)),
            ["joined a: c at h", "state: Stable", "assigned a: t-0 t-1"]
        );
        assert!(take(&mut known, Some(&first)).is_empty());
        let between = group("PreparingRebalance", &[("a", &[]), ("b", &[])]);
        assert_eq!(
            take(&mut known, Some(&between)),
            ["joined b: c at h", "state: PreparingRebalance (was Stable)"]
        );
        let second = group("Stable", &[("a", &[0]), ("b", &[1])]);
        assert_eq!(
            take(&mut known, Some(&second)),
            ["state: Stable (was PreparingRebalance)", "assigned a: t-0", "assigned b: t-1"]
        );
        let third = group("Stable", &[("b", &[1]), ("c", &[])]);
        assert_eq!(
            take(&mut known, Some(&third)),
            ["left a: c at h", "joined c: c at h", "assigned c: nothing"]
        );
        assert_eq!(take(&mut known, None), ["left b: c at h", "left c: c at h", "state: gone (was Stable)"]);
    }

    #[test]
    fn a_change_has_a_line_in_every_shape() {
        let event = Event::State { is: "Empty".to_owned(), was: Some("Stable".to_owned()) };
        let value: Value = serde_json::from_str(&event.text("g", Output::Json)).unwrap();
        assert_eq!(
            (&value["event"], &value["state"], &value["before"]),
            (&json!("state"), &json!("Empty"), &json!("Stable"))
        );
        assert!(event.text("g", Output::Csv).ends_with(",state,-,Empty (was Stable)\n"));
        assert!(event.text("g", Output::Yaml).starts_with("---\ntime: "));
    }
}
