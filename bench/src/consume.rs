//! All records of a topic, as fast as the client can take them: librdkafka's batch interface, since its
//! safe binding, a call for each record, would measure itself.

use std::{
    ptr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    bindings::{
        rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_queue_destroy,
        rd_kafka_queue_get_consumer, rd_kafka_queue_t, rd_kafka_resp_err_t,
    },
    consumer::{BaseConsumer, Consumer},
};

/// A broker that is silent for so long has stopped.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const BATCH: usize = 4096;

pub(crate) fn run(bootstrap: &str, topic: &str, partitions: i32, records: u64) -> Result<Duration> {
    run_watched(bootstrap, topic, partitions, records, |_| Ok(()))
}

/// `watch` hears how many records were read so far.
pub(crate) fn run_watched(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    records: u64,
    mut watch: impl FnMut(u64) -> Result<()>,
) -> Result<Duration> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        // With its own queue full the client would not ask for a second.
        .set("fetch.queue.backoff.ms", "1")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    let queue = Queue::of(&consumer);
    let started = Instant::now();
    consumer.assign(&assignment)?;
    let (mut read, mut heard) = (0, Instant::now());
    while read < records {
        match queue.take()? {
            0 => ensure!(heard.elapsed() < SILENCE_MAX, "{topic}: {read} of {records} came, then nothing"),
            count => {
                read += count;
                heard = Instant::now();
                watch(read)?;
            }
        }
    }
    Ok(started.elapsed())
}

/// Where the consumer's records arrive; it must not outlive the consumer.
struct Queue<'a> {
    queue: *mut rd_kafka_queue_t,
    _consumer: &'a BaseConsumer,
}

#[expect(unsafe_code, reason = "the batch interface has no safe binding")]
impl<'a> Queue<'a> {
    fn of(consumer: &'a BaseConsumer) -> Self {
        // SAFETY: the handle is alive as long as the consumer, which is borrowed; a consumer has this queue.
        let queue = unsafe { rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        Self { queue, _consumer: consumer }
    }

    /// How many records came within a second.
    fn take(&self) -> Result<u64> {
        let mut messages: [*mut rd_kafka_message_t; BATCH] = [ptr::null_mut(); BATCH];
        // SAFETY: the queue is alive and there is room for BATCH pointers.
        let count = unsafe { rd_kafka_consume_batch_queue(self.queue, 1000, messages.as_mut_ptr(), BATCH) };
        let Ok(count) = usize::try_from(count) else { bail!("the batch could not be taken") };
        let mut failure = None;
        for message in &messages[..count] {
            // SAFETY: of the pointers, as many as were said are messages and ours; each is freed once and
            // not looked at again.
            unsafe {
                if (**message).err != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    failure = Some((**message).err);
                }
                rd_kafka_message_destroy(*message);
            }
        }
        match failure {
            None => Ok(count as u64),
            Some(error) => bail!("{error:?}"),
        }
    }
}

#[expect(unsafe_code, reason = "the batch interface has no safe binding")]
impl Drop for Queue<'_> {
    fn drop(&mut self) {
        // SAFETY: our own reference, given back once.
        unsafe { rd_kafka_queue_destroy(self.queue) };
    }
}
