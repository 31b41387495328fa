"""The archive: every record as a line of JSON, gzip'd, a directory for each partition.

    ARCHIVE/TOPIC_ID/PARTITION/00000000000000001234.jsonl.gz

A file is named by its first offset, as Kafka names segments. Each write appends one gzip member, flushed
to disk, and gzip files may be joined, so `zcat` reads a file at any time. The files are the truth about
how far the archive goes: a member of the group appends only what lies past the last offset on disk, under
a lock, and a gzip member cut short by a crash is cut off before the next append. So an offset is in the
archive once, whoever read it how often.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from event_log.event import NESTING_MAX, InvalidEvent, depth, parse_json
from event_log.member import Record

FILE_BYTES_MAX = 64 * 1024 * 1024
_GZIP = 31
"""zlib's window bits for a gzip member."""
_READ_BYTES = 64 * 1024


class Archive:
    """A sink (see member.py)."""

    def __init__(self, directory: Path, topic_id: str, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self._directory = directory / topic_id
        self._file_bytes_max = file_bytes_max
        self._ends: dict[int, _End] = {}

    def write(self, records: Sequence[Record]) -> None:
        for partition in sorted({record.partition for record in records}):
            self._append(partition, [record for record in records if record.partition == partition])

    def tick(self) -> None:
        """Nothing waits here."""

    def _append(self, partition: int, records: list[Record]) -> None:
        directory = self._directory / str(partition)
        if not directory.exists():
            directory.mkdir(parents=True, exist_ok=True)
            for parent in (directory, *list(directory.parents)[:3]):
                _sync_directory(parent)
        with _locked(directory):
            end = self._ends.get(partition)
            # Somebody else may have appended since, if the partition went away and came back.
            if end is None or not end.still_true():
                end = _recover(directory)
            fresh = _past(end.next_offset, records)
            if fresh:
                end = self._write_member(directory, end, fresh)
            self._ends[partition] = end

    def _write_member(self, directory: Path, end: _End, records: list[Record]) -> _End:
        path = end.path
        created = path is None or end.size >= self._file_bytes_max
        if path is None or created:
            path = directory / f"{records[0].offset:020}.jsonl.gz"
        lines = b"".join(_line(record) for record in records)
        packer = zlib.compressobj(level=6, wbits=_GZIP)
        member = packer.compress(lines) + packer.flush()
        with path.open("ab") as file:
            file.write(member)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if created:
            _sync_directory(directory)
        return _End(path, size, records[-1].offset + 1)


@dataclass(frozen=True, slots=True)
class _End:
    path: Path | None
    size: int
    next_offset: int

    def still_true(self) -> bool:
        if self.path is None:
            return False
        newest = _files(self.path.parent)[-1:]
        return newest == [self.path] and self.path.stat().st_size == self.size


@dataclass(frozen=True, slots=True)
class Archived:
    partition: int
    offset: int
    value: Any
    """The event as JSON, or {"base64": …} if the record was no JSON."""


def read(directory: Path) -> Iterator[Archived]:
    """Everything, partition by partition in order; each offset once."""
    for topic in sorted(path for path in directory.glob("*") if path.is_dir()):
        for partition in sorted(topic.glob("*"), key=lambda path: int(path.name)):
            next_offset = 0
            for file in _files(partition):
                for document in _documents(file):
                    if document["offset"] >= next_offset:
                        next_offset = document["offset"] + 1
                        yield Archived(document["partition"], document["offset"], document["value"])


def _past(next_offset: int, records: Sequence[Record]) -> list[Record]:
    fresh = []
    for record in records:
        if record.offset >= next_offset:
            next_offset = record.offset + 1
            fresh.append(record)
    return fresh


def _recover(directory: Path) -> _End:
    """How far the partition's archive goes. Cuts off a last member that is not whole."""
    for path in reversed(_files(directory)):
        size, last = 0, -1
        for member_end, text in _members(path):
            size, last = member_end, json.loads(text.splitlines()[-1])["offset"]
        if size < path.stat().st_size:
            os.truncate(path, size)
        if size:
            return _End(path, size, last + 1)
        path.unlink()
    return _End(None, 0, 0)


def _members(path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole gzip members of a file: where each ends, and its text."""
    with path.open("rb") as file:
        ahead, read_bytes = b"", 0
        while True:
            unpacker, text = zlib.decompressobj(wbits=_GZIP), bytearray()
            while not unpacker.eof:
                data = ahead or file.read(_READ_BYTES)
                read_bytes += 0 if ahead else len(data)
                if not data:
                    return
                try:
                    text += unpacker.decompress(data)
                except zlib.error:
                    return
                ahead = b""
            ahead = unpacker.unused_data
            yield read_bytes - len(ahead), bytes(text)


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    for _, text in _members(path):
        for line in text.splitlines():
            yield json.loads(line)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl.gz"))


def _line(record: Record) -> bytes:
    document = {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _text(record.key),
        "headers": [[name, _text(value)] for name, value in record.headers],
        "value": _json_or_bytes(record.value),
    }
    return (
        json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
        + b"\n"
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")


def _json_or_bytes(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        document = parse_json(value)
        if depth(document) <= 2 * NESTING_MAX:
            return document
    except InvalidEvent:
        pass
    return {"base64": base64.b64encode(value).decode()}


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
