"""The consumer groups as the cluster sees them: members, their partitions, how far behind they are."""

from __future__ import annotations

from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from event_log.settings import Settings

KINDS = ("index", "alerts", "archive")


@dataclass(frozen=True, slots=True)
class MemberState:
    name: str
    partitions: list[int]


@dataclass(frozen=True, slots=True)
class GroupState:
    group: str
    state: str
    members: list[MemberState]
    lag: int


def describe(settings: Settings) -> list[GroupState]:
    names = [settings.group(kind) for kind in KINDS]
    admin = KafkaAdminClient(**settings.connection("event-log-status"))
    try:
        described = admin.describe_groups(names)
        committed = admin.list_group_offsets(names)
    finally:
        admin.close()
    consumer = KafkaConsumer(**settings.connection("event-log-status"), enable_auto_commit=False)
    try:
        numbers = consumer.partitions_for_topic(settings.topic) or set()
        ends = consumer.end_offsets([TopicPartition(settings.topic, number) for number in numbers])
    finally:
        consumer.close(autocommit=False)
    states = []
    for name in names:
        done = {p: o.offset for p, o in committed.get(name, {}).items()}
        lag = sum(max(0, end - max(0, done.get(partition, 0))) for partition, end in ends.items())
        members = [
            MemberState(
                member["group_instance_id"] or member["member_id"],
                sorted(
                    number
                    for assigned in member["member_assignment"]["assigned_partitions"]
                    for number in assigned["partitions"]
                ),
            )
            for member in described[name]["members"]
            if member["member_assignment"]
        ]
        states.append(
            GroupState(name, described[name]["group_state"], sorted(members, key=lambda m: m.name), lag)
        )
    return states
