"""How far each file has been sent, durably, and what may not be forgotten with it.

A file's name and inode are no identity: both are used again. So each file gets a random `file_id` that
is on disk *before* its first event leaves, and an event's id is `file_id` and the line's offset. After
a crash the same lines get the same ids, wherever the sender had got to; position and count move in one
transaction, so a line sent twice is counted once.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from event_log.database import connect, transaction

CHECK_BYTES = 256

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    file_id TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    position INTEGER NOT NULL,
    evidence BLOB NOT NULL,
    since REAL NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX IF NOT EXISTS files_by_path ON files (path, done);

CREATE TABLE IF NOT EXISTS rotated (
    path TEXT NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    PRIMARY KEY (path, device, inode, size, modified)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS sent (source TEXT PRIMARY KEY, events INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS gaps (
    path TEXT NOT NULL,
    position INTEGER NOT NULL,
    noticed REAL NOT NULL,
    reason TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Position:
    file_id: str
    device: int
    inode: int
    offset: int
    """Where the next unsent line begins."""
    evidence: bytes
    """Up to CHECK_BYTES of content: the last before `offset`, or the first of a file of which nothing was
    read. The file is still the same one if it has them; they also find it again under another name,
    copied or compressed."""
    since: float
    """When the file was first seen, in seconds of the epoch."""

    @property
    def evidence_start(self) -> int:
        return max(0, self.offset - len(self.evidence))


class Version(NamedTuple):
    """A file as it was when it was looked at: written to, it is another one."""

    device: int
    inode: int
    size: int
    modified: int


class Positions:
    def __init__(self, path: Path) -> None:
        self._db = connect(path, _SCHEMA)

    def close(self) -> None:
        self._db.close()

    def unfinished(self, path: Path) -> list[Position]:
        """The files once or still called `path` that have not been sent to their end, oldest first."""
        rows = self._db.execute(
            "SELECT file_id, device, inode, position, evidence, since FROM files"
            " WHERE path = ? AND done = 0 ORDER BY rowid",
            (str(path),),
        )
        return [Position(*row) for row in rows]

    def finished(self, path: Path, limit: int = 50) -> list[Position]:
        """The last ones that were sent to their end."""
        rows = self._db.execute(
            "SELECT file_id, device, inode, position, evidence, since FROM files"
            " WHERE path = ? AND done = 1 ORDER BY rowid DESC LIMIT ?",
            (str(path), limit),
        )
        return [Position(*row) for row in rows]

    def is_new(self, path: Path) -> bool:
        """Whether nothing was ever read under this name."""
        return self._db.execute("SELECT 1 FROM files WHERE path = ?", (str(path),)).fetchone() is None

    def register(self, path: Path, device: int, inode: int, offset: int, evidence: bytes) -> Position:
        """A new file: after this its lines have ids that a crash does not change."""
        position = Position(secrets.token_hex(8), device, inode, offset, evidence, time.time())
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO files (file_id, path, device, inode, position, evidence, since)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (position.file_id, str(path), device, inode, offset, evidence, position.since),
            )
        return position

    def adopt(self, file_id: str, device: int, inode: int) -> None:
        """The file goes on under this inode: a copy, or its compressed self."""
        with transaction(self._db):
            self._db.execute(
                "UPDATE files SET device = ?, inode = ? WHERE file_id = ?", (device, inode, file_id)
            )

    def advance(self, moves: Iterable[tuple[str, int, bytes]], sent: Mapping[str, int]) -> None:
        """All of these lines are acknowledged: (file_id, offset, evidence) and how many of each source."""
        with transaction(self._db):
            self._db.executemany(
                "UPDATE files SET position = ?2, evidence = ?3 WHERE file_id = ?1",
                list(moves),
            )
            self._db.executemany(
                "INSERT INTO sent VALUES (?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events",
                list(sent.items()),
            )

    def finish(self, file_id: str) -> None:
        """Nothing more comes from this file."""
        with transaction(self._db):
            self._db.execute("UPDATE files SET done = 1 WHERE file_id = ?", (file_id,))
            # An empty file has no content to be known by.
            self._db.execute("DELETE FROM files WHERE file_id = ? AND evidence = x''", (file_id,))

    def reopen(self, file_id: str) -> None:
        """Something more came after all."""
        with transaction(self._db):
            self._db.execute("UPDATE files SET done = 0 WHERE file_id = ?", (file_id,))

    def settled(self, path: Path) -> set[Version]:
        """The rotated files, as they were, of which nothing is to be read."""
        rows = self._db.execute(
            "SELECT device, inode, size, modified FROM rotated WHERE path = ?", (str(path),)
        )
        return {Version(*row) for row in rows}

    def settle(self, path: Path, versions: Iterable[Version]) -> None:
        """These and no others."""
        with transaction(self._db):
            self._db.execute("DELETE FROM rotated WHERE path = ?", (str(path),))
            self._db.executemany(
                "INSERT INTO rotated VALUES (?, ?, ?, ?, ?)",
                [(str(path), v.device, v.inode, v.size, v.modified) for v in versions],
            )

    def gap(self, path: Path, offset: int, reason: str) -> None:
        """Lines that may be lost: said here, and shown by `event-log verify`."""
        with transaction(self._db):
            self._db.execute("INSERT INTO gaps VALUES (?, ?, ?, ?)", (str(path), offset, time.time(), reason))

    def forget_gaps(self) -> None:
        """They are known now, and no reason to complain any more."""
        with transaction(self._db):
            self._db.execute("DELETE FROM gaps")


def sent_counts(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT source, events FROM sent"))


def gaps(db: sqlite3.Connection) -> list[tuple[str, int, float, str]]:
    return db.execute("SELECT path, position, noticed, reason FROM gaps ORDER BY rowid").fetchall()
