"""The command line: `event-log up` for everything, or each part by name."""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

from kafka.errors import KafkaError

from event_log import account, alerts, groups, index, settings, supervisor, topics
from event_log.alerts import Alerts, Threshold
from event_log.archive import Archive
from event_log.database import connect_read_only
from event_log.index import BadQuery, Index, Query
from event_log.ingest import Ingest, Server
from event_log.ingest import run as run_ingest
from event_log.member import Member, NotJoined, Sink
from event_log.outbox import Outbox
from event_log.positions import Positions
from event_log.sender import Sender
from event_log.settings import Settings
from event_log.supervisor import Part
from event_log.tailer import Tailer, Watched

USUAL_FILES = (
    ("dpkg", "/var/log/dpkg.log"),
    ("apt", "/var/log/apt/history.log"),
    ("apt-term", "/var/log/apt/term.log"),
    ("syslog", "/var/log/syslog"),
)
_FLAG_OF_HTTP = "127.0.0.1:8090"


class Usage(Exception):
    """Something the user can put right; the text says how."""


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    stop = _stop_on_signals()
    if getattr(parsed, "with_parent", False):
        _stop_with_parent(stop)
    try:
        code: int = parsed.run(parsed, settings.from_arguments(parsed), stop)
        return code
    except Usage as error:
        print(f"event-log: {error}", file=sys.stderr)
        return 2
    except NotJoined as error:
        print(f"event-log: {error}", file=sys.stderr)
        return 1
    except KafkaError as error:
        print(f"event-log: Kafka at {parsed.bootstrap}: {error}", file=sys.stderr)
        return 1


def _up(args: argparse.Namespace, config: Settings, stop: threading.Event) -> int:
    topics.ensure(config)
    flags = config.flags()
    files = [f"--file={watched.source}={watched.path}" for watched in _watched(args.file)]
    parts = [Part("http", ["http", *flags, f"--listen={args.listen}"])]
    if files:
        parts.append(Part("tail", ["tail", *flags, *files, *(["--from-end"] if args.from_end else [])]))
    for kind in groups.KINDS:
        for number in range(1, args.members + 1):
            parts.append(Part(f"{kind} {number}", [kind, *flags, f"--member={number}"]))
    supervisor.run(parts, stop)
    return 0


def _tail(args: argparse.Namespace, config: Settings, stop: threading.Event) -> int:
    watched = _watched(args.file)
    if not watched:
        raise Usage("nothing to tail: give --file SOURCE=PATH")
    with _alone(config.state, "tail"):
        topics.ensure(config)
        sender = Sender(config.bootstrap, config.topic, "event-log-tail")
        positions = Positions(config.tail_db)
        tailer = Tailer(
            watched,
            positions,
            sender,
            config.host,
            from_end=args.from_end,
            rotate_wait=args.rotate_wait,
        )
        tailer.run(stop)
        sender.close()
    return 0


def _http(args: argparse.Namespace, config: Settings, stop: threading.Event) -> int:
    host, _, port = args.listen.rpartition(":")
    with _alone(config.state, "http"):
        topics.ensure(config)
        sender = Sender(config.bootstrap, config.topic, "event-log-http", delivery_timeout=15.0)
        ingest = Ingest(Outbox(config.http_db), sender, config.host)
        try:
            server = Server((host.strip("[]"), int(port)), ingest)
        except (OSError, ValueError, OverflowError) as error:
            raise Usage(f"cannot listen on {args.listen}: {error}") from None
        logging.info("events are taken at http://%s:%d/events", host, server.server_address[1])
        run_ingest(server, ingest, stop)
        sender.close()
    return 0


def _member(make: Callable[[argparse.Namespace, Settings, str], Sink], linger: float) -> Callable[..., int]:
    def run(args: argparse.Namespace, config: Settings, stop: threading.Event) -> int:
        sink = make(args, config, topics.ensure(config))
        Member(config, args.command, args.member, sink, linger).run(stop)
        return 0

    return run


def _make_alerts(args: argparse.Namespace, config: Settings, topic_id: str) -> Alerts:
    announcer = Sender(config.bootstrap, config.alert_topic, "event-log-alerts", delivery_timeout=15.0)
    return Alerts(config.alerts_db, topic_id, Threshold(args.rate, args.errors), announcer)


def _search(args: argparse.Namespace, config: Settings, _: threading.Event) -> int:
    query = Query(
        words=" ".join(args.words),
        raw=args.raw,
        source=args.source,
        level=args.level,
        host=args.from_host,
        since=args.since,
        until=args.until,
        limit=args.limit,
    )
    with closing(_database(config.index_db)) as db:
        try:
            hits = index.search(db, query)
        except BadQuery as error:
            raise Usage(str(error)) from None
    for hit in hits:
        if args.json:
            sys.stdout.write(hit.document.decode() + "\n")
        else:
            print(f"{hit.time}  {hit.level:5}  {hit.source}  {hit.message}")
    return 0 if hits else 1


def _alert_list(args: argparse.Namespace, config: Settings, _: threading.Event) -> int:
    with closing(_database(config.alerts_db)) as db:
        for alert in alerts.raised(db, args.limit):
            rate = 100 * alert.errors / alert.events
            figures = f"{alert.errors} of {alert.events} events are errors ({rate:.0f} %)"
            print(f"{alert.minute}  {alert.source}  {figures}")
    return 0


def _status(args: argparse.Namespace, config: Settings, _: threading.Event) -> int:
    for group in groups.describe(config):
        print(f"{group.group}: {group.state}, {len(group.members)} members, lag {group.lag}")
        for member in group.members:
            print(f"    {member.name}: partitions {', '.join(map(str, member.partitions)) or 'none'}")
    return 0


def _verify(args: argparse.Namespace, config: Settings, _: threading.Event) -> int:
    if args.forget_gaps and config.tail_db.exists():
        Positions(config.tail_db).forget_gaps()
    found = account.wait_until_complete(config, args.wait)
    if args.json:
        print(json.dumps(account.as_document(found)))
    else:
        print(account.table(found))
        differing = ", ".join(found.differing()) or "events are under way, or there is a gap"
        print("every event is accounted for" if found.complete else f"NOT complete: {differing}")
    return 0 if found.complete else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="event-log", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., int], help_text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_text, description=help_text)
        settings.add_arguments(added)
        added.set_defaults(run=run)
        return added

    up = command("up", _up, "everything: tail, HTTP, and three members of each kind of consumer")
    up.add_argument("--members", type=int, default=3, help="members of each group (default 3)")
    tail = command("tail", _tail, "send log files")
    http = command("http", _http, "take events over HTTP")
    for sends_files in (up, tail):
        sends_files.add_argument(
            "--file",
            action="append",
            default=[],
            metavar="SOURCE=PATH",
            help="a log file; repeat (default: those of dpkg, apt and syslog that are there)",
        )
        sends_files.add_argument(
            "--from-end", action="store_true", help="skip what the files hold at the first start"
        )
    tail.add_argument(
        "--rotate-wait", type=float, default=5.0, help="seconds a renamed file is still read (default 5)"
    )
    for listens in (up, http):
        default = os.environ.get("EVENT_LOG_LISTEN", _FLAG_OF_HTTP)
        listens.add_argument("--listen", default=default, metavar="HOST:PORT", help=f"default {default}")
    index_part = command(
        "index", _member(lambda _, c, t: Index(c.index_db, t), 0.0), "a member of the index's group"
    )
    alerts_part = command("alerts", _member(_make_alerts, 0.0), "a member of the alerts' group")
    archive_part = command(
        "archive", _member(lambda _, c, t: Archive(c.archive, t), 1.0), "a member of the archive's group"
    )
    for member in (index_part, alerts_part, archive_part):
        member.add_argument(
            "--member", type=int, help="its number, for a static member that returns without a rebalance"
        )
    alerts_part.add_argument(
        "--rate", type=float, default=0.2, help="the part of a minute's events (default 0.2)"
    )
    alerts_part.add_argument("--errors", type=int, default=5, help="the least errors in a minute (default 5)")
    for part in (tail, http, index_part, alerts_part, archive_part):
        part.add_argument("--with-parent", action="store_true", help="stop when standard input closes")
    _add_questions(command)
    return parser


def _add_questions(command: Callable[..., argparse.ArgumentParser]) -> None:
    search = command("search", _search, "search the index; the newest first")
    search.add_argument("words", nargs="*", help="all of them must be in the message")
    search.add_argument(
        "--raw", action="store_true", help="the words are FTS5's language: AND, OR, NOT, prefix*"
    )
    search.add_argument("--source")
    search.add_argument("--level")
    search.add_argument("--from-host", help="events of this host")
    search.add_argument("--since", metavar="TIME", help="as 2026-11-24 or 2026-11-24T10:05Z")
    search.add_argument("--until", metavar="TIME")
    search.add_argument("--limit", type=int, default=20)
    search.add_argument("--json", action="store_true", help="whole events, a line each")
    raised = command("raised", _alert_list, "the alerts that were raised; the newest first")
    raised.add_argument("--limit", type=int, default=20)
    command("status", _status, "the groups: members, partitions, lag")
    verify = command("verify", _verify, "count every event at both ends; exit 1 unless all agree")
    verify.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="give events under way this long"
    )
    verify.add_argument("--json", action="store_true")
    verify.add_argument(
        "--forget-gaps", action="store_true", help="those reported so far are no failure any more"
    )


def _watched(files: Sequence[str]) -> list[Watched]:
    watched = []
    for text in files:
        source, separator, path = text.partition("=")
        if not separator or not path:
            raise Usage(f"--file {text!r}: SOURCE=PATH is expected, as dpkg=/var/log/dpkg.log")
        watched.append(Watched(source, Path(path).absolute()))
    return watched or [Watched(source, Path(path)) for source, path in USUAL_FILES if Path(path).exists()]


class _alone:
    """One of a kind to a state directory: two tails would send everything twice."""

    def __init__(self, state: Path, part: str) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._path = state / f"{part}.lock"
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Usage(f"another one is running on {self._path.parent} (lock {self._path.name})") from None

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def _database(path: Path) -> sqlite3.Connection:
    db = connect_read_only(path)
    if db is None:
        raise Usage(f"{path} is not there yet; start the parts with `event-log up`, or say --state")
    return db


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _stop_with_parent(stop: threading.Event) -> None:
    def wait_for_end() -> None:
        sys.stdin.buffer.read()
        stop.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
