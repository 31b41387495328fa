"""The broker killed under the event log: its own Millstream, from the binary EVENT_LOG_MILLSTREAM names."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Application, Writer, running, start_consumers, until, until_sent, verified, written_by

from event_log.settings import Settings


class Broker:
    def __init__(self, binary: str, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._ready = directory / "ready"
        self._command = [
            binary,
            "up",
            f"--data={directory / 'data'}",
            f"--listen=PLAINTEXT://{self.address}",
            "--console-port=0",
            f"--ready-file={self._ready}",
            "--output=json",
        ]
        self.start()

    def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until("Millstream to be ready", self._ready.exists)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    started = Broker(os.environ["EVENT_LOG_MILLSTREAM"], tmp_path)
    yield started
    started.kill()


@pytest.fixture
def on_it(broker: Broker, tmp_path: Path) -> Iterator[Application]:
    settings = Settings(broker.address, "events", tmp_path / "state", "test-host", partitions=6)
    with running(settings) as application:
        yield application


def test_the_broker_killed_again_and_again_loses_and_doubles_nothing(
    broker: Broker, on_it: Application, tmp_path: Path, seed: random.Random
) -> None:
    """The parts run under `up`: one that gives up while the broker is away is started again."""
    writers = [Writer(tmp_path / f"app-{n}.log", seconds=6.0) for n in range(2)]
    for writer in writers:
        writer.path.touch()
        writer.start()
    files = [f"--file={writer.path.stem}={writer.path}" for writer in writers]
    on_it.start("up", "--members=1", "--listen=127.0.0.1:0", *files)
    while any(writer.is_alive() for writer in writers):
        time.sleep(seed.uniform(0.8, 2.0))
        broker.kill()
        broker.start()
    until_sent(on_it, written_by(*writers))
    counts = verified(on_it)
    assert {source: row["index"] for source, row in counts.items()} == written_by(*writers)


def test_the_consumers_follow_the_broker_that_comes_back(
    broker: Broker, on_it: Application, tmp_path: Path
) -> None:
    log = Writer(tmp_path / "app.log", seconds=1.0)
    log.run()
    start_consumers(on_it)
    on_it.start("tail", f"--file=app={log.path}")
    until_sent(on_it, written_by(log))
    verified(on_it)
    broker.kill()
    log.run()
    broker.start()
    until_sent(on_it, written_by(log))
    assert verified(on_it)["app"]["index"] == log.written
