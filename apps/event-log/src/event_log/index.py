"""The index: every event in SQLite with full-text search.

An event is inserted once by its id; the same event again, from a sender's retry or a record read twice,
changes nothing. A record that is no event is kept in `rejected`, under its partition and offset.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from event_log.database import connect, transaction
from event_log.event import InvalidEvent, decode, format_time
from event_log.member import Record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    level TEXT NOT NULL,
    host TEXT NOT NULL,
    time TEXT NOT NULL,
    message TEXT NOT NULL,
    document BLOB NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS events_by_time ON events (time);

CREATE INDEX IF NOT EXISTS events_by_source ON events (source, time);

CREATE TABLE IF NOT EXISTS rejected (
    topic_id TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    reason TEXT NOT NULL,
    value BLOB,
    PRIMARY KEY (topic_id, partition, offset)
);

CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5 (message, content = 'events', content_rowid = 'seq');

CREATE TRIGGER IF NOT EXISTS events_to_search AFTER INSERT ON events BEGIN
    INSERT INTO search (rowid, message) VALUES (new.seq, new.message);
END;
"""


class Index:
    """A sink (see member.py). Several processes may write to one index."""

    def __init__(self, path: Path, topic_id: str) -> None:
        self._db = connect(path, _SCHEMA)
        self._topic_id = topic_id

    def write(self, records: Sequence[Record]) -> None:
        with transaction(self._db):
            for record in records:
                self._insert(record)

    def tick(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self._db.close()

    def _insert(self, record: Record) -> None:
        try:
            event = decode(record.value)
        except InvalidEvent as error:
            self._db.execute(
                "INSERT INTO rejected VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (self._topic_id, record.partition, record.offset, str(error), record.value),
            )
            return
        self._db.execute(
            "INSERT INTO events (id, source, level, host, time, message, document, partition, offset)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (
                event.id,
                event.source,
                event.level,
                event.host,
                format_time(event.time),
                event.message,
                record.value,
                record.partition,
                record.offset,
            ),
        )


class BadQuery(ValueError):
    """FTS5 does not understand the query."""


@dataclass(frozen=True, slots=True)
class Query:
    words: str = ""
    raw: bool = False
    """`words` is in FTS5's own language (AND, OR, NOT, NEAR, prefix*)."""
    source: str | None = None
    level: str | None = None
    host: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Hit:
    time: str
    source: str
    level: str
    host: str
    message: str
    document: bytes


def search(db: sqlite3.Connection, query: Query) -> list[Hit]:
    """The newest events that match everything asked for."""
    tables, where, values = "events", [], list[object]()
    if query.words.strip():
        tables = "search JOIN events ON events.seq = search.rowid"
        where.append("search MATCH ?")
        values.append(query.words if query.raw else _quoted(query.words))
    for column, value in (("source", query.source), ("level", query.level), ("host", query.host)):
        if value is not None:
            where.append(f"events.{column} = ?")
            values.append(value)
    if query.since is not None:
        where.append("events.time >= ?")
        values.append(query.since)
    if query.until is not None:
        where.append("events.time < ?")
        values.append(query.until)
    sql = (
        "SELECT events.time, source, level, host, events.message, document FROM "
        + tables
        + (" WHERE " + " AND ".join(where) if where else "")
        + " ORDER BY events.time DESC, events.seq DESC LIMIT ?"
    )
    try:
        rows = db.execute(sql, (*values, query.limit)).fetchall()
    except sqlite3.OperationalError as error:
        raise BadQuery(f"{query.words!r} is not a query for FTS5: {error}") from None
    return [Hit(*row) for row in rows]


def counts(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT source, count(*) FROM events GROUP BY source"))


def rejected_count(db: sqlite3.Connection) -> int:
    count: int = db.execute("SELECT count(*) FROM rejected").fetchone()[0]
    return count


def _quoted(words: str) -> str:
    """All of the words, each as it stands: `libc-bin:amd64` is no query language to who looks for it."""
    return " ".join('"' + word.replace('"', '""') + '"' for word in words.split())
