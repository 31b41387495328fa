"""What a line of a log file says about itself: level, time, message.

A line is never refused: what is not understood becomes the message of an `info` event at the time it
was read. Known are JSON logs (tracing, Millstream's own, Bunyan, ECS), lines that carry an ISO time
near their beginning (dpkg, apt, most servers) and syslog's short time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from event_log.event import InvalidEvent, parse_json

_LEVEL_NAMES = {
    "trace": "trace", "debug": "debug",
    "info": "info", "information": "info", "notice": "info", "log": "info",
    "warn": "warn", "warning": "warn",
    "err": "error", "error": "error", "severe": "error",
    "fatal": "fatal", "crit": "fatal", "critical": "fatal", "panic": "fatal", "emerg": "fatal",
}  # fmt: skip
# A level is a word of its own: `libgpg-error0` and `/var/log/error.log` say nothing about the line.
_LEVEL_WORD = re.compile(
    r"(?<![\w./-])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|SEVERE|FATAL|CRIT|CRITICAL|PANIC|EMERG)(?![\w/-])",
    re.IGNORECASE,
)
_APT_LEVELS = {"E: ": "error", "W: ": "warn", "N: ": "info"}
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ]{1,2}(\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|UTC|GMT|[+-]\d\d:?\d\d(?!\d))?"
)
_SYSLOG = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d) ")
_LOOK_CHARS = 200
"""How far into a line a time or a level is looked for."""


@dataclass(frozen=True, slots=True)
class Line:
    level: str
    time: datetime
    message: str
    attributes: dict[str, Any] = field(default_factory=dict)


def parse(text: str, now: datetime) -> Line:
    """`now` stands in where the line names no time or no year."""
    if text.startswith("{"):
        structured = _parse_json(text, now)
        if structured is not None:
            return structured
    start = text[:_LOOK_CHARS]
    return Line(level=_level_in(start), time=_time_in(start, now) or now, message=text)


def _parse_json(text: str, now: datetime) -> Line | None:
    try:
        document = parse_json(text.encode())
    except InvalidEvent:
        return None
    if not isinstance(document, dict):
        return None
    rest = dict(document)
    # tracing-subscriber keeps the message and the event's own fields one level down.
    inner = rest.pop("fields", None)
    if isinstance(inner, dict):
        rest = rest | inner
    elif inner is not None:
        rest["fields"] = inner
    message = _take(rest, "message", "msg", "event")
    level = _take(rest, "level", "severity", "lvl", "log.level")
    time = _take(rest, "timestamp", "time", "ts", "@timestamp")
    return Line(
        level=_LEVEL_NAMES.get(str(level).lower(), "info"),
        time=_json_time(time, now),
        message=message if isinstance(message, str) else text,
        attributes=rest,
    )


def _take(document: dict[str, Any], *names: str) -> Any:
    for name in names:
        if name in document:
            return document.pop(name)
    return None


def _json_time(value: object, now: datetime) -> datetime:
    if isinstance(value, str):
        return _time_in(value, now) or now
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if value > 1e11 else value
        try:
            return datetime.fromtimestamp(seconds, timezone.utc)
        except (ValueError, OverflowError, OSError):
            return now
    return now


def _level_in(start: str) -> str:
    for prefix, level in _APT_LEVELS.items():
        if start.startswith(prefix):
            return level
    found = _LEVEL_WORD.search(start)
    return _LEVEL_NAMES[found[1].lower()] if found else "info"


def _time_in(start: str, now: datetime) -> datetime | None:
    iso = _ISO.search(start)
    if iso:
        date, clock, fraction, offset = iso.groups()
        offset = {"Z": "+00:00", "UTC": "+00:00", "GMT": "+00:00", None: ""}.get(offset, offset)
        if re.fullmatch(r"[+-]\d{4}", offset):
            offset = f"{offset[:3]}:{offset[3:]}"
        micros = (fraction or "0")[:6].ljust(6, "0")
        return _utc(lambda: datetime.fromisoformat(f"{date}T{clock}.{micros}{offset}"))
    syslog = _SYSLOG.match(start)
    if syslog:
        month, day, clock = syslog.groups()
        time = _utc(lambda: datetime.strptime(f"{now.year} {month} {day} {clock}", "%Y %b %d %H:%M:%S"))
        # syslog writes no year: a line of December read in January is last year's.
        if time and time > now + timedelta(days=1):
            return time.replace(year=time.year - 1)
        return time
    return None


def _utc(make: Callable[[], datetime]) -> datetime | None:
    try:
        time: datetime = make()
        return time.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
