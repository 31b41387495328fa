"""aiokafka: asyncio, driven from the cases' threads by one event loop."""

import asyncio
import logging
import threading

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

import cases
from cases import Adapter, Record

LOOP = asyncio.new_event_loop()


def wait(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(40)


async def made(kind, *arguments, **options):
    client = kind(*arguments, **options)
    await client.start()
    return client


async def on_loop(function, *arguments):
    return function(*arguments)


def record(found):
    return Record(found.value, found.key, found.headers, found.timestamp, found.partition, found.offset)


class Member:
    def __init__(self, bootstrap, group, topic, auto_commit):
        self.topic = topic
        self.consumer = wait(made(
            AIOKafkaConsumer, topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
            enable_auto_commit=auto_commit, auto_commit_interval_ms=200, heartbeat_interval_ms=200,
            session_timeout_ms=6000, metadata_max_age_ms=1000))

    def poll(self):
        found = wait(self.consumer.getmany(timeout_ms=100))
        return [record(r) for records in found.values() for r in records]

    def assignment(self):
        return {p.partition for p in self.consumer.assignment()}

    def commit(self, partition, offset):
        wait(self.consumer.commit({TopicPartition(self.topic, partition): offset}))

    def committed(self, partition):
        return wait(self.consumer.committed(TopicPartition(self.topic, partition)))

    def close(self):
        wait(self.consumer.stop())


class Aiokafka(Adapter):
    name = "aiokafka"

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = wait(made(AIOKafkaAdminClient, bootstrap_servers=bootstrap))
        self.producers = {}

    def create_topic(self, topic, partitions, configs=None):
        new = NewTopic(topic, partitions, 1, topic_configs=configs or {})
        response = wait(self.admin.create_topics([new]))
        self.check(response.topic_errors[0][1])

    def check(self, code):
        if code:
            raise aiokafka.errors.for_code(code)()

    def partition_count(self, topic):
        found = wait(self.admin.describe_topics([topic]))[0]
        return None if found["error_code"] else sum(p["leader"] >= 0 for p in found["partitions"])

    def topic_config(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        response = wait(self.admin.describe_configs([resource]))[0]
        return {entry[0]: entry[1] for entry in response.resources[0][4]}

    def alter_config(self, topic, configs):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs)
        self.check(wait(self.admin.alter_configs([resource]))[0].resources[0][0])

    def add_partitions(self, topic, total):
        self.check(wait(self.admin.create_partitions({topic: NewPartitions(total)})).topic_errors[0][1])

    def delete_topic(self, topic):
        self.check(wait(self.admin.delete_topics([topic])).topic_error_codes[0][1])

    def topics(self):
        return set(wait(self.admin.list_topics()))

    def producer(self, codec, acks, size_max):
        settings = (codec, acks, size_max)
        if settings not in self.producers:
            self.producers[settings] = wait(made(
                AIOKafkaProducer, bootstrap_servers=self.bootstrap, linger_ms=5, max_request_size=size_max,
                compression_type=None if codec == "none" else codec, acks="all" if acks == "all" else int(acks),
                enable_idempotence=acks == "all", request_timeout_ms=3000))
        return self.producers[settings]

    def produce(self, topic, records, codec="none", acks="all", size_max=1_000_000):
        producer = self.producer(codec, acks, size_max)

        async def send():
            sent = [
                await producer.send(topic, r.value, r.key, r.partition, r.timestamp, r.headers) for r in records
            ]
            return [await future for future in sent]

        return [(s.partition, s.offset) if s else None for s in wait(send())]

    def read(self, topic, partition, count, start="earliest", after_seek=None):
        place = TopicPartition(topic, partition)
        consumer = wait(made(AIOKafkaConsumer, bootstrap_servers=self.bootstrap, enable_auto_commit=False))

        async def assign():
            # With a place at once: the reset that an assignment without one begins may end after a seek and undo it.
            consumer.assign([place])
            consumer.seek(place, 0)

        wait(assign())
        if start == "earliest":
            wait(consumer.seek_to_beginning(place))
        elif start == "latest":
            wait(consumer.seek_to_end(place))
        else:
            wait(on_loop(consumer.seek, place, start))
        wait(consumer.position(place))
        if after_seek:
            after_seek()
        found = []
        take = lambda: found.extend(wait(consumer.getmany(timeout_ms=200)).get(place, ())) or len(found) >= count
        cases.eventually(f"{count} records", take)
        wait(consumer.stop())
        return [record(r) for r in found]

    def offset_for_time(self, topic, partition, timestamp):
        place = TopicPartition(topic, partition)
        consumer = wait(made(AIOKafkaConsumer, bootstrap_servers=self.bootstrap))
        found = wait(consumer.offsets_for_times({place: timestamp}))[place]
        wait(consumer.stop())
        return found and found.offset

    def member(self, group, topic, auto_commit=True):
        return Member(self.bootstrap, group, topic, auto_commit)

    def error_name(self, error):
        known = {3: "UNKNOWN_TOPIC_OR_PARTITION", 10: "MESSAGE_TOO_LARGE", 17: "INVALID_TOPIC_EXCEPTION"}
        return known.get(getattr(error, "errno", None), repr(error)) if isinstance(error, KafkaError) else repr(error)

    def close(self):
        for producer in self.producers.values():
            wait(producer.stop())
        wait(self.admin.close())


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    threading.Thread(target=LOOP.run_forever, daemon=True).start()
    cases.main(Aiokafka)
