from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from support import event

from event_log.event import ENCODED_BYTES_MAX, Event, InvalidEvent, decode, from_document

GOOD: dict[str, Any] = {
    "id": "a-1",
    "source": "app",
    "level": "info",
    "host": "here",
    "time": "2026-11-24T11:00:00.250+01:00",
    "message": "hello",
}


def test_an_event_comes_back_as_it_was_encoded() -> None:
    sent = Event(
        "i", "app", "warn", "h", datetime(2026, 1, 2, tzinfo=timezone.utc), "ünïcode ☃\n", {"a": [1]}
    )
    assert decode(sent.encode()) == sent


def test_the_record_has_the_source_as_key_and_says_in_its_headers_what_it_is() -> None:
    sent = event("a-1", source="dpkg", level="error")
    assert sent.key() == b"dpkg"
    assert dict(sent.headers()) == {
        "content-type": b"application/json",
        "event-id": b"a-1",
        "level": b"error",
        "host": b"here",
    }


def test_times_are_kept_in_utc() -> None:
    assert json.loads(from_document(GOOD).encode())["time"] == "2026-11-24T10:00:00.250Z"


def test_defaults_fill_only_what_is_missing() -> None:
    made = from_document({"source": "app", "message": "m", "level": "ERROR"}, **{**GOOD, "level": "info"})
    assert (made.level, made.id, made.host) == ("error", "a-1", "here")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("level", "eror", "is not one of trace"),
        ("level", 3, "a string is expected, not a number"),
        ("source", "", "does not match"),
        ("source", "a b", "does not match"),
        ("source", "x" * 65, "does not match"),
        ("id", "new\nline", "does not match"),
        ("host", None, "a string is expected, not null"),
        ("time", "2026-11-24T10:00:00", "has no offset"),
        ("time", "yesterday", "is not an RFC 3339 time"),
        ("time", "0001-01-01T00:00:00+14:00", "is not an RFC 3339 time"),
        ("message", "x" * 65537, "65537 characters; at most 65536"),
        ("message", ["a"], "a string is expected, not an array"),
        ("attributes", "x", "a JSON object is expected"),
        ("colour", "red", "unknown field"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong(field: str, value: object, problem: str) -> None:
    with pytest.raises(InvalidEvent, match=problem) as caught:
        from_document({**GOOD, field: value})
    assert caught.value.field_name == field


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_a_missing_field_is_named(missing: str) -> None:
    with pytest.raises(InvalidEvent, match=f"{missing}: missing"):
        from_document({name: value for name, value in GOOD.items() if name != missing})


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        json.dumps({**GOOD, "attributes": {"n": float("nan")}}).encode(),
        b"1" * 5000,
        json.dumps({**GOOD, "message": "\ud800"}).encode(),
        json.dumps({**GOOD, "attributes": {"text": "x" * ENCODED_BYTES_MAX}}).encode(),
        json.dumps({**GOOD, "attributes": {"deep": json.loads("[" * 40 + "]" * 40)}}).encode(),
    ],
)
def test_what_is_no_event_is_refused_and_never_crashes(value: bytes | None) -> None:
    with pytest.raises(InvalidEvent):
        decode(value)
