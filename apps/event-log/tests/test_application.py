"""The whole event log on a running Kafka or Millstream: every part killed, every event accounted for."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer
from support import (
    MACHINE_LOGS,
    Application,
    Writer,
    known,
    lines_of,
    start_consumers,
    until,
    until_sent,
    verified,
    written_by,
)

from event_log import groups

KINDS = groups.KINDS


def machine_logs(directory: Path) -> list[Path]:
    """Copies of this machine's own logs, so that nobody else writes to them meanwhile."""
    present = [Path(name) for name in MACHINE_LOGS if Path(name).exists()]
    millstream = os.environ.get("EVENT_LOG_MILLSTREAM_LOG")
    if millstream:
        present.append(Path(millstream))
    copies = [Path(shutil.copyfile(log, directory / log.name)) for log in present]
    assert copies, f"none of {MACHINE_LOGS} is there to test with"
    return copies


def test_this_machines_logs_and_http_events_reach_all_three_groups_of_three(
    application: Application, tmp_path: Path
) -> None:
    logs = machine_logs(tmp_path)
    start_consumers(application, members=3)
    application.start("tail", *(f"--file={log.stem}={log}" for log in logs))
    application.start_http()
    status, answer = application.post(
        [{"source": "web", "level": "error", "message": f"boom {n}"} for n in range(6)]
    )
    assert (status, answer["accepted"]) == (200, 6)

    in_files = {log.stem: lines_of(log) for log in logs}
    until_sent(application, in_files)
    counts = verified(application)
    assert {source: row["archive"] for source, row in counts.items()} == in_files | {"web": 6}

    def shared() -> bool:
        states = groups.describe(application.settings)
        return all(len(s.members) == 3 and all(len(m.partitions) == 2 for m in s.members) for s in states)

    until("three members of two partitions each, in each group", shared)
    assert "3 members, lag 0" in application.ask("status").stdout

    found = application.ask("search", "boom", "3", "--source=web", "--level=error", "--json")
    assert [json.loads(line)["message"] for line in found.stdout.splitlines()] == ["boom 3"]
    package = application.ask("search", "libc-bin:amd64", "--limit=1")
    assert package.returncode == 0 and "libc-bin:amd64" in package.stdout
    assert "web  6 of 6 events are errors (100 %)" in application.ask("raised").stdout


def test_a_record_says_what_it_is_in_key_and_headers(application: Application) -> None:
    application.start_http()
    assert application.post({"source": "web", "message": "hello", "id": "w-1"})[0] == 200
    consumer = KafkaConsumer(
        application.settings.topic,
        bootstrap_servers=application.settings.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    )
    record = next(consumer)
    consumer.close()
    assert record.key == b"web"
    assert dict(record.headers)["event-id"] == b"w-1"
    assert json.loads(record.value)["message"] == "hello"


def test_the_tail_killed_again_and_again_amid_rotations_loses_and_doubles_nothing(
    application: Application, tmp_path: Path, seed: random.Random
) -> None:
    start_consumers(application)
    writer = Writer(tmp_path / "app.log", seconds=5.0, rotate=True)
    writer.path.touch()
    application.start("tail", f"--file=app={writer.path}")
    until("the tail to know the file", lambda: application.settings.tail_db.exists() and known(application))
    writer.start()
    kills = 0
    while writer.is_alive():
        time.sleep(seed.uniform(0.4, 1.6))
        application.kill("tail")
        application.start("tail", f"--file=app={writer.path}")
        kills += 1
    until_sent(application, written_by(writer))
    assert kills >= 3
    assert verified(application)["app"]["index"] == writer.written


def test_the_http_part_killed_amid_requests_keeps_every_event_it_answered_for(
    application: Application, seed: random.Random
) -> None:
    start_consumers(application)
    application.start_http()
    answered: set[str] = set()
    stop = threading.Event()

    def client(name: str) -> None:
        """Posts under its own ids, and repeats what got no answer."""
        number = 0
        while not stop.is_set():
            events = [
                {"id": f"{name}-{number + n}", "source": name, "message": f"event {number + n}"}
                for n in range(5)
            ]
            try:
                if application.post(events)[0] == 200:
                    answered.update(str(one["id"]) for one in events)
                    number += 5
            except OSError:
                stop.wait(0.05)

    clients = [threading.Thread(target=client, args=(f"client-{n}",)) for n in range(3)]
    for thread in clients:
        thread.start()
    for _ in range(3):
        time.sleep(seed.uniform(0.3, 1.2))
        application.kill("http")
        application.start_http()
    time.sleep(0.5)
    stop.set()
    for thread in clients:
        thread.join()

    counts = verified(application)
    assert len(answered) > 50
    taken = sum(row["index"] for row in counts.values())
    # What was taken and whose answer the kill swallowed may be more, by one request of each client.
    assert len(answered) <= taken <= len(answered) + 15
    found = application.ask("search", "--limit=1000000", "--json")
    assert answered <= {json.loads(line)["id"] for line in found.stdout.splitlines()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_killed_amid_its_work_goes_on_without_gap_or_double_count(
    application: Application, tmp_path: Path, seed: random.Random, kind: str
) -> None:
    start_consumers(application, but=kind)
    application.start_members(kind, 3)
    writers = [Writer(tmp_path / f"app-{n}.log", seconds=3.0) for n in range(4)]
    for writer in writers:
        writer.path.touch()
        writer.start()
    application.start("tail", *(f"--file={writer.path.stem}={writer.path}" for writer in writers))
    while any(writer.is_alive() for writer in writers):
        time.sleep(seed.uniform(0.3, 1.2))
        victim = f"{kind} {seed.randint(1, 3)}"
        application.kill(victim)
        application.start(victim)
    until_sent(application, written_by(*writers))
    assert {source: row[kind] for source, row in verified(application).items()} == written_by(*writers)


def test_members_that_come_and_go_share_the_partitions_anew(application: Application, tmp_path: Path) -> None:
    def partitions() -> list[int]:
        state = next(s for s in groups.describe(application.settings) if s.group.endswith(".index"))
        return sorted(len(member.partitions) for member in state.members)

    writer = Writer(tmp_path / "app.log", seconds=4.0)
    writer.path.touch()
    application.start("tail", f"--file=app={writer.path}")
    start_consumers(application)
    until("one member", lambda: partitions() == [6])
    writer.start()
    application.start("index 2")
    application.start("index 3")
    until("three members", lambda: partitions() == [2, 2, 2])
    application.stop("index 1")
    until("two members, once the session of the third has ended", lambda: partitions() == [3, 3])
    writer.join()
    until_sent(application, written_by(writer))
    assert verified(application)["app"]["index"] == writer.written


def test_all_of_it_killed_at_once_comes_back_complete(application: Application, tmp_path: Path) -> None:
    logs = machine_logs(tmp_path)
    writer = Writer(tmp_path / "app.log", seconds=4.0)
    writer.path.touch()
    writer.start()
    arguments = [
        "--members=1",
        "--listen=127.0.0.1:0",
        *(f"--file={log.stem}={log}" for log in [*logs, writer.path]),
    ]
    application.start("up", *arguments)
    until("events in the index", lambda: application.ask("search", "line").returncode == 0)
    application.kill("up")
    application.start("up", *arguments)
    writer.join()
    expected = written_by(writer) | {log.stem: lines_of(log) for log in logs}
    until_sent(application, expected)
    assert {source: row["index"] for source, row in verified(application).items()} == expected
    application.processes["up"].send_signal(signal.SIGTERM)
    assert application.processes["up"].wait(20) == 0


def test_a_record_that_is_no_event_stops_nobody_and_is_reported(application: Application) -> None:
    application.start_http()
    assert application.post({"source": "web", "message": "before"})[0] == 200
    producer = KafkaProducer(bootstrap_servers=application.settings.bootstrap)
    producer.send(application.settings.topic, key=b"web", value=b"garbage").get(10)
    producer.send(application.settings.topic, key=b"web", value=None).get(10)
    producer.close()
    assert application.post({"source": "web", "message": "after"})[0] == 200
    start_consumers(application)
    assert verified(application)["web"]["index"] == 2
    assert json.loads(application.ask("verify", "--json").stdout)["rejected"] == 2


def test_a_second_tail_on_the_same_state_is_refused(application: Application, tmp_path: Path) -> None:
    application.start("tail", f"--file=app={tmp_path / 'app.log'}")
    until("the first to have its lock", lambda: application.settings.tail_db.exists())
    second = application.ask("tail", f"--file=app={tmp_path / 'app.log'}")
    assert second.returncode == 2
    assert "another one is running" in second.stderr


def test_an_address_where_nobody_listens_is_one_clear_sentence(application: Application) -> None:
    answer = application.ask("status", "--bootstrap=127.0.0.1:1")
    assert answer.returncode == 1
    assert answer.stderr.startswith("event-log: Kafka at 127.0.0.1:1: ")
    assert "Traceback" not in answer.stderr
