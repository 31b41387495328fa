"""The three sinks alone: what is written twice counts once, and what a crash leaves is put right."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from support import NOW, event, record

from event_log import alerts, archive, index
from event_log.alerts import Alerts, Threshold
from event_log.archive import Archive
from event_log.database import connect_read_only
from event_log.index import BadQuery, Index, Query
from event_log.sender import DeliveryFailed


class KeepingAnnouncer:
    def __init__(self) -> None:
        self.alerts: list[dict[str, object]] = []
        self.failures = 0

    def send_records(self, records: Sequence[tuple[bytes, bytes, list[tuple[str, bytes]]]]) -> None:
        self.alerts.extend(json.loads(value) for _, value, _ in records)
        if self.failures:
            self.failures -= 1
            raise DeliveryFailed("no answer")


@pytest.fixture
def announcer() -> KeepingAnnouncer:
    return KeepingAnnouncer()


def found(path: Path, query: Query) -> list[str]:
    db = connect_read_only(path)
    assert db
    return [hit.message for hit in index.search(db, query)]


def test_the_index_holds_an_event_once_by_its_id(tmp_path: Path) -> None:
    sink = Index(tmp_path / "i.db", "t")
    records = [record(0, event("a")), record(1, event("b")), record(2, event("a"))]
    sink.write(records)
    sink.write(records)
    db = connect_read_only(tmp_path / "i.db")
    assert db and index.counts(db) == {"app": 2}


def test_the_index_finds_words_levels_sources_and_times(tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    Index(path, "t").write(
        [
            record(0, event("a", "dpkg", message="installed libc-bin:amd64 2.36-9+deb12u14")),
            record(
                1, event("b", "dpkg", "error", message='failed "libc-bin"', time=NOW + timedelta(hours=1))
            ),
            record(2, event("c", "web", message="GET /index.html")),
        ]
    )
    assert found(path, Query("libc-bin:amd64")) == ["installed libc-bin:amd64 2.36-9+deb12u14"]
    assert len(found(path, Query("libc-bin"))) == 2
    assert found(path, Query("libc-bin", level="error")) == ['failed "libc-bin"']
    assert found(path, Query('"libc-bin" failed')) == ['failed "libc-bin"']
    assert found(path, Query("GET OR failed", raw=True)) == ['failed "libc-bin"', "GET /index.html"]
    assert found(path, Query(source="web")) == ["GET /index.html"]
    assert found(path, Query(since="2026-11-24T10:30Z")) == ['failed "libc-bin"']
    assert len(found(path, Query(until="2026-11-24T10:30Z"))) == 2
    assert len(found(path, Query(limit=1))) == 1
    with pytest.raises(BadQuery, match="not a query for FTS5"):
        found(path, Query("AND (", raw=True))


def test_a_record_that_is_no_event_is_kept_with_its_reason(tmp_path: Path) -> None:
    sink = Index(tmp_path / "i.db", "t")
    for _ in range(2):
        sink.write([record(0, b"garbage"), record(1, None), record(2, event("a"))])
    db = connect_read_only(tmp_path / "i.db")
    assert db and index.rejected_count(db) == 2
    reasons = [row[0] for row in db.execute("SELECT reason FROM rejected ORDER BY offset")]
    assert reasons == ["not JSON: Expecting value at line 1 column 1", "no value (a tombstone)"]


def test_an_alert_is_raised_once_when_a_minute_reaches_the_rate(
    tmp_path: Path, announcer: KeepingAnnouncer
) -> None:
    sink = Alerts(tmp_path / "a.db", "t", Threshold(rate=0.5, errors_min=3), announcer)
    sink.write([record(n, event(f"ok{n}")) for n in range(3)])
    sink.write([record(3 + n, event(f"bad{n}", level="error")) for n in range(2)])
    assert announcer.alerts == []
    sink.write([record(5, event("bad2", level="fatal"))])
    sink.write([record(6, event("bad3", level="error"))])
    assert [(a["source"], a["minute"], a["errors"], a["events"]) for a in announcer.alerts] == [
        ("app", "2026-11-24T10:00Z", 3, 6)
    ]
    db = connect_read_only(tmp_path / "a.db")
    assert db and [(a.errors, a.events) for a in alerts.raised(db, 10)] == [(4, 7)]


def test_minutes_and_sources_are_counted_apart(tmp_path: Path, announcer: KeepingAnnouncer) -> None:
    sink = Alerts(tmp_path / "a.db", "t", Threshold(rate=0.5, errors_min=2), announcer)
    sink.write(
        [
            record(0, event("a", "one", "error")),
            record(1, event("b", "two", "error")),
            record(2, event("c", "one", "error", time=NOW + timedelta(minutes=1))),
        ]
    )
    assert announcer.alerts == []
    sink.write([record(3, event("d", "one", "error", time=NOW + timedelta(seconds=59)))])
    assert [a["minute"] for a in announcer.alerts] == ["2026-11-24T10:00Z"]


def test_neither_records_read_again_nor_events_sent_again_count_twice(
    tmp_path: Path, announcer: KeepingAnnouncer
) -> None:
    records = [record(n, event(f"e{n}", level="error")) for n in range(4)]
    sink = Alerts(tmp_path / "a.db", "t", Threshold(), announcer)
    sink.write(records)
    sink.write(records)
    sink.write([record(4, event("e0", level="error"))])
    db = connect_read_only(tmp_path / "a.db")
    assert db and alerts.counts(db) == {"app": 4}
    assert announcer.alerts == []


def test_an_alert_that_could_not_be_announced_is_announced_later(
    tmp_path: Path, announcer: KeepingAnnouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "CLAIM_SECONDS", 0)
    announcer.failures = 1
    path = tmp_path / "a.db"
    sink = Alerts(path, "t", Threshold(errors_min=1), announcer)
    sink.write([record(0, event("a", level="error"))])
    sink.close()
    Alerts(path, "t", Threshold(errors_min=1), announcer).tick()
    assert len(announcer.alerts) == 2


def offsets(directory: Path) -> list[tuple[int, int]]:
    return [(archived.partition, archived.offset) for archived in archive.read(directory)]


def test_the_archive_holds_an_offset_once_and_zcat_reads_it(tmp_path: Path) -> None:
    records = [record(n, event(f"e{n}"), partition=n % 2) for n in range(10)]
    sink = Archive(tmp_path, "t")
    sink.write(records[:6])
    sink.write(records[:6])
    sink.write(records[4:8] + records[4:])
    Archive(tmp_path, "t").write(records)
    assert offsets(tmp_path) == [
        (0, 0),
        (0, 2),
        (0, 4),
        (0, 6),
        (0, 8),
        (1, 1),
        (1, 3),
        (1, 5),
        (1, 7),
        (1, 9),
    ]
    text = gzip.decompress((tmp_path / "t" / "1" / f"{1:020}.jsonl.gz").read_bytes())
    assert [json.loads(line)["value"]["id"] for line in text.splitlines()] == ["e1", "e3", "e5", "e7", "e9"]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_write_cut_short_by_a_crash_is_cut_off_and_written_again(tmp_path: Path, cut: int) -> None:
    records = [record(n, event(f"e{n}")) for n in range(6)]
    Archive(tmp_path, "t").write(records[:3])
    Archive(tmp_path, "t").write(records[3:])
    file = tmp_path / "t" / "0" / f"{0:020}.jsonl.gz"
    file.write_bytes(file.read_bytes()[:-cut])
    assert offsets(tmp_path) == [(0, 0), (0, 1), (0, 2)]
    Archive(tmp_path, "t").write(records[3:])
    assert offsets(tmp_path) == [(0, n) for n in range(6)]
    gzip.decompress(file.read_bytes())


def test_a_new_file_cut_short_is_started_again(tmp_path: Path) -> None:
    directory = tmp_path / "t" / "0"
    directory.mkdir(parents=True)
    (directory / f"{0:020}.jsonl.gz").write_bytes(b"\x1f\x8b\x08")
    Archive(tmp_path, "t").write([record(0, event("a"))])
    assert offsets(tmp_path) == [(0, 0)]


def test_two_who_hold_a_partition_at_once_do_not_archive_it_twice(tmp_path: Path) -> None:
    records = [record(n, event(f"e{n}")) for n in range(9)]
    one, other = Archive(tmp_path, "t"), Archive(tmp_path, "t")
    one.write(records[:3])
    other.write(records[:6])
    one.write(records[3:8])
    other.write(records[6:])
    assert offsets(tmp_path) == [(0, n) for n in range(9)]


def test_the_archive_starts_a_new_file_at_the_limit(tmp_path: Path) -> None:
    sink = Archive(tmp_path, "t", file_bytes_max=1)
    for number in range(3):
        sink.write([record(number, event(f"e{number}"))])
    names = sorted(path.name for path in (tmp_path / "t" / "0").glob("*.gz"))
    assert names == [f"{number:020}.jsonl.gz" for number in range(3)]
    assert offsets(tmp_path) == [(0, 0), (0, 1), (0, 2)]


def test_a_topic_made_again_under_the_name_is_archived_beside_the_old_one(tmp_path: Path) -> None:
    Archive(tmp_path, "old").write([record(0, event("a")), record(1, event("b"))])
    Archive(tmp_path, "new").write([record(0, event("c"))])
    assert len(offsets(tmp_path)) == 3


def test_a_record_that_is_no_json_is_archived_in_base64(tmp_path: Path) -> None:
    deep = b"[" * 500 + b"]" * 500
    Archive(tmp_path, "t").write(
        [record(0, b"\xff"), record(1, None), record(2, deep), record(3, b'"\\ud800"')]
    )
    values = [archived.value for archived in archive.read(tmp_path)]
    assert values[0] == {"base64": "/w=="}
    assert values[1] is None
    assert set(values[2]) == {"base64"}
    assert values[3] == "\ud800"


def test_an_alert_is_announced_by_one_of_several_members(tmp_path: Path, announcer: KeepingAnnouncer) -> None:
    members = [Alerts(tmp_path / "a.db", "t", Threshold(errors_min=1), announcer) for _ in range(3)]
    members[0].write([record(0, event("a", level="error"))])
    for member in members:
        member.tick()
    assert len(announcer.alerts) == 1
