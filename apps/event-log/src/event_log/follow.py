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

from event_log.positions import CHECK_BYTES, Position, Positions

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

    def read(self) -> bytes | None:
        """The next bytes; nothing at the end; None if this is no longer the file that it was."""
        offset, start = self.position.offset, self.position.evidence_start
        if self.packed:
            try:
                self.file.seek(offset)
                return self.file.read(CHUNK_BYTES)
            except (OSError, EOFError, zlib.error):
                return None
        data = os.pread(self.file.fileno(), offset - start + CHUNK_BYTES, start)
        return data[offset - start :] if data.startswith(self.position.evidence) else None


class Follower:
    def __init__(self, path: Path, positions: Positions, *, from_end: bool, rotate_wait: float) -> None:
        """`from_end`: a file that is there at the first start ever is followed from its end.
        `rotate_wait`: seconds a renamed file is still watched for its writer's last lines."""
        self._path = path
        self._positions = positions
        self._rotate_wait = rotate_wait
        self._open: list[_Open] = []
        self._resume(from_end)

    def close(self) -> None:
        for opened in self._open:
            opened.file.close()

    def poll(self) -> Iterator[Chunk]:
        """What is new, a chunk at a time, older files first. The caller sends a chunk and calls
        `acknowledge` before it asks for the next."""
        self._notice_rotation()
        for opened in list(self._open):
            # Asked before reading: what arrives while the last lines are read must still find the file.
            ends = self._ends(opened)
            while (data := opened.read()) is not None:
                chunk = _lines(opened, data, ends)
                if chunk is None:
                    break
                yield chunk
            if data is None:
                self._truncated(opened)
            elif ends:
                self._retire(opened)

    def acknowledge(self, chunk: Chunk) -> None:
        for opened in self._open:
            if opened.position.file_id == chunk.file_id:
                opened.position = replace(opened.position, offset=chunk.end, evidence=chunk.evidence)

    def _resume(self, from_end: bool) -> None:
        """Finds every unfinished file again, as the path's own file or among the rotated ones."""
        known = self._positions.unfinished(self._path)
        present = _stat(self._path)
        for position in known:
            if present and (present.st_dev, present.st_ino) == (position.device, position.inode):
                self._open.append(_opened(self._path, position))
            else:
                self._follow_rotated(position)
        if not known and present and from_end:
            size = present.st_size
            evidence = _content(self._path, max(0, size - CHECK_BYTES), min(CHECK_BYTES, size))
            position = self._positions.register(self._path, present.st_dev, present.st_ino, size, evidence)
            self._open.append(_opened(self._path, position))
        self._notice_rotation()

    def _notice_rotation(self) -> None:
        """Opens what the path names now; what it named before is retired."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        present = os.fstat(file.fileno())
        current = self._open[-1] if self._open else None
        if current and not current.complete and _same(os.fstat(current.file.fileno()), present):
            file.close()
            return
        if current:
            current.retired_at = current.retired_at or time.monotonic()
            # Between two looks the name may have gone through several files.
            siblings = _rotated(self._path)
            found = _find(siblings, current.position)
            if found is not None:
                self._follow_unseen(siblings[found + 1 :])
        log.info("%s: following inode %d", self._path, present.st_ino)
        head = os.pread(file.fileno(), CHECK_BYTES, 0)
        position = self._positions.register(self._path, present.st_dev, present.st_ino, 0, head)
        self._open.append(_Open(position, file))

    def _truncated(self, opened: _Open) -> None:
        """The file lost bytes that had been read: copied and emptied, or just emptied."""
        log.info("%s: truncated after %d bytes were read", self._path, opened.position.offset)
        opened.file.close()
        index = self._open.index(opened)
        later = self._open[index + 1 :]
        self._open = self._open[:index]
        self._follow_rotated(replace(opened.position, device=0, inode=0))
        self._open.extend(later)
        self._notice_rotation()

    def _follow_rotated(self, position: Position) -> None:
        """Goes on in the file's rotated self, then in those rotated after it that were never seen."""
        siblings = _rotated(self._path)
        found = _find(siblings, position)
        if found is None:
            # An empty file that vanished before a line was read is no loss.
            if position.offset or any(s.stat.st_mtime >= position.since for s in siblings):
                reason = "rotated or truncated, and no file beside it goes on where reading had stopped"
                log.warning("%s: %s (offset %d)", self._path, reason, position.offset)
                self._positions.gap(self._path, position.offset, reason)
            self._positions.finish(position.file_id)
            return
        sibling = siblings[found]
        self._positions.adopt(position.file_id, sibling.stat.st_dev, sibling.stat.st_ino)
        self._open.append(_opened(sibling.path, position, complete=True))
        self._follow_unseen(siblings[found + 1 :])

    def _follow_unseen(self, siblings: list[_Sibling]) -> None:
        """Rotated files that nobody followed while they had the name: read whole."""
        followed = self._positions.unfinished(self._path)
        for sibling in siblings:
            inode = (sibling.stat.st_dev, sibling.stat.st_ino)
            # The inode alone says little: a new file readily gets a deleted one's. And a copy that is
            # about to be followed by a truncation is no file of its own.
            known = [*followed, *self._positions.of_inode(*inode)]
            if any(_has_evidence(sibling.path, one) for one in known) or self._is_copy(sibling):
                continue
            head = _content(sibling.path, 0, CHECK_BYTES)
            fresh = self._positions.register(self._path, *inode, 0, head)
            self._open.append(_opened(sibling.path, fresh, complete=True))

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

    def _retire(self, opened: _Open) -> None:
        opened.file.close()
        self._open.remove(opened)
        self._positions.finish(opened.position.file_id)


@dataclass(frozen=True, slots=True)
class _Sibling:
    path: Path
    stat: os.stat_result

    @property
    def packed(self) -> bool:
        return self.path.suffix == ".gz"


def _rotated(path: Path) -> list[_Sibling]:
    """`app.log.1`, `app.log-20261124`, `app.log.2.gz` beside `app.log`, oldest first."""
    pattern = re.compile(re.escape(path.name) + r"[.-]\d[\dT_-]*(\.gz)?")
    found = []
    for sibling in path.parent.iterdir():
        stat = _stat(sibling) if pattern.fullmatch(sibling.name) else None
        if stat:
            found.append(_Sibling(sibling, stat))
    return sorted(found, key=lambda s: s.stat.st_mtime_ns)


def _find(siblings: list[_Sibling], position: Position) -> int | None:
    """The rotated file that goes on at `position`: by inode, or by its content."""
    for index, sibling in enumerate(siblings):
        same_inode = (sibling.stat.st_dev, sibling.stat.st_ino) == (position.device, position.inode)
        if same_inode and (not position.evidence or _has_evidence(sibling.path, position)):
            return index
    for index, sibling in enumerate(siblings):
        # Few bytes prove little; then the copy must at least be younger than the file was for us.
        telling = len(position.evidence) >= 64 or sibling.stat.st_mtime >= position.since
        if telling and _has_evidence(sibling.path, position):
            return index
    return None


def _has_evidence(path: Path, position: Position) -> bool:
    evidence = position.evidence
    return bool(evidence) and _content(path, position.evidence_start, len(evidence)) == evidence


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
