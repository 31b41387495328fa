"""SQLite as every part here uses it: durable on commit, several processes on one file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """Opens (and makes) a database. A committed transaction survives the power, not only the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    with transaction(connection):
        for statement in schema.split(";\n\n"):
            if statement.strip():
                connection.execute(statement)
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection | None:
    """For questions from another process; nothing if the part has not run yet."""
    if not path.exists():
        return None
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return connection
    connection.close()  # It is just being made; its tables come all at once.
    return None


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """IMMEDIATE, so that two writers queue for the lock instead of failing half-way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
