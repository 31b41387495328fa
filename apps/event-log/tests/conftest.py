"""EVENT_LOG_BOOTSTRAP names the Kafka or Millstream that the tests of the whole application run on,
EVENT_LOG_MILLSTREAM the binary of one that may be killed."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Application, running

from event_log.settings import Settings

# Without a Millstream to kill there is nothing to test there.
collect_ignore = [] if os.environ.get("EVENT_LOG_MILLSTREAM") else ["test_broker.py"]


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


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> random.Random:
    """The moments of the kills. Set EVENT_LOG_SEED to repeat a run."""
    number = int(os.environ.get("EVENT_LOG_SEED", random.SystemRandom().randrange(2**32)))
    print(f"repeat with: EVENT_LOG_SEED={number} pytest {request.node.nodeid}")
    return random.Random(number)
