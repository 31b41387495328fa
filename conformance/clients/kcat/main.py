"""kcat against a broker: NAME BOOTSTRAP KEYS_TSV [CASE...]. One JSON line is printed for each case.

kcat changes no topics, so the broker must create them: auto.create.topics.enable=true, num.partitions=12,
message.max.bytes=100000.
"""

import json
import re
import subprocess
import sys
import threading
import time
import traceback

NAME, BOOTSTRAP, KEYS = sys.argv[1:4]
WAIT_SECONDS = 30
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
ACKS = ["all", "1", "0"]


class NotApplicable(Exception):
    pass


def kcat(*arguments, stdin=""):
    done = subprocess.run(
        ["kcat", "-b", BOOTSTRAP, *arguments], input=stdin.encode(), capture_output=True, timeout=WAIT_SECONDS)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def well(*arguments, stdin=""):
    code, out, err = kcat(*arguments, stdin=stdin)
    assert code == 0, f"kcat {arguments}: {code} {err}"
    return out


def topic(suffix):
    """A new topic: asked for its metadata, the broker makes it."""
    name = f"{NAME}-{suffix}"
    leaders = lambda: re.findall(r"partition \d+, leader \d+", well("-L", "-t", name))
    eventually(f"{name} to have leaders", lambda: len(leaders()) == 12)
    return name


def eventually(what, check):
    deadline = time.monotonic() + WAIT_SECONDS
    while not check():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS} s for {what}"
        time.sleep(0.05)


def equal(found, expected, what):
    assert found == expected, f"{what}: expected {expected!r}, found {found!r}"


def produce(name, values, *options):
    well("-P", "-t", name, "-p", "0", *options, stdin="".join(v + "\n" for v in values))


def read(name, count, *options, form="%s\n", partition="0", start="beginning"):
    arguments = ["-C", "-q", "-t", name, "-p", partition, "-o", str(start), "-c", str(count), "-f", form]
    return well(*arguments, *options).split("\n")[:-1]


def no_admin():
    raise NotApplicable("kcat has no calls that change or describe a topic's configuration")


def produce_and_read(codec, acks):
    # kcat's metadata request creates a topic that is not there yet.
    name, partition = topic(f"codec-{codec}"), str(ACKS.index(acks))
    values = [f"{codec} {acks} {i} " * 20 for i in range(50)]
    stdin = "".join(v + "\n" for v in values)
    well("-P", "-t", name, "-p", partition, "-z", codec, "-X", f"acks={acks}", stdin=stdin)
    found = read(name, 50, form="%o %s\n", partition=partition)
    equal(found, [f"{i} {v}" for i, v in enumerate(values)], "records read back")


def keys_to_java_partitions():
    name = topic("keys")
    with open(KEYS, encoding="utf-8") as file:
        lines = [line for line in file.read().split("\n") if line]
    stdin = "".join(line.split("\t")[0] + "\tv\n" for line in lines)
    well("-P", "-t", name, "-K", "\t", "-X", "partitioner=murmur2_random", stdin=stdin)
    found = well("-C", "-q", "-t", name, "-o", "beginning", "-e", "-f", "%k\t%p\n").split("\n")[:-1]
    equal(sorted(found), sorted(lines), "keys and partitions")
    return f"{len(lines)} keys over 12 partitions"


def headers():
    name = topic("headers")
    produce(name, ["v"], "-H", "trace=abc", "-H", "größe=größe")
    equal(read(name, 1, form="%h\n"), ["trace=abc,größe=größe"], "headers")


def duplicate_header_keys():
    name = topic("duplicate-headers")
    produce(name, ["v"], "-H", "a=1", "-H", "b=2", "-H", "a=3", "-H", "a=1")
    equal(read(name, 1, form="%h\n"), ["a=1,b=2,a=3,a=1"], "headers")


def tombstones():
    name = topic("tombstones")
    produce(name, ["k:alive"], "-K", ":")
    produce(name, ["k:"], "-K", ":", "-Z")
    produce(name, ["k:"], "-K", ":")
    equal(read(name, 3, form="%S\n"), ["5", "-1", "0"], "lengths of the values")


def empty_and_null_keys():
    name = topic("keys-empty-null")
    produce(name, [":1"], "-K", ":")
    produce(name, ["2"])
    equal(read(name, 2, form="%K %s\n"), ["0 1", "-1 2"], "lengths of the keys")


def consume_from_earliest():
    name = topic("earliest")
    produce(name, map(str, range(10)))
    equal(read(name, 10), [str(i) for i in range(10)], "values")


def consume_from_latest():
    name = topic("latest")
    produce(name, ["old"] * 5)
    arguments = ["kcat", "-b", BOOTSTRAP, "-C", "-u", "-t", name, "-p", "0", "-o", "end", "-c", "3", "-f", "%o %s\n"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        stop = threading.Timer(WAIT_SECONDS, reader.kill)
        stop.start()
        said = reader.stderr.readline()
        assert "Reached end of topic" in said, said
        produce(name, ["new0", "new1", "new2"])
        found = reader.stdout.read().split("\n")[:-1]
        stop.cancel()
    equal(found, ["5 new0", "6 new1", "7 new2"], "records")


def consume_from_timestamp():
    name = topic("timestamps")
    produce(name, ["old"] * 5)
    between = int(time.time() * 1000) + 1
    eventually("the clock to move on", lambda: time.time() * 1000 > between + 1)
    produce(name, ["new0", "new1"])
    equal(well("-Q", "-t", f"{name}:0:{between}").strip(), f"{name} [0] offset 5", "offset for a timestamp")
    equal(read(name, 2, start=f"s@{between}"), ["new0", "new1"], "values")
    return "kcat sets no timestamps; those of its clock were asked for"


class Member:
    def __init__(self, group, name):
        self.values, self.partitions, self.stopping = set(), set(), False
        arguments = ["kcat", "-b", BOOTSTRAP, "-u", "-X", "auto.offset.reset=earliest", "-X",
                     "heartbeat.interval.ms=200", "-X", "session.timeout.ms=6000", "-X",
                     "auto.commit.interval.ms=200", "-f", "%s\n", "-G", group, name]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.take_values, daemon=True).start()
        threading.Thread(target=self.take_assignments, daemon=True).start()

    def take_values(self):
        for line in self.process.stdout:
            self.values.add(line.rstrip("\n"))

    def take_assignments(self):
        for line in self.process.stderr:
            if "rebalanced" not in line:
                continue
            # "% Group G rebalanced (memberid M): assigned: T [0], T [1]", or "revoked: ..."
            if "assigned:" in line:
                self.partitions = {int(p) for p in re.findall(r"\[(\d+)\]", line.split("assigned:")[1])}
            elif "revoked:" in line:
                self.partitions = set()

    def stop(self):
        self.stopping = True
        self.process.terminate()
        self.process.wait(WAIT_SECONDS)


def group_of_three_grows_and_shrinks():
    name, group, members = topic("group"), f"{NAME}-group", []

    def shares(*sizes):
        def settled():
            parts = [m.partitions for m in members if not m.stopping]
            return sorted(map(len, parts)) == list(sizes) and set().union(*parts) == set(range(12))
        eventually(f"shares of {sizes}", settled)

    def write(label):
        values = {f"{label}-{i}" for i in range(60)}
        for partition in range(12):
            part = [v for v in values if int(v.split("-")[1]) % 12 == partition]
            well("-P", "-t", name, "-p", str(partition), stdin="".join(v + "\n" for v in part))
        eventually(f"all of {label}", lambda: values <= set().union(*(m.values for m in members)))

    try:
        members.append(Member(group, name))
        shares(12)
        write("one")
        members += [Member(group, name), Member(group, name)]
        shares(4, 4, 4)
        write("three")
        members[2].stop()
        shares(6, 6)
        members[1].stop()
        shares(12)
        write("last")
    finally:
        for member in members:
            member.stop()


def commit_and_resume():
    name, group = topic("resume"), f"{NAME}-resume"
    produce(name, map(str, range(10)))
    take = lambda count: well(
        "-q", "-X", "auto.offset.reset=earliest", "-c", str(count), "-f", "%s\n", "-G", group, name).split("\n")[:-1]
    equal(take(4), ["0", "1", "2", "3"], "first four")
    equal(take(6), [str(i) for i in range(4, 10)], "the rest")


def fails_with(text, *arguments, stdin=""):
    code, out, err = kcat(*arguments, stdin=stdin)
    assert text in err, f"{text!r} was expected, kcat ended with {code} and said {err!r} {out!r}"


def error_unknown_topic():
    fails_with("Unknown topic or partition", "-C", "-t", "no-such-topic", "-p", "0", "-e")


def error_invalid_topic_name():
    fails_with("Invalid topic", "-P", "-t", "not a topic!", "-X", "topic.metadata.propagation.max.ms=500", stdin="v\n")


def error_record_too_large():
    name = topic("small")
    fails_with("Message size too large", "-P", "-t", name, "-p", "0", "-X", "message.max.bytes=5000000", stdin="x" * 200_000 + "\n")
    produce(name, ["small"])
    equal(read(name, 1), ["small"], "what comes after")


def main():
    plain = [
        keys_to_java_partitions, headers, duplicate_header_keys, tombstones, empty_and_null_keys,
        consume_from_earliest, consume_from_latest, consume_from_timestamp, group_of_three_grows_and_shrinks,
        commit_and_resume, error_unknown_topic, error_invalid_topic_name, error_record_too_large,
    ]
    admin = ["create_and_describe", "alter_config", "add_partitions", "delete_topic"]
    todo = {f"admin_{name}": no_admin for name in admin} | {case.__name__: case for case in plain}
    for codec in CODECS:
        for acks in ACKS:
            todo[f"produce_{codec}_acks_{acks}"] = lambda codec=codec, acks=acks: produce_and_read(codec, acks)
    only = sys.argv[4:]
    for name, run in todo.items():
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
        print(json.dumps({"case": name, "status": status, "detail": detail, "milliseconds": milliseconds}), flush=True)


main()
