//! Random sequences of everything that can happen, against the invariants that [`Bench`] checks after each
//! step: one leader, at most one answer for each request, timers for members only, restart without loss.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Join { client: u8, instance: Option<u8>, known: bool, changed: bool, old: bool },
    Sync { client: u8 },
    Heartbeat { client: u8, generation_off: bool },
    Leave { client: u8, by_instance: bool },
    Commit { client: Option<u8>, offset: i64 },
    Describe,
    Delete,
    Pass { ms: i64 },
    FailNextAppend,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..4u8;
    prop_oneof![
        8 => (client.clone(), prop::option::weighted(0.3, 0..2u8), prop::bool::weighted(0.7), any::<bool>(), any::<bool>())
            .prop_map(|(client, instance, known, changed, old)| Step::Join { client, instance, known, changed, old }),
        6 => client.clone().prop_map(|client| Step::Sync { client }),
        4 => (client.clone(), prop::bool::weighted(0.1))
            .prop_map(|(client, generation_off)| Step::Heartbeat { client, generation_off }),
        2 => (client.clone(), any::<bool>()).prop_map(|(client, by_instance)| Step::Leave { client, by_instance }),
        2 => (prop::option::of(client), 0..100i64).prop_map(|(client, offset)| Step::Commit { client, offset }),
        1 => Just(Step::Describe),
        1 => Just(Step::Delete),
        4 => (0..12_000i64).prop_map(|ms| Step::Pass { ms }),
        1 => (600_000..90_000_000i64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::FailNextAppend),
        1 => Just(Step::Restart),
    ]
}

/// The clients: what each last heard of its member id and generation.
#[derive(Default)]
struct Clients {
    known: BTreeMap<u8, (String, Option<u8>, i32)>,
    joins: BTreeMap<RequestToken, (u8, Option<u8>)>,
}

impl Clients {
    fn hear(&mut self, bench: &mut Bench) {
        let answered: Vec<_> = self.joins.keys().copied().filter(|token| !bench.is_waiting(*token)).collect();
        for token in answered {
            let (client, instance) = self.joins.remove(&token).unwrap();
            let Some(GroupResponse::JoinGroup(response)) = bench.answers.remove(&token) else { continue };
            match response.error {
                ErrorCode::None => {
                    let generation = response.generation_id.unwrap().0;
                    assert!(!response.leader.is_empty() && response.protocol_name.is_some());
                    let leads = response.leader == response.member_id;
                    assert_eq!(leads, !response.members.is_empty());
                    self.known.insert(client, (response.member_id, instance, generation));
                }
                ErrorCode::MemberIdRequired => {
                    self.known.insert(client, (response.member_id, instance, -1));
                }
                _ => {
                    self.known.remove(&client);
                }
            }
        }
    }

    fn member(&self, client: u8) -> (String, Option<String>, i32) {
        let (id, instance, generation) =
            self.known.get(&client).cloned().unwrap_or(("nobody".to_owned(), None, 0));
        (id, instance.map(|instance| format!("i{instance}")), generation)
    }
}

fn run(bench: &mut Bench, clients: &mut Clients, step: Step) {
    match step {
        Step::Join { client, instance, known, changed, old } => {
            let (id, joined_as, _) = clients.member(client);
            let fresh = !known || id == "nobody";
            let instance = if fresh { instance } else { clients.known[&client].1 };
            let request = JoinGroup {
                member_id: if fresh { String::new() } else { id },
                group_instance_id: if fresh {
                    instance.map(|instance| format!("i{instance}"))
                } else {
                    joined_as
                },
                protocols: protocols(if changed { &["a", "b"] } else { &["b", "a", "c"] }),
                requires_known_member_id: !old,
                supports_skipping_assignment: !old,
                ..dynamic(&format!("c{client}"))
            };
            let token = bench.ask(GroupEvent::JoinGroup(request));
            clients.joins.insert(token, (client, instance));
        }
        Step::Sync { client } => {
            let (member_id, group_instance_id, generation) = clients.member(client);
            let assignments =
                clients.known.values().map(|(id, _, _)| (id.clone(), Bytes::from(id.clone()))).collect();
            let request = SyncGroup { group_instance_id, assignments, ..syncing(&member_id, generation) };
            bench.ask(GroupEvent::SyncGroup(request));
        }
        Step::Heartbeat { client, generation_off } => {
            let (id, instance, generation) = clients.member(client);
            bench.heartbeat_as(&id, instance.as_deref(), generation + i32::from(generation_off));
        }
        Step::Leave { client, by_instance } => {
            let (id, instance, _) = clients.member(client);
            let id = if by_instance && instance.is_some() { String::new() } else { id };
            bench.leave(&[(&id, instance.as_deref())]);
        }
        Step::Commit { client, offset } => {
            let request = match client.map(|client| clients.member(client)) {
                Some((id, group_instance_id, generation)) => {
                    OffsetCommit { group_instance_id, ..member_commit(&id, generation, &[("t", 0, offset)]) }
                }
                None => simple_commit(GROUP, &[("t", 0, offset)]),
            };
            if bench.commit(request) == [ErrorCode::None] {
                assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(offset));
            }
        }
        Step::Describe => {
            let shown = bench.describe();
            assert_eq!(
                shown.members.is_empty(),
                matches!(shown.state, GroupState::Empty | GroupState::Dead) || {
                    shown.state == GroupState::PreparingRebalance && shown.members.is_empty()
                }
            );
        }
        Step::Delete => {
            bench.delete(GROUP);
        }
        Step::Pass { ms } => bench.pass(ms),
        Step::FailNextAppend => bench.append_error = Some(ErrorCode::KafkaStorageError),
        Step::Restart => {
            bench.restart();
            clients.joins.clear();
        }
    }
    clients.hear(bench);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_the_group_stays_sound(steps in prop::collection::vec(step(), 1..120), delay in 0..2i64) {
        let config = GroupConfig {
            max_size: 3,
            initial_rebalance_delay_ms: delay * 1_000,
            offsets_retention_ms: 3_600_000,
            ..GroupConfig::default()
        };
        let mut bench = Bench::with(config);
        let mut clients = Clients::default();
        for step in steps {
            run(&mut bench, &mut clients, step);
        }
        // Left alone, every request is answered, and the group empties.
        bench.append_error = None;
        bench.pass(2_000_000);
        prop_assert_eq!(bench.waiting.len(), 0);
        prop_assert!(matches!(bench.state(), GroupState::Empty | GroupState::Dead));
        bench.restart();
    }
}
