"""Error-rate alerts: per source and minute of event time.

When a minute has at least `errors_min` errors and they are at least `rate` of its events, an alert is
raised, once for that minute, and written to the alert topic. Its figures go on being right as the minute
fills, however late an event comes. A record read again is known by its offset; an event that its sender
sent twice by its id, which is remembered for a day after it came.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from event_log.database import connect, transaction
from event_log.event import ERROR_LEVELS, InvalidEvent, decode, format_time
from event_log.member import Record
from event_log.sender import DeliveryFailed

REMEMBER_SECONDS = 24 * 3600
CLAIM_SECONDS = 10

_SCHEMA = """
CREATE TABLE IF NOT EXISTS progress (
    topic_id TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition)
);

CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, arrived REAL NOT NULL) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS seen_by_arrival ON seen (arrived);

CREATE TABLE IF NOT EXISTS minutes (
    source TEXT NOT NULL,
    minute TEXT NOT NULL,
    errors INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (source, minute)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS alerts (
    source TEXT NOT NULL,
    minute TEXT NOT NULL,
    errors INTEGER NOT NULL,
    events INTEGER NOT NULL,
    raised TEXT NOT NULL,
    announced INTEGER NOT NULL DEFAULT 0,
    claimed REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (source, minute)
);
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Threshold:
    rate: float = 0.2
    errors_min: int = 5

    def reached(self, errors: int, events: int) -> bool:
        return errors >= self.errors_min and errors >= self.rate * events


@dataclass(frozen=True, slots=True)
class Alert:
    source: str
    minute: str
    errors: int
    events: int
    raised: str

    def encode(self) -> bytes:
        document = {
            "source": self.source,
            "minute": self.minute,
            "errors": self.errors,
            "events": self.events,
            "rate": round(self.errors / self.events, 4),
            "raised": self.raised,
        }
        return json.dumps(document, separators=(",", ":")).encode()


class Announces(Protocol):
    def send_records(self, records: Sequence[tuple[bytes, bytes, list[tuple[str, bytes]]]]) -> None: ...


class Alerts:
    """A sink (see member.py). Several processes may count into one database."""

    def __init__(self, path: Path, topic_id: str, threshold: Threshold, announcer: Announces) -> None:
        """`topic_id`: offsets are one topic's; a topic made again under the name starts at 0 again."""
        self._db = connect(path, _SCHEMA)
        self._topic_id = topic_id
        self._threshold = threshold
        self._announcer = announcer
        self._raised = False
        self._look_at = 0.0
        """When to look for alerts that a crash or a failure left unannounced."""
        self._forget_at = 0.0

    def write(self, records: Sequence[Record]) -> None:
        touched: set[tuple[str, str]] = set()
        with transaction(self._db):
            for partition in {record.partition for record in records}:
                done = self._next_offset(partition)
                fresh = [r for r in records if r.partition == partition and r.offset >= done]
                for record in fresh:
                    self._count(record, touched)
                if fresh:
                    self._db.execute(
                        "INSERT INTO progress VALUES (?, ?, ?)"
                        " ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
                        (self._topic_id, partition, fresh[-1].offset + 1),
                    )
            for source, minute in touched:
                self._judge(source, minute)
        self.tick()

    def tick(self) -> None:
        """Announces what was raised: at least once, since a crash may come before it is noted."""
        self._forget()
        if self._raised or time.monotonic() >= self._look_at:
            self._raised = False
            self._look_at = time.monotonic() + CLAIM_SECONDS
            self._announce()

    def _announce(self) -> None:
        alerts = self._claim()
        headers = [("content-type", b"application/json")]
        try:
            if alerts:
                self._announcer.send_records([(a.source.encode(), a.encode(), headers) for a in alerts])
        except DeliveryFailed as error:
            log.warning("%d alerts not announced, trying again in a while: %s", len(alerts), error)
            return
        for alert in alerts:
            log.warning(
                "%s: %d of %d events are errors in %s", alert.source, alert.errors, alert.events, alert.minute
            )
        with transaction(self._db):
            self._db.executemany(
                "UPDATE alerts SET announced = 1 WHERE source = ? AND minute = ?",
                [(alert.source, alert.minute) for alert in alerts],
            )

    def _claim(self) -> list[Alert]:
        """What is ours to announce: another member's are left to it, unless it takes too long."""
        now = time.time()
        with transaction(self._db):
            waiting = self._db.execute(
                "UPDATE alerts SET claimed = ? WHERE announced = 0 AND claimed < ?"
                " RETURNING source, minute, errors, events, raised",
                (now, now - CLAIM_SECONDS),
            ).fetchall()
        return [Alert(*row) for row in waiting]

    def close(self) -> None:
        self._db.close()

    def _next_offset(self, partition: int) -> int:
        row = self._db.execute(
            "SELECT next_offset FROM progress WHERE topic_id = ? AND partition = ?",
            (self._topic_id, partition),
        ).fetchone()
        return int(row[0]) if row else 0

    def _count(self, record: Record, touched: set[tuple[str, str]]) -> None:
        try:
            event = decode(record.value)
        except InvalidEvent:
            return  # The index keeps it, with the reason.
        new = self._db.execute(
            "INSERT INTO seen VALUES (?, ?) ON CONFLICT DO NOTHING", (event.id, time.time())
        )
        if not new.rowcount:
            return
        self._db.execute(
            "INSERT INTO minutes VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE"
            " SET errors = errors + excluded.errors, events = events + 1",
            (event.source, event.minute, event.level in ERROR_LEVELS),
        )
        touched.add((event.source, event.minute))

    def _judge(self, source: str, minute: str) -> None:
        errors, events = self._db.execute(
            "SELECT errors, events FROM minutes WHERE source = ? AND minute = ?", (source, minute)
        ).fetchone()
        known = self._db.execute(
            "UPDATE alerts SET errors = ?, events = ? WHERE source = ? AND minute = ?",
            (errors, events, source, minute),
        )
        if not known.rowcount and self._threshold.reached(errors, events):
            self._db.execute(
                "INSERT INTO alerts (source, minute, errors, events, raised) VALUES (?, ?, ?, ?, ?)",
                (source, minute, errors, events, format_time(datetime.now(timezone.utc))),
            )
            self._raised = True

    def _forget(self) -> None:
        now = time.time()
        if now < self._forget_at:
            return
        with transaction(self._db):
            self._db.execute("DELETE FROM seen WHERE arrived < ?", (now - REMEMBER_SECONDS,))
        self._forget_at = now + 600


def counts(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT source, sum(events) FROM minutes GROUP BY source"))


def raised(db: sqlite3.Connection, limit: int) -> list[Alert]:
    """The newest first."""
    rows = db.execute(
        "SELECT source, minute, errors, events, raised FROM alerts ORDER BY minute DESC, source LIMIT ?",
        (limit,),
    )
    return [Alert(*row) for row in rows]
