"""EVENT_LOG_BOOTSTRAP names the Kafka or Millstream that the tests of the whole application run on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Application, running

from event_log.settings import Settings


@pytest.fixture(scope="session")
def bootstrap() -> str:
    address = os.environ.get("EVENT_LOG_BOOTSTRAP")
    if not address:
        pytest.fail("set EVENT_LOG_BOOTSTRAP=HOST:PORT to a running Millstream or Apache Kafka")
    return address


@pytest.fixture
def settings(bootstrap: str, tmp_path: Path) -> Settings:
    """A topic and groups of its own for each test."""
    topic = f"events-{secrets.token_hex(4)}"
    return Settings(bootstrap, topic, tmp_path / "state", "test-host", partitions=6)


@pytest.fixture
def application(settings: Settings) -> Iterator[Application]:
    with running(settings) as started:
        yield started
