"""The event: what it is made of, how it looks as a Kafka record, and what is refused.

The record's key is the source, so one source's events stay in order. The record's timestamp is the
time of sending, not the event's own: a topic's retention counts from the record's timestamp, and a
log line of last year would be deleted the moment it was written.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NoReturn

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
ERROR_LEVELS = frozenset({"error", "fatal"})
MESSAGE_CHARS_MAX = 64 * 1024
ENCODED_BYTES_MAX = 512 * 1024
"""Half of what Kafka takes as one record by default; a message of control characters, which JSON
writes with six bytes each, still fits."""
NESTING_MAX = 32

_SOURCE = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}\Z")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,255}\Z")
_FIELDS = frozenset({"id", "source", "level", "host", "time", "message", "attributes"})


class InvalidEvent(ValueError):
    """What is wrong, with the field it is wrong in."""

    def __init__(self, field_name: str, problem: str) -> None:
        super().__init__(f"{field_name}: {problem}" if field_name else problem)
        self.field_name = field_name
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    source: str
    level: str
    host: str
    time: datetime
    message: str
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def minute(self) -> str:
        """The minute it happened in, as `2026-11-24T10:05Z`."""
        return self.time.strftime("%Y-%m-%dT%H:%MZ")

    def key(self) -> bytes:
        return self.source.encode()

    def headers(self) -> list[tuple[str, bytes]]:
        """What a consumer may want to know without decoding the value."""
        return [
            ("content-type", b"application/json"),
            ("event-id", self.id.encode()),
            ("level", self.level.encode()),
            ("host", self.host.encode()),
        ]

    def encode(self) -> bytes:
        document: dict[str, Any] = {
            "id": self.id,
            "source": self.source,
            "level": self.level,
            "host": self.host,
            "time": format_time(self.time),
            "message": self.message,
        }
        if self.attributes:
            document["attributes"] = self.attributes
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decode(value: bytes | None) -> Event:
    """The event in a record's value."""
    if value is None:
        raise InvalidEvent("", "no value (a tombstone)")
    return from_document(parse_json(value))


def from_document(document: object, **defaults: str) -> Event:
    """An event from outside: every field checked. `defaults` fill what the sender may leave out."""
    if not isinstance(document, dict):
        raise InvalidEvent("", f"an event is a JSON object, not {_kind(document)}")
    unknown = sorted(str(name) for name in document.keys() - _FIELDS)
    if unknown:
        raise InvalidEvent(unknown[0][:64], f"unknown field; an event has {', '.join(sorted(_FIELDS))}")
    fields = defaults | document
    level = _text(fields, "level").lower()
    if level not in LEVELS:
        raise InvalidEvent("level", f"{level[:32]!r} is not one of {', '.join(LEVELS)}")
    message = _text(fields, "message")
    if len(message) > MESSAGE_CHARS_MAX:
        raise InvalidEvent("message", f"{len(message)} characters; at most {MESSAGE_CHARS_MAX}")
    attributes: object = fields.get("attributes", {})
    if not isinstance(attributes, dict):
        raise InvalidEvent("attributes", f"a JSON object is expected, not {_kind(attributes)}")
    event = Event(
        id=_matching(fields, "id", _ID),
        source=_matching(fields, "source", _SOURCE),
        level=level,
        host=_matching(fields, "host", _HOST),
        time=parse_time(_text(fields, "time")),
        message=message,
        attributes=attributes,
    )
    check(event)
    return event


def check(event: Event) -> None:
    """That the event fits into a record and comes out of it again."""
    if depth(event.attributes) > NESTING_MAX:
        raise InvalidEvent("attributes", f"nested deeper than {NESTING_MAX}")
    try:
        length = len(event.encode())
    except UnicodeEncodeError:
        raise InvalidEvent("", "a lone surrogate (\\ud800-\\udfff) is not text") from None
    if length > ENCODED_BYTES_MAX:
        raise InvalidEvent("", f"the event takes {length} bytes as JSON; at most {ENCODED_BYTES_MAX}")


def parse_json(text: bytes) -> object:
    """Strict JSON in UTF-8: no NaN, no unbounded nesting."""
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidEvent("", f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise InvalidEvent("", f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise InvalidEvent("", "JSON nested too deeply") from None
    except ValueError as error:
        raise InvalidEvent("", f"not JSON: {error}") from None


def depth(value: object) -> int:
    """How deep objects and arrays lie in each other: bounded, since writers and readers of JSON recurse."""
    reached, level = 0, [value]
    while level:
        reached += 1
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
    return reached


def format_time(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """RFC 3339, with its offset: a time without one would mean something else on every host."""
    try:
        time = datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", text))
        if time.tzinfo is None:
            raise InvalidEvent("time", f"{text[:40]!r} has no offset; write 2026-11-24T10:05:00Z or +01:00")
        return time.astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InvalidEvent):
            raise
        raise InvalidEvent(
            "time", f"{text[:40]!r} is not an RFC 3339 time, as 2026-11-24T10:05:00Z"
        ) from None


def _text(fields: dict[str, Any], name: str) -> str:
    if name not in fields:
        raise InvalidEvent(name, "missing")
    value = fields[name]
    if not isinstance(value, str):
        raise InvalidEvent(name, f"a string is expected, not {_kind(value)}")
    return value


def _matching(fields: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = _text(fields, name)
    if not pattern.match(value):
        raise InvalidEvent(
            name, f"{value[:64]!r} does not match {pattern.pattern.removesuffix(chr(92) + 'Z')}"
        )
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "an object")
