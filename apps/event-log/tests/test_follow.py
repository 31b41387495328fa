"""The tail through every kind of rotation: each line once, in order, with the id it keeps after a crash."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import threading
from pathlib import Path

import pytest
from support import KeepingSender

from event_log.event import decode
from event_log.follow import LINE_BYTES_MAX
from event_log.positions import Positions
from event_log.tailer import Tailer, Watched


class Bench:
    """A log file, and a tail on it that can crash (drop everything in memory) at any point."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "app.log"
        self.database = directory / "tail.db"
        self.sender = KeepingSender()
        self.stop = threading.Event()
        self.from_end = False

    def start(self) -> None:
        self.positions = Positions(self.database)
        watched = [Watched("app", self.path)]
        self.tailer = Tailer(
            watched, self.positions, self.sender, "here", from_end=self.from_end, rotate_wait=0.0
        )

    crash = start

    def write(self, *lines: str) -> None:
        with self.path.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def round(self) -> list[str]:
        """The messages that one look at the files brings."""
        before = len(self.sender.events)
        self.tailer.round(self.stop)
        return self.sender.messages[before:]

    def settle(self) -> list[str]:
        """Rounds until nothing more comes."""
        found: list[str] = []
        while new := self.round() + self.round() + self.round():
            found += new
        return found

    def rename(self, name: str = "app.log.1") -> Path:
        return self.path.rename(self.path.with_name(name))

    def copy_and_truncate(self, name: str = "app.log.1") -> Path:
        copy = self.path.with_name(name)
        shutil.copyfile(self.path, copy)
        os.truncate(self.path, 0)
        return copy

    def gaps(self) -> int:
        count: int = self.positions._db.execute("SELECT count(*) FROM gaps").fetchone()[0]
        return count

    def sent(self) -> int:
        found = self.positions._db.execute("SELECT events FROM sent WHERE source = 'app'").fetchone()
        return found[0] if found else 0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_lines_come_as_they_are_written(bench: Bench) -> None:
    bench.start()
    assert bench.settle() == []
    bench.write("one", "two")
    assert bench.settle() == ["one", "two"]
    bench.write("three")
    assert bench.settle() == ["three"]
    assert bench.sent() == 3


def test_a_line_is_sent_when_its_newline_is_there(bench: Bench) -> None:
    bench.start()
    with bench.path.open("a") as file:
        file.write("half")
        file.flush()
        assert bench.settle() == []
        file.write(" and half\r\n\n  \n")
        file.flush()
        assert bench.settle() == ["half and half"]


def test_what_was_sent_before_a_restart_is_not_sent_again(bench: Bench) -> None:
    bench.start()
    bench.write("one", "two")
    bench.settle()
    bench.crash()
    bench.write("three")
    assert bench.settle() == ["three"]


def test_lines_whose_acknowledgement_was_lost_are_sent_again_under_the_same_ids(bench: Bench) -> None:
    bench.start()
    bench.write("one", "two")
    bench.sender.failures = 1
    bench.stop.set()
    bench.round()
    bench.stop.clear()
    bench.crash()
    bench.write("three")
    bench.settle()
    assert bench.sender.messages == ["one", "two", "one", "two", "three"]
    assert bench.sender.ids[:2] == bench.sender.ids[2:4]
    assert len(set(bench.sender.ids)) == 3
    assert bench.sent() == 3


def test_a_renamed_file_is_read_to_its_end_before_the_new_one(bench: Bench) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    with bench.path.open("a") as writer:
        writer.write("two\n")
        bench.rename()
        writer.write("three, to the old name's file\nno newline")
        writer.flush()
        bench.write("four")
        assert bench.settle() == ["two", "three, to the old name's file", "no newline", "four"]
    assert bench.gaps() == 0


def test_a_file_that_is_gone_is_read_on_until_there_is_a_new_one(bench: Bench) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    with bench.path.open("a") as writer:
        bench.path.unlink()
        writer.write("two\n")
        writer.flush()
        assert bench.settle() == ["two"]
    bench.write("three")
    assert bench.settle() == ["three"]


def test_a_file_renamed_while_nobody_followed_is_found_by_its_inode(bench: Bench) -> None:
    bench.start()
    bench.write("one", "two")
    bench.settle()
    bench.write("three")
    bench.rename()
    bench.write("four")
    bench.crash()
    assert bench.settle() == ["three", "four"]
    assert bench.gaps() == 0


def test_files_that_came_and_went_while_nobody_followed_are_read_whole(bench: Bench) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    bench.write("two")
    os.utime(bench.rename("app.log.2"), (2e9, 2e9))
    bench.write("three")
    os.utime(bench.rename("app.log.1"), (2e9 + 10, 2e9 + 10))
    bench.write("four")
    bench.crash()
    assert bench.settle() == ["two", "three", "four"]


def test_a_file_compressed_while_nobody_followed_is_found_by_its_content(bench: Bench) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    bench.write("two", "three")
    renamed = bench.rename()
    with gzip.open(f"{renamed}.gz", "wb") as packed:
        packed.write(renamed.read_bytes())
    renamed.unlink()
    bench.write("four")
    bench.crash()
    assert bench.settle() == ["two", "three", "four"]
    assert bench.gaps() == 0


def test_older_rotated_files_are_left_alone(bench: Bench) -> None:
    bench.path.with_name("app.log.1").write_text("of last week\n")
    bench.path.with_name("app.log.2.gz").write_bytes(gzip.compress(b"of the week before\n"))
    bench.start()
    bench.write("one")
    bench.settle()
    bench.copy_and_truncate("app.log-20261124")
    bench.write("two")
    assert bench.settle() == ["two"]


def test_after_copy_and_truncate_the_unread_rest_comes_from_the_copy(bench: Bench) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    bench.write("two")
    bench.copy_and_truncate()
    bench.write("three")
    assert bench.settle() == ["two", "three"]
    assert bench.gaps() == 0


def test_truncation_is_noticed_when_the_file_has_grown_past_the_old_place(bench: Bench) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    bench.copy_and_truncate()
    bench.write("longer than everything before", "and more")
    assert bench.settle() == ["longer than everything before", "and more"]


def test_copy_and_truncate_twice_while_nobody_followed(bench: Bench) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    bench.write("two")
    os.utime(bench.copy_and_truncate("app.log.2"), (2e9, 2e9))
    bench.write("three")
    os.utime(bench.copy_and_truncate("app.log.1"), (2e9 + 10, 2e9 + 10))
    bench.write("four")
    bench.crash()
    assert bench.settle() == ["two", "three", "four"]
    bench.copy_and_truncate("app.log.0")
    bench.write("five")
    assert bench.settle() == ["five"]
    assert len(set(bench.sender.ids)) == 5


def test_ids_differ_when_the_same_bytes_stand_at_the_same_place_again(bench: Bench) -> None:
    bench.start()
    for number in range(3):
        bench.write("the same line")
        bench.settle()
        bench.copy_and_truncate(f"app.log.{number}")
        bench.settle()
    assert bench.sender.messages == ["the same line"] * 3
    assert len(set(bench.sender.ids)) == 3


def test_a_file_emptied_without_a_copy_is_reported_as_a_gap(bench: Bench) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    bench.write("two, never seen")
    os.truncate(bench.path, 0)
    bench.write("three")
    assert bench.settle() == ["three"]
    assert bench.gaps() == 1


def test_a_crash_between_any_two_rounds_of_a_rotation_loses_nothing(bench: Bench) -> None:
    bench.start()
    expected = []
    for number in range(30):
        bench.write(f"line {number}")
        expected.append(f"line {number}")
        if number % 4 == 1:
            bench.round()
        if number % 5 == 2:
            stamp = 2e9 + number
            rotated = (
                bench.rename(f"app.log-{number:03}")
                if number % 2
                else bench.copy_and_truncate(f"app.log-{number:03}")
            )
            os.utime(rotated, (stamp, stamp))
        if number % 3 == 0:
            bench.crash()
    bench.settle()
    assert bench.sender.messages == expected
    assert bench.sent() == 30


def test_following_from_the_end_skips_only_what_was_there_at_the_first_start(bench: Bench) -> None:
    bench.from_end = True
    bench.write("old")
    bench.start()
    bench.write("one")
    assert bench.settle() == ["one"]
    bench.rename()
    bench.write("two")
    bench.crash()
    assert bench.settle() == ["two"]


def test_a_line_without_end_becomes_several_events_that_join_to_it(bench: Bench) -> None:
    bench.start()
    long = "x" * (LINE_BYTES_MAX * 70)
    bench.write(long, "next")
    messages = bench.settle()
    assert messages[-1] == "next"
    assert "".join(messages[:-1]) == long


def test_bytes_that_are_no_text_and_json_that_is_no_json_become_events_all_the_same(bench: Bench) -> None:
    bench.start()
    hostile = [
        b"\xff\xfe binary \x00\x01",
        b'{"message": "\\ud800"}',
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"\xff" * (LINE_BYTES_MAX - 1),
        b"\x01" * (LINE_BYTES_MAX - 1),
    ]
    bench.path.write_bytes(b"\n".join(hostile) + b"\n")
    bench.settle()
    for event in bench.sender.events:
        assert decode(event.encode()).encode() == event.encode()
    assert len(bench.sender.events) == len(hostile)
    assert bench.sender.messages[0] == "\\xff\\xfe binary \x00\x01"


@pytest.mark.parametrize("looks_between", [False, True])
def test_a_copy_that_is_not_yet_followed_by_its_truncation_is_not_read_twice(
    bench: Bench, looks_between: bool
) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    bench.write("two")
    os.utime(bench.rename("app.log.2"), (2e9, 2e9))
    bench.write("three")
    copy = bench.path.with_name("app.log.1")
    shutil.copyfile(bench.path, copy)
    os.utime(copy, (2e9 + 10, 2e9 + 10))
    bench.crash()
    found = bench.settle() if looks_between else []
    os.truncate(bench.path, 0)
    bench.write("four")
    assert found + bench.settle() == ["two", "three", "four"]


def test_a_file_replaced_before_its_first_line_was_read_is_found_in_its_copy(bench: Bench) -> None:
    bench.write("one")
    bench.start()
    bench.copy_and_truncate()
    bench.write("two")
    bench.crash()
    assert bench.settle() == ["one", "two"]


def test_a_file_that_was_empty_when_first_seen_is_not_taken_for_an_unseen_one(bench: Bench) -> None:
    bench.start()
    bench.write("one")
    bench.settle()
    bench.write("two")
    os.utime(bench.rename("app.log.2"), (2e9, 2e9))
    bench.path.touch()
    bench.crash()
    bench.write("three")
    os.utime(bench.rename("app.log.1"), (2e9 + 10, 2e9 + 10))
    bench.write("four")
    bench.crash()
    assert bench.settle() == ["two", "three", "four"]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_between_two_looks_each_line_comes_once_and_in_order(
    bench: Bench, seed: int
) -> None:
    chance = random.Random(seed)
    rotation = Rotation(bench)
    bench.path.touch()
    bench.start()
    written: list[str] = []
    for _ in range(80):
        act = chance.choice(
            ["write"] * 4 + ["look"] * 3 + ["crash", "rename", "copy", "truncate", "compress"]
        )
        if act == "write":
            lines = [
                f"2026-11-24T10:05:35Z line {len(written) + n}" for n in range(chance.choice([1, 1, 3, 40]))
            ]
            bench.write(*lines)
            written += lines
        elif act == "look":
            bench.round()
        elif act == "crash":
            bench.crash()
        else:
            rotation.act(act)
    rotation.act("truncate")
    bench.settle()
    assert bench.sender.messages == written
    assert bench.gaps() == 0


class Rotation:
    """What logrotate does, with time between its steps."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.number = 0
        self.copy: Path | None = None

    def act(self, act: str) -> None:
        if act == "rename" and self.copy is None:
            self._stamp(self.bench.rename(self._name()))
            self.bench.path.touch()
        elif act == "copy" and self.copy is None:
            self.copy = self.bench.path.with_name(self._name())
            shutil.copyfile(self.bench.path, self.copy)
            self._stamp(self.copy)
        elif act == "truncate" and self.copy is not None:
            # What the writer added since: a rotation that loses lines by itself is not the tail's matter.
            shutil.copyfile(self.bench.path, self.copy)
            self._stamp(self.copy)
            os.truncate(self.bench.path, 0)
            self.copy = None
        elif act == "compress" and self.copy is None:
            plain = [path for path in self.bench.path.parent.glob("app.log-*") if path.suffix != ".gz"]
            if plain:
                oldest = min(plain)
                stat = oldest.stat()
                packed = oldest.with_name(oldest.name + ".gz")
                packed.write_bytes(gzip.compress(oldest.read_bytes()))
                os.utime(packed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
                oldest.unlink()

    def _name(self) -> str:
        self.number += 1
        return f"app.log-{self.number:03}"

    def _stamp(self, path: Path) -> None:
        """Later than the one before, however quick this test is."""
        os.utime(path, (2e9 + self.number, 2e9 + self.number))
