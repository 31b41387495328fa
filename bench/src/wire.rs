//! Requests without a client library, made once and sent many times: for load of which the client must
//! cost nothing, as to fill a broker with gigabytes. All batches are alike.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use millstream_protocol::{
    encode_request,
    messages::{fetch_request::*, produce_request::*, produce_response::ProduceResponse},
};
use millstream_record::{BatchBuilder, BatchOptions};
use millstream_testkit::{Connection, wait_until};
use millstream_types::{TimestampMs, codec::Payload};

use crate::payload;

/// The last version of either that names topics and has no tagged fields.
pub(crate) const PRODUCE_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 6;
/// Requests on their way at once while a broker is filled.
const WINDOW: u64 = 8;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) records: u32,
    pub(crate) value_bytes: usize,
}

impl Batch {
    /// As it is sent, and stored but for its offset.
    pub(crate) fn encode(self) -> Result<Bytes> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let now = TimestampMs(i64::try_from(now)?);
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let values = payload::values(payload::Kind::Random, self.value_bytes);
        for value in values.iter().cycle().take(self.records as usize) {
            builder.append(now, None, Some(value), &[]);
        }
        Ok(builder.build())
    }
}

/// A whole produce request, `acks=all`, its length in front.
pub(crate) fn produce_frame(topic: &str, partition: i32, batch: &Bytes) -> Result<Vec<u8>> {
    let partition =
        PartitionProduceData { index: partition, records: Some(batch.clone().into()), ..Default::default() };
    let topic =
        TopicProduceData { name: topic.to_owned(), partition_data: vec![partition], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() };
    let frame = encode_request(&request, PRODUCE_VERSION, 0, Some("bench"))?;
    Ok(frame.into_iter().collect::<Vec<_>>().concat())
}

pub(crate) fn check(response: &ProduceResponse) -> Result<()> {
    match error_code(response)? {
        0 => Ok(()),
        code => bail!("a request was answered with error {code}"),
    }
}

fn error_code(response: &ProduceResponse) -> Result<i16> {
    let topic = response.responses.first().context("an answer without a topic")?;
    Ok(topic.partition_responses.first().context("an answer without a partition")?.error_code)
}

/// Produces two batches to each partition, so that what only first writes cost is over: a topic that was
/// created is not led at once; and Kafka enters the second batch into indexes that are sparse files of
/// 10 MB in memory, at whose first touch Linux may read as much ahead as is configured, for 20 ms.
pub(crate) fn warm_up(bootstrap: &str, frames: &[Vec<u8>]) -> Result<()> {
    const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    let mut connection = Connection::open(bootstrap)?;
    for frame in frames.iter().chain(frames) {
        wait_until("a partition to be led", Duration::from_secs(60), || {
            connection.send_bytes(frame)?;
            match error_code(&connection.receive::<ProduceRequest>(PRODUCE_VERSION)?.1)? {
                0 => Ok(Some(())),
                UNKNOWN_TOPIC_OR_PARTITION | NOT_LEADER_OR_FOLLOWER => Ok(None),
                code => bail!("a request was answered with error {code}"),
            }
        })?;
    }
    Ok(())
}

/// The produce request of each partition.
pub(crate) fn produce_frames(topic: &str, partitions: i32, batch: &Bytes) -> Result<Vec<Vec<u8>>> {
    (0..partitions).map(|partition| produce_frame(topic, partition, batch)).collect()
}

/// Produces so many bytes, spread evenly over the partitions, and waits until all are acknowledged.
pub(crate) fn fill(bootstrap: &str, topic: &str, partitions: i32, bytes: u64, batch: Batch) -> Result<()> {
    let batch = batch.encode()?;
    let frames = produce_frames(topic, partitions, &batch)?;
    warm_up(bootstrap, &frames)?;
    let mut connection = Connection::open(bootstrap)?;
    let count = bytes.div_ceil(batch.len() as u64);
    let mut frames = frames.iter().cycle();
    for index in 0..count + WINDOW {
        if index >= WINDOW {
            check(&connection.receive::<ProduceRequest>(PRODUCE_VERSION)?.1)?;
        }
        if index < count {
            connection.send_bytes(frames.next().context("no partitions")?)?;
        }
    }
    Ok(())
}

/// Reads a topic as a consumer does, of all partitions at once and the next when the answer is there; but
/// only looks at how much came.
pub(crate) struct Reader {
    connection: Connection,
    topic: String,
    /// By partition.
    offsets: Vec<i64>,
    batch: Batch,
    batch_bytes: usize,
}

impl Reader {
    pub(crate) fn open(bootstrap: &str, topic: &str, partitions: usize, batch: Batch) -> Result<Self> {
        let batch_bytes = batch.encode()?.len();
        let (connection, topic) = (Connection::open(bootstrap)?, topic.to_owned());
        Ok(Self { connection, topic, offsets: vec![0; partitions], batch, batch_bytes })
    }

    /// How many bytes came; none at the end.
    pub(crate) fn fetch(&mut self) -> Result<u64> {
        let request = self.request();
        let response = self.connection.call(FETCH_VERSION, &request)?;
        let mut bytes = 0;
        for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
            ensure!(partition.error_code == 0, "a fetch was answered with error {}", partition.error_code);
            let records = partition.records.as_ref().map_or(0, Payload::len);
            let offset = self.offsets.get_mut(usize::try_from(partition.partition_index)?);
            // A last batch that was cut off comes again.
            *offset.context("a partition that was not asked for")? +=
                i64::from(self.batch.records) * i64::try_from(records / self.batch_bytes)?;
            bytes += records as u64;
        }
        Ok(bytes)
    }

    pub(crate) fn rewind(&mut self) {
        self.offsets.fill(0);
    }

    fn request(&self) -> FetchRequest {
        let partitions = self.offsets.iter().zip(0..).map(|(offset, partition)| FetchPartition {
            partition,
            fetch_offset: *offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        });
        let topic =
            FetchTopic { topic: self.topic.clone(), partitions: partitions.collect(), ..Default::default() };
        FetchRequest {
            replica_id: -1,
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 50 << 20,
            topics: vec![topic],
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_alike_but_for_their_time() {
        let batch = Batch { records: 3, value_bytes: 100 };
        assert_eq!(batch.encode().unwrap().len(), batch.encode().unwrap().len());
    }
}
