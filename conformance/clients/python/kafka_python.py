"""kafka-python, both 3.x and the 2.0.2 that many an installation still has."""

import logging

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

import cases
from cases import Adapter, Record

OLD = kafka.__version__.startswith("2.0.")


def record(found):
    return Record(found.value, found.key, found.headers, found.timestamp, found.partition, found.offset)


class Member:
    def __init__(self, bootstrap, group, topic, auto_commit):
        self.topic = topic
        self.consumer = KafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
            enable_auto_commit=auto_commit, auto_commit_interval_ms=200, heartbeat_interval_ms=200,
            session_timeout_ms=6000, max_poll_interval_ms=30000, metadata_max_age_ms=1000)
        # Known before the first join. Otherwise the first assignment is empty and the member joins again, and
        # kafka-python 3.0.12 loses the second one if poll's time is over just then.
        self.consumer.partitions_for_topic(topic)

    def poll(self):
        return [record(r) for records in self.consumer.poll(100).values() for r in records]

    def assignment(self):
        return {p.partition for p in self.consumer.assignment()}

    def commit(self, partition, offset):
        extra = [] if OLD else [-1]
        self.consumer.commit({TopicPartition(self.topic, partition): OffsetAndMetadata(offset, "", *extra)})

    def committed(self, partition):
        return self.consumer.committed(TopicPartition(self.topic, partition))

    def close(self):
        self.consumer.close()


class KafkaPython(Adapter):
    name = "kafka-python-2" if OLD else "kafka-python"

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        self.producers = {}

    def create_topic(self, topic, partitions, configs=None):
        self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])

    def partition_count(self, topic):
        found = self.admin.describe_topics([topic])[0]
        errors, leaders = ("error_code", "leader") if OLD else ("error_code", "leader_id")
        if found[errors] != 0:
            return None
        return sum(p[leaders] >= 0 for p in found["partitions"])

    def topic_config(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        if OLD:
            response = self.admin.describe_configs([resource])[0]
            return {entry[0]: entry[1] for entry in response.resources[0][4]}
        found = self.admin.describe_configs([resource], config_filter="all")
        return {key: entry["value"] for key, entry in found["topic"][topic].items()}

    def alter_config(self, topic, configs):
        self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])

    def add_partitions(self, topic, total):
        self.admin.create_partitions({topic: NewPartitions(total)})

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def topics(self):
        return set(self.admin.list_topics())

    def producer(self, codec, acks, size_max):
        settings = (codec, acks, size_max)
        if settings not in self.producers:
            # The old one gives up at the first NOT_LEADER, which a Kafka under load answers for a new topic.
            options = {"retries": 5} if OLD else {} if acks == "all" else {"enable_idempotence": False}
            self.producers[settings] = KafkaProducer(
                bootstrap_servers=self.bootstrap, compression_type=None if codec == "none" else codec,
                acks="all" if acks == "all" else int(acks), max_request_size=size_max, linger_ms=5,
                max_block_ms=2000, **options)
        return self.producers[settings]

    def produce(self, topic, records, codec="none", acks="all", size_max=1_000_000):
        producer = self.producer(codec, acks, size_max)
        futures = [
            producer.send(topic, r.value, r.key, r.headers, r.partition, r.timestamp) for r in records
        ]
        producer.flush(20)
        sent = [future.get(20) for future in futures]
        return [(s.partition, s.offset) for s in sent]

    def read(self, topic, partition, count, start="earliest", after_seek=None):
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        if start == "earliest":
            consumer.seek_to_beginning(place)
        elif start == "latest":
            consumer.seek_to_end(place)
        else:
            consumer.seek(place, start)
        consumer.position(place)
        if after_seek:
            after_seek()
        found = []
        take = lambda: found.extend(consumer.poll(200).get(place, ())) or len(found) >= count
        cases.eventually(f"{count} records", take)
        consumer.close()
        return [record(r) for r in found]

    def offset_for_time(self, topic, partition, timestamp):
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
        place = TopicPartition(topic, partition)
        found = consumer.offsets_for_times({place: timestamp})[place]
        consumer.close()
        return found and found.offset

    def member(self, group, topic, auto_commit=True):
        return Member(self.bootstrap, group, topic, auto_commit)

    def error_name(self, error):
        # Unknown topics are asked for until max_block_ms is over; then only the time-out is told.
        if isinstance(error, KafkaTimeoutError) and "etadata" in str(error):
            return "UNKNOWN_TOPIC_OR_PARTITION"
        known = {3: "UNKNOWN_TOPIC_OR_PARTITION", 10: "MESSAGE_TOO_LARGE", 17: "INVALID_TOPIC_EXCEPTION"}
        return known.get(getattr(error, "errno", None), repr(error)) if isinstance(error, KafkaError) else repr(error)

    def close(self):
        for producer in self.producers.values():
            producer.close(5)
        self.admin.close()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    cases.main(KafkaPython)
