"""The cases that every client goes through, for clients that are Python libraries.

Each client's program brings an adapter (see `Adapter`) and calls `main`. One JSON line is printed for each
case: {"case": ..., "status": "ok" | "fail" | "n/a", "detail": ...}.
"""

import json
import sys
import threading
import time
import traceback
from pathlib import Path

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
# acks=0 comes last: Kafka drops what reaches a new partition too early, and only here nobody would be told.
ACKS = ["all", "1", "0"]
WAIT_SECONDS = 30


class NotApplicable(Exception):
    """The client cannot do this; the text says why."""


class Record:
    def __init__(self, value, key=None, headers=(), timestamp=None, partition=None, offset=None):
        self.value, self.key, self.headers = value, key, list(headers)
        self.timestamp, self.partition, self.offset = timestamp, partition, offset


class Adapter:
    """What the cases ask of a client. Errors are the client's own exceptions."""

    name = "?"

    # Administration.
    def create_topic(self, topic, partitions, configs=None): raise NotImplementedError
    def partition_count(self, topic): raise NotImplementedError
    def topic_config(self, topic): raise NotImplementedError
    def alter_config(self, topic, configs): raise NotImplementedError
    def add_partitions(self, topic, total): raise NotImplementedError
    def delete_topic(self, topic): raise NotImplementedError
    def topics(self): raise NotImplementedError

    # Writing: returns [(partition, offset)]; offset None where acks=0 leaves it unknown.
    def produce(self, topic, records, codec="none", acks="all", size_max=1_000_000): raise NotImplementedError

    # Reading without a group: `count` records of the partition from "earliest", "latest" or an offset.
    # With "latest", `after_seek` is called once the position is known.
    def read(self, topic, partition, count, start="earliest", after_seek=None): raise NotImplementedError
    def offset_for_time(self, topic, partition, timestamp): raise NotImplementedError

    # A group member: an object with poll() -> [Record], assignment() -> set of partitions,
    # commit(partition, offset), committed(partition), close().
    def member(self, group, topic, auto_commit=True): raise NotImplementedError

    # What error a failure was: Kafka's name of it, such as "INVALID_TOPIC_EXCEPTION".
    def error_name(self, error): raise NotImplementedError

    def close(self): pass


def eventually(what, check):
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {WAIT_SECONDS} s for {what}; last answer {found!r}")
        time.sleep(0.05)


def equal(found, expected, what):
    assert found == expected, f"{what}: expected {expected!r}, found {found!r}"


class Cases:
    def __init__(self, client):
        self.client = client

    def topic(self, name, partitions=1, configs=None):
        topic = f"{self.client.name}-{name}"
        self.client.create_topic(topic, partitions, configs)
        eventually(f"{topic} to have leaders", lambda: self.client.partition_count(topic) == partitions)
        return topic

    # --- administration

    def admin_create_and_describe(self):
        topic = self.topic("created", 3, {"retention.ms": "7200000"})
        equal(self.client.topic_config(topic)["retention.ms"], "7200000", "retention.ms")
        assert topic in self.client.topics()
        return "3 partitions, retention.ms as set"

    def admin_alter_config(self):
        topic = self.topic("altered", 1, {"retention.ms": "7200000"})
        self.client.alter_config(topic, {"max.message.bytes": "65536"})
        eventually("the new value", lambda: self.client.topic_config(topic)["max.message.bytes"] == "65536")

    def admin_add_partitions(self):
        topic = self.topic("grown", 2)
        self.client.add_partitions(topic, 5)
        eventually("5 partitions", lambda: self.client.partition_count(topic) == 5)

    def admin_delete_topic(self):
        topic = self.topic("deleted", 1)
        self.client.delete_topic(topic)
        eventually("the topic to be gone", lambda: topic not in self.client.topics())

    # --- writing and reading

    def produce(self, codec, acks):
        topic = f"{self.client.name}-codec-{codec}"
        if topic not in self.client.topics():
            self.topic(f"codec-{codec}", 3)
        partition = ACKS.index(acks)
        values = [f"{codec} {acks} {i} ".encode() * 20 for i in range(50)]
        sent = self.client.produce(topic, [Record(v, partition=partition) for v in values], codec, acks)
        if acks != "0":
            equal(sent, [(partition, i) for i in range(50)], "partitions and offsets of the acks")
        found = self.client.read(topic, partition, 50)
        equal([r.value for r in found], values, "values read back")
        equal([r.offset for r in found], list(range(50)), "offsets read back")

    def keys_to_java_partitions(self):
        topic = self.topic("keys", 12)
        lines = (Path(__file__).parent.parent / "keys.tsv").read_text(encoding="utf-8").split("\n")
        expected = [(key.encode(), int(partition)) for key, partition in (l.split("\t") for l in lines if l)]
        sent = self.client.produce(topic, [Record(b"v", key=key) for key, _ in expected])
        wrong = [(k, p, s[0]) for (k, p), s in zip(expected, sent) if p != s[0]]
        assert len(sent) == len(expected) and not wrong, f"(key, Java's partition, ours): {wrong[:5]}"
        return f"{len(expected)} keys over 12 partitions"

    def headers(self):
        topic = self.topic("headers")
        headers = [("trace", b"\x00\xff\x10"), ("empty", b""), ("text", "größe".encode())]
        self.client.produce(topic, [Record(b"v", key=b"k", headers=headers), Record(b"none")])
        first, second = self.client.read(topic, 0, 2)
        equal(first.headers, headers, "headers")
        equal(second.headers, [], "headers of a record without any")

    def duplicate_header_keys(self):
        topic = self.topic("duplicate-headers")
        headers = [("a", b"1"), ("b", b"2"), ("a", b"3"), ("a", b"1")]
        self.client.produce(topic, [Record(b"v", headers=headers)])
        equal(self.client.read(topic, 0, 1)[0].headers, headers, "headers")

    def tombstones(self):
        topic = self.topic("tombstones", 1, {"cleanup.policy": "compact"})
        self.client.produce(topic, [Record(b"alive", key=b"k"), Record(None, key=b"k"), Record(b"", key=b"k")])
        equal([r.value for r in self.client.read(topic, 0, 3)], [b"alive", None, b""], "values")

    def empty_and_null_keys(self):
        topic = self.topic("keys-empty-null")
        self.client.produce(topic, [Record(b"1", key=b"", partition=0), Record(b"2", partition=0)])
        equal([r.key for r in self.client.read(topic, 0, 2)], [b"", None], "keys")

    def consume_from_earliest(self):
        topic = self.topic("earliest")
        self.client.produce(topic, [Record(b"%d" % i) for i in range(10)])
        equal([r.value for r in self.client.read(topic, 0, 10)], [b"%d" % i for i in range(10)], "values")

    def consume_from_latest(self):
        topic = self.topic("latest")
        self.client.produce(topic, [Record(b"old%d" % i) for i in range(5)])
        later = lambda: self.client.produce(topic, [Record(b"new%d" % i) for i in range(3)])
        found = self.client.read(topic, 0, 3, "latest", later)
        equal([(r.offset, r.value) for r in found], [(5, b"new0"), (6, b"new1"), (7, b"new2")], "records")

    def consume_from_timestamp(self):
        topic = self.topic("timestamps")
        base = int(time.time() * 1000) - 100_000
        self.client.produce(topic, [Record(b"%d" % i, timestamp=base + i * 1000) for i in range(10)])
        offset = self.client.offset_for_time(topic, 0, base + 3500)
        equal(offset, 4, "first offset at or after the timestamp")
        equal(self.client.offset_for_time(topic, 0, base + 3000), 3, "offset of an exact timestamp")
        equal(self.client.offset_for_time(topic, 0, base + 100_000_000), None, "offset after all timestamps")
        found = self.client.read(topic, 0, 6, offset)
        equal([(r.value, r.timestamp) for r in found], [(b"%d" % i, base + i * 1000) for i in range(4, 10)], "records")

    # --- groups

    def group_of_three_grows_and_shrinks(self):
        topic, group = self.topic("group", 6), f"{self.client.name}-group"
        members, seen = [], set()

        def write(label):
            values = {b"%s-%d" % (label, i) for i in range(60)}
            self.client.produce(topic, [Record(v, partition=i % 6) for i, v in enumerate(sorted(values))])
            eventually(f"all of {label}", lambda: values <= set().union(*(m.values for m in members)))

        def shares(*sizes):
            parts = [m.partitions for m in members if not m.stopping.is_set()]
            return sorted(map(len, parts)) == list(sizes) and set().union(*parts) == set(range(6))

        try:
            members.append(MemberThread(self.client, group, topic))
            eventually("one member with all partitions", lambda: shares(6))
            write(b"one")
            members += [MemberThread(self.client, group, topic) for _ in range(2)]
            eventually("three members with two partitions each", lambda: shares(2, 2, 2))
            write(b"three")
            members[2].stop()
            eventually("two members with three partitions each", lambda: shares(3, 3))
            members[1].stop()
            eventually("one member with all partitions again", lambda: shares(6))
            write(b"last")
        finally:
            for member in members:
                member.stop()
        assert not any(m.error for m in members), [m.error for m in members if m.error]

    def commit_and_resume(self):
        topic, group = self.topic("resume"), f"{self.client.name}-resume"
        self.client.produce(topic, [Record(b"%d" % i) for i in range(10)])
        first = self.client.member(group, topic, auto_commit=False)
        found = []
        eventually("four records", lambda: found.extend(first.poll()) or len(found) >= 4)
        first.commit(0, 4)
        first.close()
        second = self.client.member(group, topic, auto_commit=False)
        resumed = []
        eventually("the rest", lambda: resumed.extend(second.poll()) or len(resumed) >= 6)
        equal(second.committed(0), 4, "committed offset")
        second.close()
        equal([r.value for r in resumed], [b"%d" % i for i in range(4, 10)], "records after the commit")

    # --- errors

    def fails_with(self, name, action):
        try:
            action()
        except Exception as error:  # what a client raises is its own affair; its name is what counts
            equal(self.client.error_name(error), name, f"error ({error!r})")
            return
        raise AssertionError(f"{name} was expected, but it went well")

    def error_unknown_topic(self):
        self.fails_with("UNKNOWN_TOPIC_OR_PARTITION", lambda: self.client.produce("no-such-topic", [Record(b"v")]))
        assert "no-such-topic" not in self.client.topics()

    def error_invalid_topic_name(self):
        self.fails_with("INVALID_TOPIC_EXCEPTION", lambda: self.client.create_topic("not a topic!", 1))

    def error_record_too_large(self):
        topic = self.topic("small", 1, {"max.message.bytes": "10000"})
        big = [Record(bytes(range(256)) * 200)]
        self.fails_with("MESSAGE_TOO_LARGE", lambda: self.client.produce(topic, big, size_max=5_000_000))
        equal(self.client.produce(topic, [Record(b"small")]), [(0, 0)], "the partition goes on")


class MemberThread:
    """A group member polled by a thread of its own, as members are in life."""

    def __init__(self, client, group, topic):
        self.stopping, self.values, self.partitions, self.error = threading.Event(), set(), set(), None
        self.thread = threading.Thread(target=self.run, args=(client, group, topic), daemon=True)
        self.thread.start()

    def run(self, client, group, topic):
        try:
            member = client.member(group, topic)
            while not self.stopping.is_set():
                self.values.update(r.value for r in member.poll())
                self.partitions = member.assignment()
            member.close()
        except Exception as error:
            self.error = repr(error)

    def stop(self):
        self.stopping.set()
        self.thread.join(WAIT_SECONDS)


def main(adapter):
    client = adapter(sys.argv[1])
    cases = Cases(client)
    plain = [
        "admin_create_and_describe", "admin_alter_config", "admin_add_partitions", "admin_delete_topic",
        "keys_to_java_partitions", "headers", "duplicate_header_keys", "tombstones", "empty_and_null_keys",
        "consume_from_earliest", "consume_from_latest", "consume_from_timestamp",
        "group_of_three_grows_and_shrinks", "commit_and_resume",
        "error_unknown_topic", "error_invalid_topic_name", "error_record_too_large",
    ]
    todo = [(name, getattr(cases, name)) for name in plain]
    for codec in CODECS:
        for acks in ACKS:
            todo.append((f"produce_{codec}_acks_{acks}", lambda codec=codec, acks=acks: cases.produce(codec, acks)))
    only = sys.argv[2:]
    for name, run in todo:
        if only and name not in only:
            continue
        started = time.monotonic()
        try:
            status, detail = "ok", run() or ""
        except NotApplicable as reason:
            status, detail = "n/a", str(reason)
        except Exception as error:
            status, detail = "fail", f"{error!r} {traceback.format_exc(limit=-2)}"
        milliseconds = int((time.monotonic() - started) * 1000)
        line = {"case": name, "status": status, "detail": detail, "milliseconds": milliseconds}
        print(json.dumps(line), flush=True)
    client.close()
