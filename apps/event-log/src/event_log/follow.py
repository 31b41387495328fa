"""Following one log file by name through rotation, without a gap and in order.

Knows files, not Kafka. Handled are: append; rename and create (the old file is read to its end, under
whatever name it has now); copy and truncate (what was not yet read is read from the copy); both while
nobody was following, several times over, with compression (.gz). What cannot be found again is recorded
as a gap. A line is handed out when its newline is there, or its file is finished.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from event_log.positions import CHECK_BYTES, Position, Positions, Version

LINE_BYTES_MAX = 16 * 1024
"""A longer line becomes several events. Written as \\xNN, a byte that is not UTF-8 takes four characters,
and a message holds 64 Ki of them."""
CHUNK_BYTES = 512 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RawLine:
    file_id: str
    offset: int
    content: bytes


@dataclass(slots=True)
class Chunk:
    """Lines that follow each other, and where the file stands once all are acknowledged."""

    file_id: str
    lines: list[RawLine]
    end: int
    evidence: bytes


@dataclass(slots=True, eq=False)
class _Open:
    """A file that is being read."""

    position: Position
    file: BinaryIO
    retired_at: float | None = None
    """When its name went to another file; it ends some time after."""
    complete: bool = False
    """A rotated copy: nobody writes to it any more."""
    packed: bool = False

    def read(self, length: int = CHUNK_BYTES) -> bytes | None:
        """The next bytes; nothing at the end; None if this is no longer the file that it was."""
        offset, start = self.position.offset, self.position.evidence_start
        if self.packed:
            try:
                self.file.seek(offset)
                return self.file.read(length)
            except (OSError, EOFError, zlib.error):
                return None
        evidence = self.position.evidence
        data = os.pread(self.file.fileno(), max(len(evidence), offset - start + length), start)
        return data[offset - start :] if data.startswith(evidence) else None


class Follower:
    def __init__(self, path: Path, positions: Positions, *, from_end: bool, rotate_wait: float) -> None:
        """`from_end`: a file that is there at the first start ever is followed from its end.
        `rotate_wait`: seconds a renamed file is still watched for its writer's last lines."""
        self._path = path
        self._positions = positions
        self._rotate_wait = rotate_wait
        self._open: list[_Open] = []
        """In the order in which they are read: the one that has the path's name comes last."""
        if positions.is_new(path):
            self._start(from_end)
        self._settled = positions.settled(path)
        self._resume()

    def close(self) -> None:
        for opened in self._open:
            opened.file.close()

    def poll(self) -> Iterator[Chunk]:
        """What is new, a chunk at a time, older files first. The caller sends a chunk and calls
        `acknowledge` before it asks for the next."""
        self._look()
        for opened in list(self._open):
            # Asked before reading: what arrives while the last lines are read must still find the file.
            ends = self._ends(opened)
            while (data := opened.read()) is not None:
                chunk = _lines(opened, data, ends)
                if chunk is None:
                    break
                yield chunk
            if data is None:
                return  # Truncated this moment. The rest of it, which comes before all later, is next.
            if ends:
                opened.file.close()
                self._open.remove(opened)
                self._positions.finish(opened.position.file_id)

    def acknowledge(self, chunk: Chunk) -> None:
        for opened in self._open:
            if opened.position.file_id == chunk.file_id:
                opened.position = replace(opened.position, offset=chunk.end, evidence=chunk.evidence)

    def _start(self, from_end: bool) -> None:
        """The first time ever: what was rotated before is not ours."""
        self._positions.settle(self._path, [sibling.version for sibling in _rotated(self._path)])
        present = _stat(self._path)
        if present and from_end:
            size = present.st_size
            evidence = _content(self._path, max(0, size - CHECK_BYTES), min(CHECK_BYTES, size))
            self._positions.register(self._path, present.st_dev, present.st_ino, size, evidence)

    def _resume(self) -> None:
        """Finds every unfinished file again, as the path's own file or among the rotated ones."""
        present = _stat(self._path)
        for position in self._positions.unfinished(self._path):
            if present and (present.st_dev, present.st_ino) == (position.device, position.inode):
                self._open.append(_opened(self._path, position))
            else:
                self._follow_rotated(position)
        self._look()

    def _look(self) -> None:
        """Brings the open files into line with what the names mean now."""
        for opened in list(self._open):
            if opened.read(0) is None:
                log.info("%s: truncated after %d bytes were read", self._path, opened.position.offset)
                opened.file.close()
                self._open.remove(opened)
                self._follow_rotated(replace(opened.position, device=0, inode=0))
            elif not opened.position.evidence and (head := _head(opened)):
                # It was empty when it was first seen; from now on it can be told from others.
                opened.position = replace(opened.position, evidence=head)
                self._positions.advance([(opened.position.file_id, 0, head)], {})
        self._follow_name()
        self._follow_unseen()
        self._open.sort(key=self._age)

    def _follow_name(self) -> None:
        """Opens what the path names now; what it named before is retired."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        present = os.fstat(file.fileno())
        followed = False
        for opened in self._open:
            if not opened.complete and _same(os.fstat(opened.file.fileno()), present):
                followed = True
            else:
                opened.retired_at = opened.retired_at or time.monotonic()
        if followed:
            file.close()
            return
        log.info("%s: following inode %d", self._path, present.st_ino)
        head = os.pread(file.fileno(), CHECK_BYTES, 0)
        position = self._positions.register(self._path, present.st_dev, present.st_ino, 0, head)
        self._open.append(_Open(position, file))

    def _follow_rotated(self, position: Position) -> None:
        """Goes on where the file is now: renamed, copied, compressed."""
        candidates = [s for s in _rotated(self._path) if s.version not in self._settled]
        sibling = _find(candidates, position)
        if sibling:
            self._positions.adopt(position.file_id, sibling.stat.st_dev, sibling.stat.st_ino)
            self._open.append(_opened(sibling.path, position, complete=True))
            return
        if position.evidence:
            reason = "rotated or truncated, and no file beside it goes on where reading had stopped"
            log.warning("%s: %s (offset %d)", self._path, reason, position.offset)
            self._positions.gap(self._path, position.offset, reason)
        self._positions.finish(position.file_id)

    def _follow_unseen(self) -> None:
        """Rotated files that nobody followed while they had the name: read whole."""
        siblings = _rotated(self._path)
        unsettled = [s for s in siblings if s.version not in self._settled]
        if not unsettled:
            return
        settled = {sibling.version for sibling in siblings} & self._settled
        unfinished = self._positions.unfinished(self._path)
        finished = self._positions.finished(self._path)
        for sibling in unsettled:
            # Followed already, or a copy of what is followed that may be truncated any moment.
            if any(_is_still(sibling, p) or _has_evidence(sibling.path, p) for p in unfinished):
                continue
            if sibling.stat.st_size == 0 or any(_ends_at(sibling.path, p) for p in finished):
                settled.add(sibling.version)
                continue
            if self._is_copy(sibling):
                continue
            grown = next((p for p in finished if p.evidence and _is_still(sibling, p)), None)
            if grown:
                self._positions.reopen(grown.file_id)
            else:
                head = _content(sibling.path, 0, CHECK_BYTES)
                grown = self._positions.register(self._path, *sibling.inode, 0, head)
            self._open.append(_opened(sibling.path, grown, complete=True))
        if settled != self._settled:
            self._positions.settle(self._path, settled)
            self._settled = settled

    def _is_copy(self, sibling: _Sibling) -> bool:
        """Of the file that has the path's name now, perhaps still being written."""
        present = _stat(self._path)
        if present is None or sibling.packed or sibling.stat.st_size > present.st_size:
            return False
        compared = min(sibling.stat.st_size, 64 * 1024)
        return _content(sibling.path, 0, compared) == _content(self._path, 0, compared)

    def _ends(self, opened: _Open) -> bool:
        """Whether an unfinished last line is all there will be of it."""
        if opened.complete:
            return True
        return opened.retired_at is not None and time.monotonic() >= opened.retired_at + self._rotate_wait

    def _age(self, opened: _Open) -> tuple[bool, int]:
        current = not opened.complete and opened.retired_at is None
        return current, os.fstat(opened.file.fileno()).st_mtime_ns


@dataclass(frozen=True, slots=True)
class _Sibling:
    path: Path
    stat: os.stat_result

    @property
    def packed(self) -> bool:
        return self.path.suffix == ".gz"

    @property
    def inode(self) -> tuple[int, int]:
        return self.stat.st_dev, self.stat.st_ino

    @property
    def version(self) -> Version:
        return Version(*self.inode, self.stat.st_size, self.stat.st_mtime_ns)


def _rotated(path: Path) -> list[_Sibling]:
    """`app.log.1`, `app.log-20261124`, `app.log.2.gz` beside `app.log`, oldest first."""
    pattern = re.compile(re.escape(path.name) + r"[.-]\d[\dT_-]*(\.gz)?")
    found = []
    for sibling in path.parent.iterdir():
        stat = _stat(sibling) if pattern.fullmatch(sibling.name) else None
        if stat:
            found.append(_Sibling(sibling, stat))
    return sorted(found, key=lambda s: s.stat.st_mtime_ns)


def _find(siblings: list[_Sibling], position: Position) -> _Sibling | None:
    """The rotated file that goes on at `position`: by inode, or by its content."""
    for sibling in siblings:
        if _is_still(sibling, position):
            return sibling
    for sibling in siblings:
        # Few bytes prove little; then the copy must at least be younger than the file was for us.
        telling = len(position.evidence) >= 64 or sibling.stat.st_mtime >= position.since
        if telling and _has_evidence(sibling.path, position):
            return sibling
    return None


def _is_still(sibling: _Sibling, position: Position) -> bool:
    """The inode alone says little: a new file readily gets a deleted one's."""
    if sibling.inode != (position.device, position.inode):
        return False
    return not position.evidence or _has_evidence(sibling.path, position)


def _has_evidence(path: Path, position: Position) -> bool:
    evidence = position.evidence
    return bool(evidence) and _content(path, position.evidence_start, len(evidence)) == evidence


def _ends_at(path: Path, position: Position) -> bool:
    """The file, a copy of it or its compressed self, without anything more."""
    evidence = position.evidence
    return bool(evidence) and _content(path, position.evidence_start, len(evidence) + 1) == evidence


def _content(path: Path, start: int, length: int) -> bytes:
    """These bytes of a file, unpacked; nothing if it cannot be read."""
    try:
        with _reader(path) as file:
            file.seek(start)
            return file.read(length)
    except (OSError, EOFError, zlib.error):
        return b""


def _reader(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def _opened(path: Path, position: Position, complete: bool = False) -> _Open:
    return _Open(position, _reader(path), complete=complete, packed=path.suffix == ".gz")


def _head(opened: _Open) -> bytes:
    return (opened.read() or b"")[:CHECK_BYTES]


def _lines(opened: _Open, data: bytes, ends: bool) -> Chunk | None:
    """The complete lines in `data`. A line without end is cut at LINE_BYTES_MAX."""
    position = opened.position
    lines: list[RawLine] = []
    start = 0
    while start < len(data):
        newline = data.find(b"\n", start, start + LINE_BYTES_MAX)
        if newline >= 0:
            stop, after = newline, newline + 1
        elif len(data) - start >= LINE_BYTES_MAX:
            stop = after = start + LINE_BYTES_MAX
        elif ends and len(data) < CHUNK_BYTES:
            stop = after = len(data)
        else:
            break
        content = data[start:stop].removesuffix(b"\r")
        if content.strip():
            lines.append(RawLine(position.file_id, position.offset + start, content))
        start = after
    if start == 0:
        return None
    # Evidence of a file of which nothing was read is its head, which `data` begins with too.
    behind = position.evidence if position.offset else b""
    evidence = (behind + data[:start])[-CHECK_BYTES:]
    return Chunk(position.file_id, lines, position.offset + start, evidence)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
