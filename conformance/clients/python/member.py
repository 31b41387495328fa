"""A member of a group with librdkafka, which tells what befalls it as Kafka's `kafka-verifiable-consumer` does: in lines
of JSON. Commits what it has read before it polls again. Arguments: bootstrap, group, topic, assignor. SIGTERM ends it."""

import json
import signal
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException

bootstrap, group, topic, strategy = sys.argv[1:]
running = True


def stop(*_):
    global running
    running = False


def say(name, **more):
    print(json.dumps({"name": name, **more}), flush=True)


def named(partitions):
    return [{"topic": p.topic, "partition": p.partition} for p in partitions]


def ranges(messages):
    """The first and last offset of each partition's records, which come in order."""
    of = {}
    for message in messages:
        first, _ = of.get(message.partition(), (message.offset(), None))
        of[message.partition()] = (first, message.offset())
    return [{"topic": topic, "partition": p, "minOffset": a, "maxOffset": b} for p, (a, b) in sorted(of.items())]


def commit(consumer):
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as failure:
        # Whoever has the partitions next reads again what could not be committed.
        if failure.args[0].code() not in (KafkaError._NO_OFFSET, KafkaError.REBALANCE_IN_PROGRESS):
            say("offsets_committed", success=False, error=str(failure))


signal.signal(signal.SIGTERM, stop)
consumer = Consumer({
    "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
    "enable.auto.commit": False, "heartbeat.interval.ms": 500, "session.timeout.ms": 10000,
    "partition.assignment.strategy": strategy,
})
consumer.subscribe(
    [topic],
    on_assign=lambda _, partitions: say("partitions_assigned", partitions=named(partitions)),
    on_revoke=lambda _, partitions: say("partitions_revoked", partitions=named(partitions)),
    on_lost=lambda _, partitions: say("partitions_revoked", partitions=named(partitions)),
)
say("startup_complete")
while running:
    messages = [message for message in consumer.consume(500, 0.1) if not message.error()]
    if messages:
        say("records_consumed", count=len(messages), partitions=ranges(messages))
        commit(consumer)
consumer.close()
say("shutdown_complete")
