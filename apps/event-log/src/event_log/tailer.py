"""The tail: log files in, events out, position on disk only after the acknowledgement."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from event_log.event import Event, InvalidEvent, check
from event_log.follow import Chunk, Follower
from event_log.parse import parse
from event_log.positions import Positions
from event_log.sender import DeliveryFailed

POLL_SECONDS = 0.25
RETRY_SECONDS_MAX = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    source: str
    path: Path


class Sends(Protocol):
    def send(self, events: Sequence[Event]) -> None: ...


class Tailer:
    def __init__(
        self,
        watched: Sequence[Watched],
        positions: Positions,
        sender: Sends,
        host: str,
        *,
        from_end: bool = False,
        rotate_wait: float = 5.0,
    ) -> None:
        self._positions = positions
        self._sender = sender
        self._host = host
        self._times: dict[str, datetime] = {}
        self._followers = [
            (w.source, Follower(w.path, positions, from_end=from_end, rotate_wait=rotate_wait))
            for w in watched
        ]

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            if not self.round(stop):
                stop.wait(POLL_SECONDS)
        for _, follower in self._followers:
            follower.close()

    def round(self, stop: threading.Event) -> int:
        """Sends all that is new; how many events that were."""
        events = 0
        for source, follower in self._followers:
            for chunk in follower.poll():
                if not self._deliver(source, chunk, stop):
                    return events
                follower.acknowledge(chunk)
                events += len(chunk.lines)
        return events

    def _deliver(self, source: str, chunk: Chunk, stop: threading.Event) -> bool:
        """Tries until it is acknowledged or we are told to stop: a log file can wait, and keeps its lines."""
        events = [self._event(source, line.file_id, line.offset, line.content) for line in chunk.lines]
        pause = 0.5
        while events:
            try:
                self._sender.send(events)
                break
            except DeliveryFailed as error:
                log.warning("%d events of %s not delivered, trying again: %s", len(events), source, error)
                if stop.wait(pause):
                    return False
                pause = min(pause * 2, RETRY_SECONDS_MAX)
        counts = Counter(event.source for event in events)
        self._positions.advance([(chunk.file_id, chunk.end, chunk.evidence)], counts)
        return True

    def _event(self, source: str, file_id: str, offset: int, content: bytes) -> Event:
        # Bytes that are not UTF-8 stay readable as \xNN instead of being dropped.
        text = content.decode("utf-8", errors="backslashreplace")
        # A line that names no time goes with the one before it: a stack trace, a block of apt's.
        line = parse(text, self._times.get(file_id) or datetime.now(timezone.utc))
        self._times[file_id] = line.time
        event = Event(
            id=f"{file_id}-{offset}",
            source=source,
            level=line.level,
            host=self._host,
            time=line.time,
            message=line.message,
            attributes=line.attributes,
        )
        try:
            check(event)
        except InvalidEvent:
            # Whatever JSON a program logs, its line is kept: then as it stands.
            return replace(event, message=text, attributes={})
        return event
