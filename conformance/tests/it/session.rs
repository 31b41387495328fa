//! A connection with the few requests that most tests begin with. Whatever goes wrong here fails the test.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use millstream_protocol::{
    Request, RequestHeader,
    messages::{
        CreateTopicsRequest, FetchRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
        ProduceRequest,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::{FetchResponse, PartitionData},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        list_offsets_response::ListOffsetsPartitionResponse,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponse, MetadataResponseTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
};
use millstream_record::{BatchBuilder, BatchHeader, BatchOptions, ProducerInfo, RecordBatch, batch::batches};
use millstream_testkit::{Connection, Running, wait_until};
use millstream_types::{ErrorCode, ProducerEpoch, ProducerId, Sequence, TimestampMs, Uuid, codec::Writer};

/// More than any test's batch holds.
const DECOMPRESSED_MAX: usize = 16 << 20;

pub(crate) struct Session(pub(crate) Connection);

/// The code as Kafka names it, for messages of failed assertions that can be read.
pub(crate) fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code)
}

pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Session {
    pub(crate) fn open(target: &Running) -> Self {
        Self(Connection::open(target.bootstrap()).unwrap())
    }

    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.0.call(version, request).unwrap()
    }

    /// A new topic of one partition.
    pub(crate) fn topic(&mut self, name: &str, configs: &[(&str, &str)]) -> Uuid {
        self.topic_of(name, 1, configs)
    }

    /// A new topic whose partitions all have a leader that serves them.
    pub(crate) fn topic_of(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            ..Default::default()
        });
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let created = self.call(7, &request).topics.remove(0);
        assert_eq!(code(created.error_code), ErrorCode::None, "creating {name}: {:?}", created.error_message);
        for partition in 0..partitions {
            self.wait_served(name, partition);
        }
        created.topic_id
    }

    /// Kafka's controller answers before the broker has opened the log.
    pub(crate) fn wait_served(&mut self, topic: &str, partition: i32) {
        wait_until("a leader", Duration::from_secs(20), || {
            Ok((self.list_offset(topic, partition, -2).error_code == 0).then_some(()))
        })
        .unwrap();
    }

    pub(crate) fn metadata(&mut self, topics: Option<&[&str]>, auto_create: bool) -> MetadataResponse {
        let named =
            |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() };
        let request = MetadataRequest {
            topics: topics.map(|all| all.iter().map(named).collect()),
            allow_auto_topic_creation: auto_create,
            ..Default::default()
        };
        self.call(12, &request)
    }

    pub(crate) fn describe(&mut self, topic: &str) -> MetadataResponseTopic {
        self.metadata(Some(&[topic]), false).topics.remove(0)
    }

    /// Produces with acks=all in version 9 and returns the only partition's answer.
    pub(crate) fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: impl Into<Bytes>,
    ) -> PartitionProduceResponse {
        self.produce_version(9, -1, topic, partition, records)
    }

    pub(crate) fn produce_version(
        &mut self,
        version: i16,
        acks: i16,
        topic: &str,
        partition: i32,
        records: impl Into<Bytes>,
    ) -> PartitionProduceResponse {
        let request = produce_request(acks, topic, partition, records);
        self.call(version, &request).responses.remove(0).partition_responses.remove(0)
    }

    /// Produces and demands success; the base offset.
    pub(crate) fn append(&mut self, topic: &str, partition: i32, records: impl Into<Bytes>) -> i64 {
        let answer = self.produce(topic, partition, records);
        assert_eq!(code(answer.error_code), ErrorCode::None, "{answer:?}");
        answer.base_offset
    }

    pub(crate) fn fetch_once(&mut self, request: &FetchRequest) -> FetchResponse {
        let response = self.call(12, request);
        assert_eq!(code(response.error_code), ErrorCode::None);
        response
    }

    /// What lies in partition 0 from an offset on, without waiting and without limits.
    pub(crate) fn fetch(&mut self, topic: &str, offset: i64) -> PartitionData {
        self.fetch_partition(topic, 0, offset)
    }

    pub(crate) fn fetch_partition(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let request = fetch_request(topic, &[(partition, offset)]);
        self.fetch_once(&request).responses.remove(0).partitions.remove(0)
    }

    /// All values of partition 0.
    pub(crate) fn values(&mut self, topic: &str) -> Vec<String> {
        let data = self.fetch(topic, 0);
        assert_eq!(code(data.error_code), ErrorCode::None);
        values(&data)
    }

    pub(crate) fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        self.list_offset_version(8, topic, partition, timestamp)
    }

    pub(crate) fn list_offset_version(
        &mut self,
        version: i16,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
        let topic =
            ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        self.call(version, &request).topics.remove(0).partitions.remove(0)
    }

    pub(crate) fn new_producer_id(&mut self) -> i64 {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        wait_until("a producer id", Duration::from_secs(20), || {
            let response = self.call(4, &request);
            assert!(response.error_code == 0 || code(response.error_code).is_retriable(), "{response:?}");
            Ok((response.error_code == 0).then_some(response.producer_id))
        })
        .unwrap()
    }
}

/// A frame with a request header of any version and a body of any bytes.
pub(crate) fn frame(key: i16, version: i16, header_version: i16, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader {
        request_api_key: key,
        request_api_version: version,
        correlation_id: 77,
        client_id: Some("hostile".to_owned()),
        unknown_tagged_fields: Vec::new(),
    };
    let mut writer = Writer::new();
    header.write(&mut writer, header_version).unwrap();
    writer.put_slice(body);
    let bytes = writer.into_bytes();
    let mut frame = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&bytes);
    frame
}

pub(crate) fn produce_request(
    acks: i16,
    topic: &str,
    partition: i32,
    records: impl Into<Bytes>,
) -> ProduceRequest {
    let data =
        PartitionProduceData { index: partition, records: Some(records.into().into()), ..Default::default() };
    let topic = TopicProduceData { name: topic.to_owned(), partition_data: vec![data], ..Default::default() };
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    }
}

/// For version 12 and below, which name topics: answers at once, without limits.
pub(crate) fn fetch_request(topic: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    let partition = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 50 << 20,
        ..Default::default()
    };
    let partitions = partitions.iter().map(partition).collect();
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: topic.to_owned(), partitions, ..Default::default() }],
        ..Default::default()
    }
}

/// A batch of values without keys, stamped now.
pub(crate) fn batch<V: AsRef<[u8]>>(values: &[V]) -> Bytes {
    batch_with(BatchOptions::default(), values)
}

pub(crate) fn batch_with<V: AsRef<[u8]>>(options: BatchOptions, values: &[V]) -> Bytes {
    let now = TimestampMs(now_ms());
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.append(now, None, Some(value.as_ref()), &[]);
    }
    builder.build()
}

/// A batch whose records have these timestamps; each value is its timestamp's index.
pub(crate) fn batch_at(timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (index, timestamp) in timestamps.iter().enumerate() {
        builder.append(TimestampMs(*timestamp), None, Some(index.to_string().as_bytes()), &[]);
    }
    builder.build()
}

/// A batch of an idempotent producer.
pub(crate) fn idempotent<V: AsRef<[u8]>>(id: i64, epoch: i16, sequence: i32, values: &[V]) -> Bytes {
    let producer = ProducerInfo {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
        base_sequence: Some(Sequence(sequence)),
    };
    batch_with(BatchOptions { producer: Some(producer), ..Default::default() }, values)
}

pub(crate) fn decoded(data: &PartitionData) -> Vec<RecordBatch> {
    let records = data.records.clone().unwrap_or_default().into_bytes();
    let views: Vec<Bytes> = batches(&records).map(|b| Bytes::copy_from_slice(b.unwrap().bytes)).collect();
    views.iter().map(|bytes| RecordBatch::decode(bytes, DECOMPRESSED_MAX).unwrap()).collect()
}

pub(crate) fn headers(data: &PartitionData) -> Vec<BatchHeader> {
    decoded(data).iter().map(|batch| batch.header).collect()
}

pub(crate) fn values(data: &PartitionData) -> Vec<String> {
    let all = decoded(data);
    let records = all.iter().flat_map(|batch| &batch.records);
    records.map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default()).into_owned()).collect()
}
