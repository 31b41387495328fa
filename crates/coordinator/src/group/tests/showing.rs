//! DescribeGroups and ListGroups. The answers were asked of Kafka.

use super::*;

fn list(bench: &mut Bench, states: &[GroupState], types: &[GroupType]) -> Vec<String> {
    let filter = ListGroups { states: states.to_vec(), types: types.to_vec() };
    let token = bench.ask(GroupEvent::ListGroups(filter));
    match bench.answer(token) {
        GroupResponse::ListGroups(groups) => groups.into_iter().map(|group| group.group_id).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_group_is_dead() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.describe(),
        DescribeGroupResponse {
            error: ErrorCode::GroupIdNotFound,
            error_message: Some("Group g not found.".to_owned()),
            group_id: GROUP.to_owned(),
            state: GroupState::Dead,
            protocol_type: String::new(),
            protocol_data: String::new(),
            members: Vec::new(),
        }
    );
}

#[test]
fn a_stable_group_shows_its_protocol_and_what_its_members_said_in_it() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    let shown = bench.describe();
    assert_eq!((shown.protocol_type.as_str(), shown.protocol_data.as_str()), ("connect", "range"));
    let member = DescribedMember {
        member_id: ids[0].clone(),
        group_instance_id: None,
        client_id: "a".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        metadata: Bytes::from("range"),
        assignment: Bytes::from(ids[0].clone()),
    };
    assert_eq!(shown.members, [member]);
}

#[test]
fn a_rebalancing_group_shows_neither() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    bench.start_join(known(&ids[0], "a"));
    let shown = bench.describe();
    assert_eq!(
        (shown.state, shown.protocol_type.as_str(), shown.protocol_data.as_str()),
        (GroupState::PreparingRebalance, "connect", "")
    );
    assert!(shown.members.iter().all(|member| member.metadata.is_empty()));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    bench.commit(simple_commit("simple", &[("t", 0, 1)]));
    assert_eq!(list(&mut bench, &[], &[]), ["g", "simple"]);
    assert_eq!(list(&mut bench, &[GroupState::Stable], &[]), ["g"]);
    assert_eq!(
        list(&mut bench, &[GroupState::Empty, GroupState::Stable], &[GroupType::Classic]),
        ["g", "simple"]
    );
    assert_eq!(list(&mut bench, &[], &[GroupType::Consumer]), Vec::<String>::new());
}

#[test]
fn states_and_types_are_found_by_name_in_any_case() {
    assert_eq!(GroupState::from_name("stable"), Some(GroupState::Stable));
    assert_eq!(GroupState::from_name("PREPARINGREBALANCE"), Some(GroupState::PreparingRebalance));
    assert_eq!(GroupState::from_name("bogus"), None);
    assert_eq!(GroupType::from_name("CLASSIC"), Some(GroupType::Classic));
    assert_eq!(GroupType::from_name("bogus"), None);
}
