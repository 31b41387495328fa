//! How long an acknowledgement takes while records come at a steady rate, one by one (`linger.ms=0`).
//!
//! An open loop: each record has its time, and its latency counts from that time, not from when the client
//! got round to it. So a stall is felt by every record that should have been sent during it.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rdkafka::{
    ClientConfig, ClientContext,
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};

pub(crate) const RECORD_BYTES: usize = 200;
/// Left out at the beginning: connecting, and first of all kinds.
const WARM_UP: Duration = Duration::from_millis(500);

/// Latencies in microseconds.
pub(crate) fn run(bootstrap: &str, topic: &str, rate: u32, duration: Duration) -> Result<Vec<u32>> {
    let value = [b'x'; RECORD_BYTES];
    let context = Answers { started: Instant::now(), latencies: Mutex::default() };
    let started = context.started;
    let producer: ThreadedProducer<Answers> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("linger.ms", "0")
        .create_with_context(context)?;
    let count = scheduled_count(rate, duration);
    for index in 0..count {
        let due = due(index, rate);
        wait_until(started + due);
        let due_micros = usize::try_from(due.as_micros())?;
        let record = BaseRecord::<(), [u8], usize>::with_opaque_to(topic, due_micros).payload(&value[..]);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(Duration::from_secs(60))?;
    let answers = std::mem::take(&mut *lock(&producer.context().latencies));
    ensure!(answers.len() as u64 == count, "{} of {count} records were acknowledged", answers.len());
    Ok(measured(answers))
}

pub(crate) fn scheduled_count(rate: u32, duration: Duration) -> u64 {
    ((WARM_UP + duration).as_secs_f64() * f64::from(rate)) as u64
}

pub(crate) fn due(index: u64, rate: u32) -> Duration {
    Duration::from_secs_f64(index as f64 / f64::from(rate))
}

/// Without the warm-up: (due, latency) in microseconds.
pub(crate) fn measured(answers: Vec<(u32, u32)>) -> Vec<u32> {
    let warm = WARM_UP.as_micros() as u32;
    answers.into_iter().filter(|(due, _)| *due >= warm).map(|(_, latency)| latency).collect()
}

pub(crate) fn wait_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

struct Answers {
    started: Instant,
    /// When it was due, and how long after that it was acknowledged.
    latencies: Mutex<Vec<(u32, u32)>>,
}

impl ClientContext for Answers {}

impl ProducerContext for Answers {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, due_micros: usize) {
        if result.is_ok() {
            let now = self.started.elapsed().as_micros() as u32;
            let due = due_micros as u32;
            lock(&self.latencies).push((due, now.saturating_sub(due)));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
