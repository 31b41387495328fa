"""The HTTP part: what it takes, what it refuses and how it says so."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import KeepingSender, post

from event_log.ingest import BODY_BYTES_MAX, CONNECTIONS_MAX, EVENTS_MAX, Ingest, Server
from event_log.outbox import Outbox


class Service:
    def __init__(self, directory: Path) -> None:
        self.sender = KeepingSender()
        self.outbox = Outbox(directory / "http.db")
        self.ingest = Ingest(self.outbox, self.sender, "here")
        self.server = Server(("127.0.0.1", 0), self.ingest)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/events"

    def raw(self, request: bytes) -> bytes:
        """The answer to bytes that no HTTP library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    started = Service(tmp_path)
    thread = threading.Thread(target=started.server.serve_forever, args=(0.02,))
    thread.start()
    yield started
    started.server.shutdown()
    thread.join()
    started.server.server_close()


def test_one_event_is_taken_with_what_it_leaves_out_filled_in(service: Service) -> None:
    status, answer = post(service.url, b'{"source": "web", "message": "hello"}')
    assert status == 200
    assert (answer["accepted"], answer["ids"]) == (1, service.sender.ids)
    sent = service.sender.events[0]
    assert (sent.source, sent.level, sent.host, sent.message) == ("web", "info", "here", "hello")


def test_an_array_is_taken_in_order(service: Service) -> None:
    body = [{"source": "web", "message": str(n), "id": f"i{n}"} for n in range(EVENTS_MAX)]
    status, answer = post(service.url, json.dumps(body).encode())
    assert (status, answer["accepted"]) == (200, EVENTS_MAX)
    assert service.sender.messages == [str(n) for n in range(EVENTS_MAX)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", {"error": "not JSON: Expecting value at line 1 column 1"}),
        (b"\xff", {"error": "not UTF-8 at byte 0"}),
        (b"[]", {"error": "an empty array: nothing to take"}),
        (b"7", {"error": "an event is a JSON object, not a number"}),
        (b'{"message": "m"}', {"error": "missing", "field": "source"}),
        (
            b'[{"source": "a", "message": "m"}, {"source": "a", "message": 1}]',
            {"error": "a string is expected, not a number", "index": 1, "field": "message"},
        ),
        (b"[" * 200_000, {"error": "JSON nested too deeply"}),
    ],
)
def test_bad_input_is_refused_with_the_event_and_the_field(
    service: Service, body: bytes, expected: object
) -> None:
    assert post(service.url, body) == (400, expected)
    assert service.sender.events == []


def test_one_wrong_event_refuses_the_whole_request(service: Service) -> None:
    body = b'[{"source": "a", "message": "good", "id": "g"}, {"source": "a"}]'
    assert post(service.url, body)[0] == 400
    assert post(service.url, b'{"source": "a", "message": "other", "id": "g"}')[0] == 200


def test_too_many_events_are_refused(service: Service) -> None:
    body = json.dumps([{"source": "a", "message": "m"}] * (EVENTS_MAX + 1)).encode()
    status, answer = post(service.url, body)
    assert (status, answer["error"]) == (400, f"{EVENTS_MAX + 1} events; at most {EVENTS_MAX} in a request")


def test_a_body_over_the_limit_is_refused_before_it_is_read(service: Service) -> None:
    answer = service.raw(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"].endswith(f"at most {BODY_BYTES_MAX}")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: seven\r\n", b"400"),
        (b"Content-Length: -1\r\n", b"400"),
        (b"Content-Length: 10\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\n", b"411"),
        (b"", b"411"),
    ],
)
def test_odd_framing_is_answered(service: Service, head: bytes, status: bytes) -> None:
    answer = service.raw(b"POST /events HTTP/1.1\r\nHost: x\r\n" + head + b"\r\nabc")
    assert answer.split()[1] == status


def test_other_paths_are_not_found(service: Service) -> None:
    assert post(service.url + "/x", b"{}")[0] == 404


def test_a_repeated_id_is_taken_once(service: Service) -> None:
    body = b'{"source": "a", "message": "m", "id": "same"}'
    assert post(service.url, body)[1]["accepted"] == 1
    status, answer = post(service.url, body)
    assert (status, answer["accepted"], answer["duplicates"]) == (200, 0, 1)
    assert service.sender.ids == ["same"]


def test_an_id_used_for_another_event_is_a_conflict(service: Service) -> None:
    post(service.url, b'{"source": "a", "message": "m", "id": "same"}')
    status, answer = post(service.url, b'{"source": "a", "message": "other", "id": "same"}')
    assert (status, answer["field"]) == (409, "id")


def test_without_kafkas_acknowledgement_the_answer_is_503_and_the_event_is_kept(service: Service) -> None:
    service.sender.failures = 1
    status, answer = post(service.url, b'{"source": "a", "message": "m", "id": "one"}')
    assert (status, answer["ids"]) == (503, ["one"])
    assert service.ingest.resend(older_than=0.0) == 1
    assert service.sender.ids == ["one", "one"]
    assert service.ingest.resend(older_than=0.0) == 0
    assert post(service.url, b'{"source": "a", "message": "m", "id": "one"}')[1]["duplicates"] == 1


def test_a_retry_after_503_sends_the_event_that_was_kept(service: Service) -> None:
    service.sender.failures = 1
    body = b'{"source": "a", "message": "m", "id": "one"}'
    assert post(service.url, body)[0] == 503
    assert post(service.url, body)[0] == 200
    assert service.sender.events[0] == service.sender.events[1]
    assert service.ingest.resend(older_than=0.0) == 0


def test_one_connection_too_many_is_told_so(service: Service) -> None:
    held = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(CONNECTIONS_MAX)]
    try:
        answer = service.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    finally:
        for connection in held:
            connection.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
