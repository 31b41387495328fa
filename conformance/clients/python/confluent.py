"""confluent-kafka: librdkafka behind Python."""

from confluent_kafka import (
    OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Producer, TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType,
)

import cases
from cases import Adapter, Record


def record(message):
    if message.error():
        raise KafkaException(message.error())
    headers = message.headers() or []
    return Record(message.value(), message.key(), headers, message.timestamp()[1], message.partition(), message.offset())


class Member:
    def __init__(self, bootstrap, group, topic, auto_commit):
        self.topic = topic
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": auto_commit, "auto.commit.interval.ms": 200, "heartbeat.interval.ms": 200,
            "session.timeout.ms": 6000, "max.poll.interval.ms": 30000,
        })
        self.consumer.subscribe([topic])

    def poll(self):
        return [record(m) for m in self.consumer.consume(100, 0.1)]

    def assignment(self):
        return {p.partition for p in self.consumer.assignment()}

    def commit(self, partition, offset):
        self.consumer.commit(offsets=[TopicPartition(self.topic, partition, offset)], asynchronous=False)

    def committed(self, partition):
        return self.consumer.committed([TopicPartition(self.topic, partition)], 10)[0].offset

    def close(self):
        self.consumer.close()


class Confluent(Adapter):
    name = "confluent-kafka"

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.producers = {}

    def create_topic(self, topic, partitions, configs=None):
        self.admin.create_topics([NewTopic(topic, partitions, 1, config=configs or {})])[topic].result(10)

    def partition_count(self, topic):
        found = self.admin.list_topics(topic, 10).topics[topic]
        return None if found.error else sum(p.leader >= 0 for p in found.partitions.values())

    def topic_config(self, topic):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        found = self.admin.describe_configs([resource])[resource].result(10)
        return {name: entry.value for name, entry in found.items()}

    def alter_config(self, topic, configs):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        for name, value in configs.items():
            resource.add_incremental_config(ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET))
        self.admin.incremental_alter_configs([resource])[resource].result(10)

    def add_partitions(self, topic, total):
        self.admin.create_partitions([NewPartitions(topic, total)])[topic].result(10)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])[topic].result(10)

    def topics(self):
        return set(self.admin.list_topics(timeout=10).topics)

    def producer(self, codec, acks, size_max):
        settings = (codec, acks, size_max)
        if settings not in self.producers:
            self.producers[settings] = Producer({
                "bootstrap.servers": self.bootstrap, "compression.type": codec, "acks": acks,
                "message.max.bytes": size_max, "linger.ms": 5, "enable.idempotence": acks == "all",
                # Java's partitioner; librdkafka's own default is consistent_random, over crc32.
                "partitioner": "murmur2_random",
                # How long an unknown topic is looked for before it is believed to be unknown.
                "topic.metadata.propagation.max.ms": 1000,
            })
        return self.producers[settings]

    def produce(self, topic, records, codec="none", acks="all", size_max=1_000_000):
        producer, reports = self.producer(codec, acks, size_max), {}
        for index, r in enumerate(records):
            options = {} if r.partition is None else {"partition": r.partition}
            if r.timestamp is not None:
                options["timestamp"] = r.timestamp
            report = lambda error, message, index=index: reports.__setitem__(index, (error, message))
            producer.produce(topic, r.value, r.key, headers=r.headers, on_delivery=report, **options)
        producer.flush(20)
        for error, _ in reports.values():
            if error:
                raise KafkaException(error)
        assert len(reports) == len(records), f"{len(reports)} delivery reports for {len(records)} records"
        return [(reports[i][1].partition(), reports[i][1].offset()) for i in range(len(records))]

    def consumer(self):
        return Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": "unused", "enable.auto.commit": False,
            "auto.offset.reset": "error", "enable.partition.eof": False,
        })

    def read(self, topic, partition, count, start="earliest", after_seek=None):
        consumer = self.consumer()
        offset = {"earliest": OFFSET_BEGINNING, "latest": OFFSET_END}.get(start, start)
        if start == "latest":
            # librdkafka looks the end up when it first fetches; asked for here, it is known before writing.
            offset = consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)[1]
        consumer.assign([TopicPartition(topic, partition, offset)])
        if after_seek:
            after_seek()
        found = []
        cases.eventually(
            f"{count} records", lambda: found.extend(consumer.consume(count, 0.2)) or len(found) >= count)
        consumer.close()
        return [record(m) for m in found]

    def offset_for_time(self, topic, partition, timestamp):
        consumer = self.consumer()
        found = consumer.offsets_for_times([TopicPartition(topic, partition, timestamp)], 10)[0]
        consumer.close()
        # Where no record is that young librdkafka answers with its word for the end.
        return None if found.offset in (-1, OFFSET_END) else found.offset

    def member(self, group, topic, auto_commit=True):
        return Member(self.bootstrap, group, topic, auto_commit)

    def error_name(self, error):
        code = error.args[0].code() if isinstance(error, KafkaException) else None
        return {
            KafkaError.UNKNOWN_TOPIC_OR_PART: "UNKNOWN_TOPIC_OR_PARTITION",
            KafkaError._UNKNOWN_TOPIC: "UNKNOWN_TOPIC_OR_PARTITION",
            KafkaError.MSG_SIZE_TOO_LARGE: "MESSAGE_TOO_LARGE",
            KafkaError.TOPIC_EXCEPTION: "INVALID_TOPIC_EXCEPTION",
        }.get(code, repr(error))


if __name__ == "__main__":
    cases.main(Confluent)
