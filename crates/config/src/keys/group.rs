//! The keys of a group and of a client metrics subscription.

use crate::definition::{
    Definition, Effect,
    Kind::{self, *},
    Scope, Synonym, Validator, Why, same,
};

const fn key(name: &'static str, kind: Kind, default: &'static str, from: &'static [Synonym]) -> Definition {
    Definition::new(Scope::Group, name, kind, default)
        .from(from)
        .cluster_wide()
        .effect(Effect::None(Why::NewGroups))
}

const fn metrics(name: &'static str, kind: Kind, default: &'static str) -> Definition {
    Definition::new(Scope::ClientMetrics, name, kind, default).cluster_wide().effect(Effect::None(Why::Jvm))
}

#[rustfmt::skip]
pub(super) const GROUP: &[Definition] = &[
    key("consumer.assignment.interval.ms", Int, "1000", &[same("group.consumer.assignment.interval.ms")]).at_least(0)
        .doc("The shortest time between two assignments of a consumer group."),
    key("consumer.heartbeat.interval.ms", Int, "5000", &[same("group.consumer.heartbeat.interval.ms")]).at_least(1)
        .doc("How often members of a consumer group send heartbeats."),
    key("consumer.session.timeout.ms", Int, "45000", &[same("group.consumer.session.timeout.ms")]).at_least(1)
        .doc("After how long without a heartbeat a member of a consumer group is removed."),
    key("share.assignment.interval.ms", Int, "1000", &[same("group.share.assignment.interval.ms")]).at_least(0)
        .doc("The shortest time between two assignments of a share group."),
    key("share.auto.offset.reset", String, "latest", &[]).valid(Validator::ShareOffsetReset)
        .doc("Where a share group begins to read a partition that is new to it."),
    key("share.delivery.count.limit", Int, "5", &[same("group.share.delivery.count.limit")]).at_least(2)
        .doc("How often a record is delivered to a share group before it is given up."),
    key("share.heartbeat.interval.ms", Int, "5000", &[same("group.share.heartbeat.interval.ms")]).at_least(1)
        .doc("How often members of a share group send heartbeats."),
    key("share.isolation.level", String, "read_uncommitted", &[]).one_of(&["read_committed", "read_uncommitted"])
        .doc("Whether a share group sees records of transactions that are not committed."),
    key("share.partition.max.record.locks", Int, "2000", &[same("group.share.partition.max.record.locks")]).at_least(100)
        .doc("How many records of a partition may be with a share group's consumers at a time."),
    key("share.record.lock.duration.ms", Int, "30000", &[same("group.share.record.lock.duration.ms")]).at_least(1000)
        .doc("How long a consumer of a share group holds a record before others may have it."),
    key("share.renew.acknowledge.enable", Boolean, "true", &[])
        .doc("Whether a consumer of a share group may extend its hold on a record."),
    key("share.session.timeout.ms", Int, "45000", &[same("group.share.session.timeout.ms")]).at_least(1)
        .doc("After how long without a heartbeat a member of a share group is removed."),
    key("streams.assignment.interval.ms", Int, "1000", &[same("group.streams.assignment.interval.ms")]).at_least(0)
        .doc("The shortest time between two assignments of a streams group."),
    key("streams.heartbeat.interval.ms", Int, "5000", &[same("group.streams.heartbeat.interval.ms")]).at_least(1)
        .doc("How often members of a streams group send heartbeats."),
    key("streams.initial.rebalance.delay.ms", Int, "0", &[same("group.streams.initial.rebalance.delay.ms")]).kafka_default("3000").at_least(0)
        .doc("How long the first assignment of a streams group waits for further members."),
    key("streams.num.standby.replicas", Int, "0", &[same("group.streams.num.standby.replicas")]).at_least(0)
        .doc("How many standby copies of each task a streams group keeps."),
    key("streams.session.timeout.ms", Int, "45000", &[same("group.streams.session.timeout.ms")]).at_least(1)
        .doc("After how long without a heartbeat a member of a streams group is removed."),
];

#[rustfmt::skip]
pub(super) const CLIENT_METRICS: &[Definition] = &[
    metrics("interval.ms", Int, "300000").doc("How often clients push the metrics of this subscription."),
    metrics("match", List, "").doc("Which clients the subscription is for: `LABEL=PATTERN`, several divided by commas."),
    metrics("metrics", List, "").doc("The prefixes of the metrics' names; `*` is all."),
];
