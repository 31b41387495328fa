"""What every part is told, by flag or by environment (`--bootstrap`, EVENT_LOG_BOOTSTRAP, …)."""

from __future__ import annotations

import argparse
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    bootstrap: str
    topic: str
    state: Path
    host: str
    partitions: int

    @property
    def alert_topic(self) -> str:
        return f"{self.topic}.alerts"

    def group(self, kind: str) -> str:
        """Each kind of consumer is a group of its own, so that each sees every event."""
        return f"{self.topic}.{kind}"

    @property
    def tail_db(self) -> Path:
        return self.state / "tail.db"

    @property
    def http_db(self) -> Path:
        return self.state / "http.db"

    @property
    def index_db(self) -> Path:
        return self.state / "index.db"

    @property
    def alerts_db(self) -> Path:
        return self.state / "alerts.db"

    @property
    def archive(self) -> Path:
        return self.state / "archive"

    def connection(self, client_id: str) -> dict[str, Any]:
        """What every Kafka client here is given."""
        return {"bootstrap_servers": self.bootstrap, "client_id": client_id, "bootstrap_timeout_ms": 5_000}

    def flags(self) -> list[str]:
        """The same settings as a command line, for a child process."""
        return [
            f"--bootstrap={self.bootstrap}",
            f"--topic={self.topic}",
            f"--state={self.state}",
            f"--host={self.host}",
            f"--partitions={self.partitions}",
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    def option(name: str, default: str, help_text: str) -> None:
        variable = f"EVENT_LOG_{name.upper()}"
        parser.add_argument(
            f"--{name}",
            default=os.environ.get(variable, default),
            help=f"{help_text} ({variable}; default {default})",
        )

    option("bootstrap", "127.0.0.1:9092", "the Kafka cluster, HOST:PORT[,HOST:PORT]")
    option("topic", "events", "the topic of events")
    option("state", str(_default_state()), "where positions, the index and the archive are kept")
    option("host", socket.gethostname(), "the host that events are said to come from")
    option("partitions", "6", "partitions of the topic, if it is created")


def from_arguments(arguments: argparse.Namespace) -> Settings:
    return Settings(
        bootstrap=arguments.bootstrap,
        topic=arguments.topic,
        state=Path(arguments.state),
        host=arguments.host,
        partitions=int(arguments.partitions),
    )


def _default_state() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "event-log"
