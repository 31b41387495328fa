"""Events over HTTP.

    POST /events   one event or an array of them, as JSON. 200 when Kafka has acknowledged all of them.
    GET  /healthz  200 while the part runs

Only `source` and `message` must be given. `level` is info, `time` now, `host` this host, and `id` a new
one unless said; a client that retries should bring its own ids. Refusals are JSON too, and name the
event and the field: {"error": …, "index": 3, "field": "level"}. All events of a request are taken, or none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
import uuid
from datetime import datetime, timezone
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from socket import socket as Socket
from typing import Any

from event_log.event import InvalidEvent, format_time, from_document, parse_json
from event_log.outbox import IdInUse, Outbox, Taken
from event_log.sender import DeliveryFailed
from event_log.tailer import Sends

BODY_BYTES_MAX = 4 * 1024 * 1024
EVENTS_MAX = 1000
BODY_SECONDS_MAX = 10.0
CONNECTIONS_MAX = 64
RESEND_AFTER_SECONDS = 30.0

log = logging.getLogger(__name__)


class Refused(Exception):
    def __init__(self, status: HTTPStatus, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, **more}


class Ingest:
    """What a request means, without HTTP."""

    def __init__(self, outbox: Outbox, sender: Sends, host: str) -> None:
        self._outbox = outbox
        self._sender = sender
        self._host = host

    def take(self, body: bytes) -> dict[str, Any]:
        taken = self._read(body)
        try:
            accepted = self._outbox.accept(taken)
        except IdInUse as error:
            text = f"id {error.event_id!r} was used for a different event"
            raise Refused(HTTPStatus.CONFLICT, text, index=error.index, field="id") from None
        ids = [one.event.id for one in taken]
        if accepted.to_send:
            try:
                self._sender.send(accepted.to_send)
            except DeliveryFailed as error:
                log.warning("%d events not delivered yet: %s", len(accepted.to_send), error)
                text = "Kafka has not acknowledged the events; they are kept, and sent again under these ids"
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, text, ids=ids) from None
            self._outbox.acknowledged(accepted.to_send)
        return {"accepted": len(accepted.to_send), "duplicates": accepted.duplicates, "ids": ids}

    def resend(self, older_than: float) -> int:
        """Sends again what was taken and never acknowledged."""
        total = 0
        while events := self._outbox.pending(older_than):
            self._sender.send(events)
            self._outbox.acknowledged(events)
            total += len(events)
        return total

    def _read(self, body: bytes) -> list[Taken]:
        try:
            document = parse_json(body)
        except InvalidEvent as error:
            raise Refused(HTTPStatus.BAD_REQUEST, error.problem) from None
        many = document if isinstance(document, list) else [document]
        if not many:
            raise Refused(HTTPStatus.BAD_REQUEST, "an empty array: nothing to take")
        if len(many) > EVENTS_MAX:
            raise Refused(HTTPStatus.BAD_REQUEST, f"{len(many)} events; at most {EVENTS_MAX} in a request")
        taken = []
        now = format_time(datetime.now(timezone.utc))
        for index, one in enumerate(many):
            try:
                defaults = {"id": str(uuid.uuid4()), "level": "info", "time": now, "host": self._host}
                taken.append(Taken(from_document(one, **defaults), _digest(one)))
            except InvalidEvent as error:
                where: dict[str, Any] = {"index": index} if isinstance(document, list) else {}
                if error.field_name:
                    where["field"] = error.field_name
                raise Refused(HTTPStatus.BAD_REQUEST, error.problem, **where) from None
        return taken


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "event-log"
    sys_version = ""
    timeout = 30
    server: Server

    def do_POST(self) -> None:
        try:
            if self.path != "/events":
                raise Refused(HTTPStatus.NOT_FOUND, f"nothing at {self.path[:80]}; events go to POST /events")
            self._answer(HTTPStatus.OK, self.server.ingest.take(self._body()))
        except Refused as refused:
            self._answer(refused.status, refused.body)
        except Exception:
            log.exception("a request failed")
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "the event log failed; see its log"})

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer(HTTPStatus.OK, {"status": "ok"})
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"nothing at {self.path[:80]}"})

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers or "Content-Length" not in self.headers:
            self.close_connection = True
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
        try:
            length = int(self.headers["Content-Length"])
        except ValueError:
            length = -1
        if not 0 <= length <= BODY_BYTES_MAX:
            self.close_connection = True
            if length < 0:
                raise Refused(HTTPStatus.BAD_REQUEST, "Content-Length is not a number of bytes")
            text = f"a body of {length} bytes; at most {BODY_BYTES_MAX}"
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        deadline = time.monotonic() + BODY_SECONDS_MAX
        body = bytearray()
        while len(body) < length:
            left = deadline - time.monotonic()
            self.connection.settimeout(max(0.01, left))
            try:
                part = self.rfile.read1(min(65536, length - len(body)))
            except TimeoutError:
                self.close_connection = True
                text = f"{len(body)} of {length} bytes came within {BODY_SECONDS_MAX:.0f} s"
                raise Refused(HTTPStatus.REQUEST_TIMEOUT, text) from None
            if not part:
                self.close_connection = True
                raise Refused(HTTPStatus.BAD_REQUEST, f"the body ended after {len(body)} of {length} bytes")
            body += part
        self.connection.settimeout(self.timeout)
        return bytes(body)

    def _answer(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode() + b"\n"
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


class Server(ThreadingHTTPServer):
    """At most CONNECTIONS_MAX at once; the next is told so and closed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], ingest: Ingest) -> None:
        if ":" in address[0]:
            self.address_family = AF_INET6
        super().__init__(address, Handler)
        self.ingest = ingest
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            _turn_away(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()


def run(server: Server, ingest: Ingest, stop: threading.Event) -> None:
    """Serves until told to stop. What an earlier run left unsent goes first."""
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    older_than = 0.0
    while not stop.is_set():
        try:
            resent = ingest.resend(older_than)
            if resent:
                log.info("sent %d events again that had not been acknowledged", resent)
            older_than = RESEND_AFTER_SECONDS
        except DeliveryFailed as error:
            log.warning("cannot send what is kept: %s", error)
        stop.wait(2.0)
    server.shutdown()
    server.server_close()


def _digest(document: object) -> bytes:
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).digest()


def _turn_away(request: Socket) -> None:
    body = b'{"error": "too many connections"}\n'
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        request.settimeout(1.0)
        request.sendall(head.encode() + body)
    except OSError:
        pass
