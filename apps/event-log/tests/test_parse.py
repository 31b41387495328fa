from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from support import NOW

from event_log.parse import parse


@pytest.fixture(autouse=True)
def in_berlin() -> Iterator[None]:
    """Lines without an offset are in the machine's own zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def utc(*fields: int) -> datetime:
    year, month, day, hour, minute, second, micros = (*fields, *[0] * (7 - len(fields)))
    return datetime(year, month, day, hour, minute, second, micros, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "level", "when"),
    [
        ("2026-11-24 10:05:35 status installed libc-bin:amd64 2.36-9", "info", utc(2026, 11, 24, 9, 5, 35)),
        (
            "2026-11-24 10:05:35 install libgpg-error-dev:amd64 <none> 1.46",
            "info",
            utc(2026, 11, 24, 9, 5, 35),
        ),
        ("Start-Date: 2026-07-24  10:05:29", "info", utc(2026, 7, 24, 8, 5, 29)),
        ("Log started: 2026-11-24  10:05:29", "info", utc(2026, 11, 24, 9, 5, 29)),
        ("E: Unable to locate package x", "error", NOW),
        ("W: GPG error", "warn", NOW),
        ("dpkg: error processing package x (--configure):", "error", NOW),
        ("Unpacking liberror-perl (0.17) over /var/log/error.log", "info", NOW),
        ("2026-11-24T10:05:35.123456789Z WARN slow", "warn", utc(2026, 11, 24, 10, 5, 35, 123456)),
        ("2026-11-24 10:05:35,250 ERROR boom", "error", utc(2026, 11, 24, 9, 5, 35, 250000)),
        ("[2026-11-24T10:05:35+0530] FATAL out of memory", "fatal", utc(2026, 11, 24, 4, 35, 35)),
        ("2026-11-24 10:05:35.001 UTC [77] LOG:  checkpoint", "info", utc(2026, 11, 24, 10, 5, 35, 1000)),
        ("Nov  3 01:02:03 host sshd[1]: warning: x", "warn", utc(2026, 11, 3, 0, 2, 3)),
        ("Dec 31 23:00:00 host cron: x", "info", utc(2025, 12, 31, 22, 0, 0)),
        ("2026-13-45 10:05:35 no such day", "info", NOW),
        ("0001-01-01T00:00:00+14:00 before time", "info", NOW),
        ("nothing at all", "info", NOW),
    ],
)
def test_level_and_time_are_found_in_plain_lines(text: str, level: str, when: datetime) -> None:
    line = parse(text, NOW)
    assert (line.level, line.time, line.message) == (level, when, text)


def test_tracings_json_log_is_taken_apart() -> None:
    text = (
        '{"timestamp":"2026-11-24T10:05:35.5Z","level":"WARN","fields":{"message":"listener closed",'
        '"port":9092},"target":"millstream_broker::listener"}'
    )
    line = parse(text, NOW)
    assert (line.level, line.message, line.time) == (
        "warn",
        "listener closed",
        utc(2026, 11, 24, 10, 5, 35, 500000),
    )
    assert line.attributes == {"port": 9092, "target": "millstream_broker::listener"}


def test_millstreams_own_json_log_is_taken_apart() -> None:
    text = (
        '{"timestamp":"2026-11-24T12:06:11.089346Z","level":"INFO","message":"metadata log taken over",'
        '"epoch":1,"end":"6","target":"millstream_broker::metadata_log"}'
    )
    line = parse(text, NOW)
    assert (line.level, line.message, line.time) == (
        "info",
        "metadata log taken over",
        utc(2026, 11, 24, 12, 6, 11, 89346),
    )
    assert line.attributes == {"epoch": 1, "end": "6", "target": "millstream_broker::metadata_log"}


def test_other_json_logs_are_taken_apart() -> None:
    line = parse('{"ts": 1790000000.5, "lvl": "crit", "msg": "m", "user": "u"}', NOW)
    assert (line.level, line.message, line.attributes) == ("fatal", "m", {"user": "u"})
    assert line.time == datetime.fromtimestamp(1790000000.5, timezone.utc)
    assert parse('{"time": 1790000000500}', NOW).time == line.time
    assert parse('{"time": 1e300, "fields": 7}', NOW).time == NOW


@pytest.mark.parametrize("text", ["{", '{"a": NaN}', "{" * 5000, '{"a":' * 3000, "[1]", '{"level": {}}'])
def test_json_that_is_none_or_odd_stays_a_message(text: str) -> None:
    assert parse(text, NOW).message == text
