"""What several tests need: records by hand, a sender that keeps what it is given, the application's parts."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from event_log import positions
from event_log.database import connect_read_only
from event_log.event import Event
from event_log.groups import KINDS
from event_log.member import Record
from event_log.sender import DeliveryFailed
from event_log.settings import Settings

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=timezone.utc)
MACHINE_LOGS = ("/var/log/dpkg.log", "/var/log/apt/history.log", "/var/log/apt/term.log")


def event(
    id: str, source: str = "app", level: str = "info", message: str = "hello", time: datetime = NOW
) -> Event:
    return Event(id=id, source=source, level=level, host="here", time=time, message=message)


def record(offset: int, value: Event | bytes | None, partition: int = 0) -> Record:
    encoded = value.encode() if isinstance(value, Event) else value
    return Record(partition, offset, 1_790_000_000_000, b"app", encoded, (("level", b"info"),))


class KeepingSender:
    """Keeps what it is given, or fails on demand after taking it: an acknowledgement that is lost."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failures = 0

    def send(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        if self.failures:
            self.failures -= 1
            raise DeliveryFailed("no answer")

    @property
    def messages(self) -> list[str]:
        return [event.message for event in self.events]

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events]


def until(what: str, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Waits for a condition by asking; says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@dataclass
class Application:
    """The parts of one event log as processes, each started and killed by itself."""

    settings: Settings
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    address: str = ""

    def start(self, name: str, *arguments: str) -> None:
        """`name` may carry a number: `index 2` is the second member of the index's group."""
        command, _, number = name.partition(" ")
        member = [f"--member={number}"] if number else []
        log = (self.settings.state.parent / f"{name.replace(' ', '-')}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "event_log", command, *self.settings.flags(), *member, *arguments],
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent / "src")},
        )
        log.close()

    def start_http(self) -> None:
        """On a free port at first, on the same one after a kill."""
        self.start("http", f"--listen={self.address or '127.0.0.1:0'}")
        log = self.settings.state.parent / "http.log"
        starts = log.read_text().count("events are taken at") if log.exists() else 0
        marker = "events are taken at http://"

        def announced() -> str:
            assert self.processes["http"].poll() is None, f"http ended; see {log}"
            text = log.read_text()
            return text.rpartition(marker)[2].partition("/events")[0] if text.count(marker) > starts else ""

        self.address = until("http to listen", announced)

    def start_members(self, kind: str, count: int = 3) -> None:
        for number in range(1, count + 1):
            self.start(f"{kind} {number}")

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        assert process.wait(30) == 0, f"{name} ended with {process.returncode}"

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()

    def post(self, document: Any) -> tuple[int, dict[str, Any]]:
        return post(f"http://{self.address}/events", json.dumps(document).encode())

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that answers and ends, as `search` or `verify`."""
        command, *rest = arguments
        return subprocess.run(
            [sys.executable, "-m", "event_log", command, *self.settings.flags(), *rest],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent / "src")},
        )


def post(url: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, data=body, headers=headers or {}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@contextmanager
def running(settings: Settings) -> Iterator[Application]:
    application = Application(settings)
    try:
        yield application
    finally:
        application.close()


class Writer(threading.Thread):
    """Writes a log for some seconds, rotating it as it goes in both ways."""

    def __init__(self, path: Path, seconds: float, rotate: bool = False) -> None:
        super().__init__()
        self.path = path
        self.seconds = seconds
        self.rotate = rotate
        self.written = 0

    def run(self) -> None:
        end = time.monotonic() + self.seconds
        rotations = 0
        while time.monotonic() < end:
            with self.path.open("a") as file:
                for _ in range(10):
                    level = "ERROR" if self.written % 7 == 0 else "INFO"
                    file.write(f"2026-11-24T10:05:35Z {level} line number {self.written}\n")
                    self.written += 1
            if self.rotate and self.written % 500 == 0:
                rotations += 1
                rotated = self.path.with_name(f"{self.path.name}.{time.time_ns()}")
                if rotations % 2:
                    self.path.rename(rotated)
                else:
                    shutil.copyfile(self.path, rotated)
                    os.truncate(self.path, 0)
            time.sleep(0.01)


def lines_of(log: Path) -> int:
    return sum(1 for line in log.read_bytes().split(b"\n") if line.strip())


def verified(application: Application, wait: int = 60) -> dict[str, dict[str, int]]:
    """`event-log verify` succeeds; its figures by source."""
    answer = application.ask("verify", f"--wait={wait}", "--json")
    found: dict[str, Any] = json.loads(answer.stdout)
    assert answer.returncode == 0, json.dumps(found, indent=1)
    sources: dict[str, dict[str, int]] = found["sources"]
    return sources


def until_sent(application: Application, expected: dict[str, int]) -> None:
    """The tail has come to the end of what was written."""

    def sent() -> dict[str, int]:
        db = connect_read_only(application.settings.tail_db)
        return positions.sent_counts(db) if db and known(application) else {}

    until(f"the tail to have sent {expected}", lambda: expected.items() <= sent().items())


def written_by(*writers: Writer) -> dict[str, int]:
    return {writer.path.stem: writer.written for writer in writers}


def known(application: Application) -> bool:
    """Whether the tail has seen a file: from then on it owes every line."""
    db = connect_read_only(application.settings.tail_db)
    try:
        return bool(db and db.execute("SELECT 1 FROM files").fetchone())
    except sqlite3.OperationalError:
        return False


def start_consumers(application: Application, members: int = 1, but: str = "") -> None:
    for kind in KINDS:
        if kind != but:
            application.start_members(kind, members)
