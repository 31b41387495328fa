"""Every event accounted for: how many of each source were sent, and how many each consumer has.

`sent` is what the senders know to be acknowledged, each event once however often it was sent. The topic
may hold more records than events (that is at-least-once); by ids it must hold exactly those.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kafka import KafkaConsumer, TopicPartition

from event_log import alerts, archive, index, outbox, positions
from event_log.database import connect_read_only
from event_log.event import InvalidEvent, decode
from event_log.settings import Settings

T = TypeVar("T")
_NONE: dict[str, int] = {}

COLUMNS = ("sent", "topic", "index", "alerts", "archive")


@dataclass(frozen=True, slots=True)
class Account:
    by_source: dict[str, dict[str, int]]
    """Column → source → events."""
    records: int
    """In the topic, copies included."""
    truncated: bool
    """The topic no longer begins at offset 0: its retention has deleted records, so it is not compared."""
    pending: int
    """Taken over HTTP and not yet acknowledged by Kafka."""
    rejected: int
    """Records that are no events; the index keeps them with the reason."""
    gaps: list[tuple[str, int, float, str]]
    """Where log lines may have been lost before they were read."""

    @property
    def sources(self) -> list[str]:
        return sorted({source for column in self.by_source.values() for source in column})

    def differing(self) -> list[str]:
        """The sources for which not all columns agree."""
        compared = [c for c in COLUMNS if not (c == "topic" and self.truncated)]
        return [s for s in self.sources if len({self.by_source[c].get(s, 0) for c in compared}) > 1]

    @property
    def complete(self) -> bool:
        return not self.differing() and not self.pending and not self.gaps


def take(settings: Settings) -> Account:
    topic = _Topic.read(settings)
    sent = Counter(_ask(settings.tail_db, positions.sent_counts, _NONE))
    sent.update(_ask(settings.http_db, outbox.sent_counts, _NONE))
    return Account(
        by_source={
            "sent": dict(sent),
            "topic": topic.counts,
            "index": _ask(settings.index_db, index.counts, _NONE),
            "alerts": _ask(settings.alerts_db, alerts.counts, _NONE),
            "archive": _archived(settings.archive),
        },
        records=topic.records,
        truncated=topic.truncated,
        pending=_ask(settings.http_db, outbox.pending_count, 0),
        rejected=_ask(settings.index_db, index.rejected_count, 0),
        gaps=_ask(settings.tail_db, positions.gaps, []),
    )


def wait_until_complete(settings: Settings, seconds: float) -> Account:
    """The account once nothing is under way any more, or what it is when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        account = take(settings)
        if account.complete or time.monotonic() >= deadline:
            return account
        time.sleep(0.5)


def table(account: Account) -> str:
    rows: list[tuple[str, ...]] = [("source", *COLUMNS)]
    for source in account.sources:
        rows.append((source, *(str(account.by_source[c].get(source, 0)) for c in COLUMNS)))
    rows.append(("total", *(str(sum(account.by_source[c].values())) for c in COLUMNS)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    events = sum(account.by_source["topic"].values())
    lines.append("")
    lines.append(
        f"{account.records} records in the topic, {account.records - events} of them sent again or no events"
    )
    if account.truncated:
        lines.append("the topic's retention has deleted records; its column is not compared")
    if account.pending:
        lines.append(f"{account.pending} events taken over HTTP wait for Kafka")
    if account.rejected:
        lines.append(f"{account.rejected} records are no events: SELECT * FROM rejected, in the index")
    for path, offset, _, reason in account.gaps:
        lines.append(f"{path}, from byte {offset}: {reason}")
    return "\n".join(lines)


def as_document(account: Account) -> dict[str, Any]:
    return {
        "sources": {s: {c: account.by_source[c].get(s, 0) for c in COLUMNS} for s in account.sources},
        "records": account.records,
        "pending": account.pending,
        "rejected": account.rejected,
        "gaps": [{"path": p, "offset": o, "reason": r} for p, o, _, r in account.gaps],
        "differing": account.differing(),
        "complete": account.complete,
    }


@dataclass(frozen=True, slots=True)
class _Topic:
    counts: dict[str, int]
    records: int
    truncated: bool

    @staticmethod
    def read(settings: Settings) -> _Topic:
        """The topic from its beginning to where it ends now, without a group."""
        consumer = KafkaConsumer(**settings.connection("event-log-verify"), enable_auto_commit=False)
        try:
            numbers = consumer.partitions_for_topic(settings.topic) or set()
            partitions = [TopicPartition(settings.topic, number) for number in sorted(numbers)]
            if not partitions:
                return _Topic({}, 0, False)
            consumer.assign(partitions)
            starts = consumer.beginning_offsets(partitions)
            ends = consumer.end_offsets(partitions)
            consumer.seek_to_beginning(*partitions)
            ids: dict[str, str] = {}
            records = 0
            while any(consumer.position(p) < ends[p] for p in partitions):
                for batch in consumer.poll(timeout_ms=500, max_records=5_000).values():
                    records += len(batch)
                    for record in batch:
                        _note(record.value, ids)
        finally:
            consumer.close(autocommit=False)
        return _Topic(dict(Counter(ids.values())), records, any(starts[p] > 0 for p in partitions))


def _note(value: bytes | None, ids: dict[str, str]) -> None:
    try:
        event = decode(value)
    except InvalidEvent:
        return
    ids.setdefault(event.id, event.source)


def _archived(directory: Path) -> dict[str, int]:
    ids: dict[str, str] = {}
    for archived in archive.read(directory):
        document = archived.value
        if isinstance(document, Mapping) and {"id", "source", "message"} <= document.keys():
            ids.setdefault(str(document["id"]), str(document["source"]))
    return dict(Counter(ids.values()))


def _ask(path: Path, question: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
    db = connect_read_only(path)
    if db is None:
        return otherwise
    try:
        return question(db)
    finally:
        db.close()
