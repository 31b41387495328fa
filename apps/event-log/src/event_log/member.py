"""A member of a consumer group: poll, hand to a sink, commit what the sink has made durable.

The order of the last two is the whole of at-least-once: a crash between them brings the same records
again, and every sink here knows them. A member with a number is a static one (KIP-345): killed and
started again it takes up its partitions at once, without a rebalance of the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.errors import CommitFailedError, RebalanceInProgressError, RetriableError
from kafka.structs import MemberState

from event_log.settings import Settings

SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_MS = 1_000
POLL_MS = 3_000
"""Longer than a rebalance takes (the others hear of it with a heartbeat): kafka-python 3.0.12 forgets a
join that ends between two polls. It then joins again, and as group leader may disturb all others by it,
or takes itself for joined and never sends a heartbeat again."""
READ_MAX = 2_000
OUTSIDE_SECONDS_MAX = 30
AWAY_SECONDS = 0.5

log = logging.getLogger(__name__)


class NotJoined(Exception):
    """The consumer does not get into its group; a new process does better than a stuck one."""


@dataclass(frozen=True, slots=True)
class Record:
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Sink(Protocol):
    def write(self, records: Sequence[Record]) -> None:
        """Durable when it returns; a record that was written before changes nothing."""

    def tick(self) -> None:
        """Called a few times a second, between writes."""


class Member:
    def __init__(
        self, settings: Settings, kind: str, number: int | None, sink: Sink, linger: float = 0.0
    ) -> None:
        """`linger`: seconds to let records gather between two reads, for a sink that likes larger writes.
        They gather in the client, not here: kafka-python keeps its position in a partition that stays
        with the member through a rebalance, so records held here and forgotten would be a gap."""
        self._sink = sink
        self._linger = linger
        name = f"{settings.topic}-{kind}-{number}" if number is not None else None
        self._consumer = KafkaConsumer(
            **settings.connection(f"event-log-{kind}" + (f"-{number}" if number is not None else "")),
            group_id=settings.group(kind),
            group_instance_id=name,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_poll_records=READ_MAX,
        )
        self._consumer.subscribe([settings.topic], listener=_Rebalance())
        # Known before the first join, or a leader assigns nothing at first and everybody joins again.
        self._consumer.partitions_for_topic(settings.topic)
        self._joined_at = time.monotonic()
        self._rewind = False

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                read = self._round()
                if 0 < read < READ_MAX and self._linger:
                    stop.wait(self._linger)
        finally:
            # A static member does not take leave: its partitions wait for it until its session ends.
            self._consumer.close(autocommit=False)

    def _round(self) -> int:
        polled = self._poll()
        records = [_record(p.partition, record) for p, batch in polled.items() for record in batch]
        if records:
            self._sink.write(records)
            self._commit()
        self._sink.tick()
        self._check_joined()
        return len(records)

    def _poll(self) -> dict[Any, list[Any]]:
        try:
            if self._rewind:
                self._seek_to_committed()
                self._rewind = False
            polled: dict[Any, list[Any]] = self._consumer.poll(timeout_ms=POLL_MS)
        except RetriableError as error:
            # The broker is away. A poll that fails may have read records and moved on.
            log.info("nothing read: %s", error)
            self._rewind = True
            time.sleep(AWAY_SECONDS)
            return {}
        return polled

    def _seek_to_committed(self) -> None:
        for partition in self._consumer.assignment():
            committed = self._consumer.committed(partition)
            if committed is None:
                self._consumer.seek_to_beginning(partition)
            else:
                self._consumer.seek(partition, committed)

    def _check_joined(self) -> None:
        now = time.monotonic()
        if self._consumer.group_metadata().state == MemberState.STABLE:
            self._joined_at = now
        elif now - self._joined_at > OUTSIDE_SECONDS_MAX:
            raise NotJoined(f"not a member of the group for {OUTSIDE_SECONDS_MAX} s; starting anew")

    def _commit(self) -> None:
        try:
            self._consumer.commit()
        except (CommitFailedError, RebalanceInProgressError) as error:
            log.info("not committed, these records will be read again: %s", error)
        except RetriableError as error:
            # The next commit covers them, or whoever is assigned the partition next reads them again.
            log.info("not committed: %s", error)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]
    def on_partitions_revoked(self, revoked: Sequence[Any]) -> None:
        """Nothing is held that would have to be written first."""

    def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:
        log.info("partitions %s", sorted(partition.partition for partition in assigned))


def _record(partition: int, record: Any) -> Record:
    return Record(
        partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers or ())
    )
