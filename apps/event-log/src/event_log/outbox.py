"""What the HTTP part has taken: on disk before it is sent, so that no crash leaves an event in doubt.

An event is `accepted` when it is here, `acknowledged` when Kafka has it. What is accepted and not
acknowledged is sent again, with the same id, at the next start and after a failure. The ids stay: that
is how a client's retry is recognised, and how the events sent are counted once each.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from event_log.database import connect, transaction
from event_log.event import Event, decode

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    digest BLOB NOT NULL,
    accepted REAL NOT NULL,
    pending BLOB
);

CREATE INDEX IF NOT EXISTS events_pending ON events (accepted) WHERE pending IS NOT NULL;
"""


class IdInUse(Exception):
    """The id belongs to another event already."""

    def __init__(self, index: int, event_id: str) -> None:
        super().__init__(event_id)
        self.index = index
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class Taken:
    event: Event
    digest: bytes
    """Of what the client wrote, before defaults were filled in: its retry has the same."""


@dataclass(frozen=True, slots=True)
class Accepted:
    to_send: list[Event]
    """New ones, and those seen before of which Kafka's acknowledgement is missing."""
    duplicates: int
    """Those that Kafka has already, or that the request names twice."""


class Outbox:
    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = connect(path, _SCHEMA)

    def accept(self, taken: Sequence[Taken]) -> Accepted:
        """All or none. Raises IdInUse if one's id was used for something else."""
        to_send: dict[str, Event] = {}
        with self._lock, transaction(self._db):
            for index, one in enumerate(taken):
                event = one.event
                row = self._db.execute(
                    "SELECT digest, pending FROM events WHERE id = ?", (event.id,)
                ).fetchone()
                if row is None:
                    self._db.execute(
                        "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                        (event.id, event.source, one.digest, time.time(), event.encode()),
                    )
                    to_send[event.id] = event
                elif row[0] != one.digest:
                    raise IdInUse(index, event.id)
                elif row[1] is not None:
                    to_send[event.id] = decode(row[1])
        return Accepted(list(to_send.values()), len(taken) - len(to_send))

    def acknowledged(self, events: Iterable[Event]) -> None:
        with self._lock, transaction(self._db):
            self._db.executemany(
                "UPDATE events SET pending = NULL WHERE id = ?", [(event.id,) for event in events]
            )

    def pending(self, older_than: float, limit: int = 500) -> list[Event]:
        """Accepted at least `older_than` seconds ago and not acknowledged, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT pending FROM events WHERE pending IS NOT NULL AND accepted <= ?"
                " ORDER BY accepted LIMIT ?",
                (time.time() - older_than, limit),
            ).fetchall()
        return [decode(row[0]) for row in rows]

    def close(self) -> None:
        with self._lock:
            self._db.close()


def sent_counts(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT source, count(*) FROM events WHERE pending IS NULL GROUP BY source"))


def pending_count(db: sqlite3.Connection) -> int:
    count: int = db.execute("SELECT count(*) FROM events WHERE pending IS NOT NULL").fetchone()[0]
    return count
