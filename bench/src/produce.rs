//! As many records as the client can send: librdkafka, `acks=all`, `linger.ms=5`. By its batch interface,
//! since its safe binding, a call and a look-up of the topic for each record, would measure itself.

use std::{
    ffi::CString,
    ptr,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use rdkafka::{
    ClientConfig, ClientContext,
    bindings::{
        rd_kafka_message_t, rd_kafka_produce_batch, rd_kafka_resp_err_t, rd_kafka_topic_destroy,
        rd_kafka_topic_new, rd_kafka_topic_t,
    },
    message::DeliveryResult,
    producer::{BaseProducer, Producer, ProducerContext},
};

use crate::plan::Throughput;

/// Records handed over in one call, all for one partition: few enough that a hundred partitions get
/// theirs many times within the linger time.
const CALL_RECORDS: usize = 64;
/// How long the last acknowledgements may take.
const SILENCE_MAX: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) duration: Duration,
    pub(crate) bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Produced {
    pub(crate) records: u64,
    /// From the first record handed over to the last one acknowledged.
    pub(crate) elapsed: Duration,
}

pub(crate) fn run(
    bootstrap: &str,
    topic: &str,
    load: &Throughput,
    values: &[Vec<u8>],
    limit: Limit,
) -> Result<Produced> {
    run_with(bootstrap, topic, load, values, limit, [])
}

/// With settings that are not those of every run.
pub(crate) fn run_with(
    bootstrap: &str,
    topic: &str,
    load: &Throughput,
    values: &[Vec<u8>],
    limit: Limit,
    settings: impl IntoIterator<Item = (&'static str, String)>,
) -> Result<Produced> {
    let mut config = ClientConfig::new();
    config.extend(settings.into_iter().map(|(key, value)| (key.to_owned(), value)));
    let producer: BaseProducer<Failures> = config
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("compression.codec", load.codec.name())
        .set("queue.buffering.max.messages", "500000")
        // Failures are counted; that the rest is acknowledged, flush says.
        .set("delivery.report.only.error", "true")
        .create_with_context(Failures::default())?;
    let handle = Topic::of(&producer, topic)?;
    let records_max = limit.bytes / load.size as u64;
    let started = Instant::now();
    let mut records = 0_u64;
    let mut calls = (0..load.partitions).cycle().zip(values.chunks_exact(CALL_RECORDS).cycle());
    while records < records_max && started.elapsed() < limit.duration {
        let Some((partition, values)) = calls.next() else { bail!("no partitions or no values") };
        let mut left = values;
        while !left.is_empty() {
            let taken = handle.send(partition, left)?;
            left = &left[taken..];
            producer.poll(Duration::from_millis(u64::from(!left.is_empty())));
        }
        records += CALL_RECORDS as u64;
    }
    all_acknowledged(&producer, SILENCE_MAX)?;
    Ok(Produced { records, elapsed: started.elapsed() })
}

/// Waits until nothing is on its way. Not by `flush`, which looks every 100 ms.
pub(crate) fn all_acknowledged(producer: &BaseProducer<Failures>, limit: Duration) -> Result<()> {
    let started = Instant::now();
    while producer.in_flight_count() > 0 {
        let left = producer.in_flight_count();
        ensure!(started.elapsed() < limit, "{left} records were not acknowledged within {limit:?}");
        producer.poll(Duration::ZERO);
        thread::sleep(Duration::from_micros(200));
    }
    let failures = producer.context().0.load(Ordering::Relaxed);
    ensure!(failures == 0, "{failures} records were given up");
    Ok(())
}

/// A producer's handle on a topic; it must not outlive the producer.
struct Topic<'a> {
    topic: *mut rd_kafka_topic_t,
    _producer: &'a BaseProducer<Failures>,
}

#[expect(unsafe_code, reason = "the batch interface has no safe binding")]
impl<'a> Topic<'a> {
    fn of(producer: &'a BaseProducer<Failures>, name: &str) -> Result<Self> {
        let name = CString::new(name)?;
        // SAFETY: the client is alive as long as the producer, which is borrowed; the name is copied; no
        // configuration means the client's own.
        let topic =
            unsafe { rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        ensure!(!topic.is_null(), "no handle on the topic");
        Ok(Self { topic, _producer: producer })
    }

    /// How many of the values the client's queue had room for, counted from the first.
    fn send(&self, partition: i32, values: &[Vec<u8>]) -> Result<usize> {
        const NEITHER_COPY_NOR_FREE: i32 = 0;
        let count = values.len().min(CALL_RECORDS);
        let mut messages: [rd_kafka_message_t; CALL_RECORDS] = std::array::from_fn(|index| {
            let value = values.get(index).map_or(&[][..], Vec::as_slice);
            rd_kafka_message_t {
                err: rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: ptr::null_mut(),
                partition,
                payload: value.as_ptr().cast_mut().cast(),
                len: value.len(),
                key: ptr::null_mut(),
                key_len: 0,
                offset: 0,
                _private: ptr::null_mut(),
            }
        });
        // SAFETY: the handle is alive; `count` messages are there. Their values are only read, until they are
        // acknowledged or the producer is gone; `run` borrows them for longer than it has the producer.
        let taken = unsafe {
            rd_kafka_produce_batch(
                self.topic,
                partition,
                NEITHER_COPY_NOR_FREE,
                messages.as_mut_ptr(),
                i32::try_from(count)?,
            )
        };
        let taken = usize::try_from(taken)?;
        // Once the queue is full, it is full for the rest of the call too.
        match messages[..count].get(taken).map(|first_refused| first_refused.err) {
            None | Some(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__QUEUE_FULL) => Ok(taken),
            Some(error) => bail!("{error:?}"),
        }
    }
}

#[expect(unsafe_code, reason = "the batch interface has no safe binding")]
impl Drop for Topic<'_> {
    fn drop(&mut self) {
        // SAFETY: our own reference, given back once.
        unsafe { rd_kafka_topic_destroy(self.topic) };
    }
}

/// Counts the records that were given up.
#[derive(Default)]
pub(crate) struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
