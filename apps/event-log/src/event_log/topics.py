"""The topics, created if they are not there."""

from __future__ import annotations

from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import TopicAlreadyExistsError

from event_log.settings import Settings


def ensure(settings: Settings) -> str:
    """The id of the topic of events: partitions and offsets mean something within it only."""
    admin = KafkaAdminClient(**settings.connection("event-log"))
    try:
        for name, partitions in ((settings.topic, settings.partitions), (settings.alert_topic, 1)):
            # -1: as many copies as the cluster has by default.
            wanted: dict[str, Any] = {name: {"num_partitions": partitions, "replication_factor": -1}}
            try:
                admin.create_topics(wanted, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                continue
        return str(admin.describe_topics([settings.topic])[0]["topic_id"])
    finally:
        admin.close()
