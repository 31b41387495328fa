"""Events to Kafka: `send` returns when every one of them is acknowledged by the whole cluster.

The producer is idempotent and retries by itself until `delivery_timeout`. After a failure it is thrown
away: the next call starts a new one, and the events sent again carry the ids they had.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from event_log.event import Event


class DeliveryFailed(Exception):
    """Not known to be written: some may be, some may not. Send them again with the same ids."""


class Sender:
    def __init__(self, bootstrap: str, topic: str, client_id: str, delivery_timeout: float = 30.0) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._client_id = client_id
        self._timeout = delivery_timeout
        self._lock = threading.Lock()
        self._producer: Any = None

    def send(self, events: Sequence[Event]) -> None:
        self.send_records([(event.key(), event.encode(), event.headers()) for event in events])

    def send_records(self, records: Sequence[tuple[bytes, bytes, list[tuple[str, bytes]]]]) -> None:
        producer = None
        deadline = time.monotonic() + self._timeout
        try:
            producer = self._connected()
            futures = [
                producer.send(self._topic, key=key, value=value, headers=headers)
                for key, value, headers in records
            ]
            for future in futures:
                future.get(timeout=max(0.1, deadline - time.monotonic()))
        except (KafkaError, OSError) as error:
            self._discard(producer)
            raise DeliveryFailed(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._discard(self._producer)

    def _connected(self) -> Any:
        with self._lock:
            if self._producer is None:
                self._producer = KafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    client_id=self._client_id,
                    acks="all",
                    enable_idempotence=True,
                    compression_type="gzip",
                    linger_ms=5,
                    batch_size=128 * 1024,
                    bootstrap_timeout_ms=5_000,
                    max_block_ms=5_000,
                    request_timeout_ms=min(10_000, int(self._timeout * 1000)),
                    delivery_timeout_ms=int(self._timeout * 1000),
                )
            return self._producer

    def _discard(self, failed: Any) -> None:
        with self._lock:
            if failed is None or failed is not self._producer:
                return
            self._producer = None
        # Outside the lock: it waits for what is under way.
        failed.close(timeout=0.5)
