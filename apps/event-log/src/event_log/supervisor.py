"""All parts at once, a process each: one that dies is started again, and none outlives this one."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

RESTART_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Part:
    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = field(default=None)
    started: float = 0.0
    pause: float = 0.5

    def start(self) -> None:
        command = [sys.executable, "-m", "event_log", *self.arguments, "--with-parent"]
        # The part stops when this pipe closes, also if we are killed.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        self.started = time.monotonic()
        log.info("%s: process %d", self.name, self.process.pid)


def run(parts: Sequence[Part], stop: threading.Event) -> None:
    for part in parts:
        part.start()
    while not stop.wait(0.2):
        for part in parts:
            _look_after(part, stop)
    _stop_all(parts)


def _look_after(part: Part, stop: threading.Event) -> None:
    if part.process is None or part.process.poll() is None:
        return
    lived = time.monotonic() - part.started
    part.pause = 0.5 if lived > 60 else min(part.pause * 2, RESTART_SECONDS_MAX)
    log.error("%s: ended with %s, starting again in %.0f s", part.name, part.process.returncode, part.pause)
    if not stop.wait(part.pause):
        part.start()


def _stop_all(parts: Sequence[Part]) -> None:
    running = [part.process for part in parts if part.process and part.process.poll() is None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS_MAX
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.error("process %d does not stop: killed", process.pid)
            process.kill()
            process.wait()
