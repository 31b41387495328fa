//! An idempotent producer for one partition, written for this test: it numbers its records, keeps several
//! batches in flight, and after a loss of the connection sends again what was not acknowledged, with the
//! sequence numbers it had.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Result, bail};
use bytes::Bytes;
use millstream_protocol::messages::ProduceRequest;
use millstream_testkit::Connection;
use millstream_types::ErrorCode;

use super::Random;
use crate::session::{Session, code, idempotent, produce_request};

const PRODUCE_VERSION: i16 = 9;

/// Whether the broker is there; writers wait here while it is not.
pub(crate) struct Broker {
    address: String,
    is_up: Mutex<bool>,
    changed: Condvar,
}

impl Broker {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), is_up: Mutex::new(true), changed: Condvar::new() }
    }

    pub(crate) fn down(&self) {
        *locked(&self.is_up) = false;
    }

    pub(crate) fn up(&self) {
        *locked(&self.is_up) = true;
        self.changed.notify_all();
    }

    /// Waits until the broker is there. None if it went away meanwhile: who comes late must not reach the next
    /// life of the broker while that is looked at.
    pub(crate) fn connect(&self) -> Option<Connection> {
        let guard = locked(&self.is_up);
        drop(self.changed.wait_while(guard, |up| !*up).unwrap_or_else(PoisonError::into_inner));
        let connection = Connection::open(&self.address).ok()?;
        locked(&self.is_up).then_some(connection)
    }
}

/// What was acknowledged: for each record in the order of writing, its offset.
#[derive(Clone, Default)]
pub(super) struct Acked(Vec<i64>);

impl Acked {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Record N was acknowledged at offset N: nothing else is written to the partition.
    pub(super) fn check(&self, partition: i32) {
        for (number, offset) in (0_i64..).zip(&self.0) {
            assert_eq!(*offset, number, "partition {partition}: the acknowledged offset of record {number}");
        }
    }
}

pub(super) struct Writer {
    acked: Arc<Mutex<Acked>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Writer {
    pub(super) fn start(
        broker: &Arc<Broker>,
        topic: &str,
        partition: i32,
        in_flight: usize,
        seed: u64,
    ) -> Self {
        let acked = Arc::new(Mutex::new(Acked::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            broker: Arc::clone(broker),
            topic: topic.to_owned(),
            partition,
            in_flight_max: in_flight,
            producer_id: Session(Connection::open(&broker.address).unwrap()).new_producer_id(),
            random: Random::new(seed),
            written: 0,
            unacked: VecDeque::new(),
            acked: Arc::clone(&acked),
            stopping: Arc::clone(&stopping),
        };
        Self { acked, stopping, thread: Some(thread::spawn(move || work.run())) }
    }

    pub(super) fn acked(&self) -> MutexGuard<'_, Acked> {
        locked(&self.acked)
    }

    pub(super) fn must_live(&self) {
        assert!(self.thread.as_ref().is_some_and(|t| !t.is_finished()), "a writer gave up; see above");
    }

    /// Lets it bring to an end what is in flight; what was acknowledged in all.
    pub(super) fn finish(mut self) -> Acked {
        self.stopping.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("a writer is finished once");
        thread.join().expect("the writer does not panic").unwrap();
        locked(&self.acked).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Batch {
    records: Bytes,
    count: usize,
    first: u64,
}

struct Work {
    broker: Arc<Broker>,
    topic: String,
    partition: i32,
    in_flight_max: usize,
    producer_id: i64,
    random: Random,
    /// Records given to batches so far: the next one's number.
    written: u64,
    unacked: VecDeque<Batch>,
    acked: Arc<Mutex<Acked>>,
    stopping: Arc<AtomicBool>,
}

/// Why a connection is not used on.
enum Lost {
    /// The broker went away, or asks to come again.
    Connection,
    /// It answered what it must not.
    Fault(anyhow::Error),
}

impl Work {
    fn run(&mut self) -> Result<()> {
        while !(self.stopping.load(Ordering::SeqCst) && self.unacked.is_empty()) {
            let Some(mut connection) = self.broker.connect() else { continue };
            if let Err(Lost::Fault(error)) = self.write(&mut connection) {
                eprintln!("partition {}: {error:#}", self.partition);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes until the connection is lost, or all is said and done.
    fn write(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let mut sent = 0;
        loop {
            let stopping = self.stopping.load(Ordering::SeqCst);
            if self.unacked.is_empty() && stopping {
                return Ok(());
            }
            while self.unacked.len() < self.in_flight_max && !stopping {
                let batch = self.next_batch();
                self.unacked.push_back(batch);
            }
            while sent < self.unacked.len() {
                let records = self.unacked[sent].records.clone();
                let request = produce_request(-1, &self.topic, self.partition, records);
                connection.send(PRODUCE_VERSION, &request).map_err(|_| Lost::Connection)?;
                sent += 1;
            }
            let (_, mut answer) =
                connection.receive::<ProduceRequest>(PRODUCE_VERSION).map_err(|_| Lost::Connection)?;
            let answer = answer.responses.remove(0).partition_responses.remove(0);
            match code(answer.error_code) {
                ErrorCode::None => {
                    self.acknowledge(answer.base_offset).map_err(Lost::Fault)?;
                    sent -= 1;
                }
                again if again.is_retriable() => return Err(Lost::Connection),
                other => {
                    let batch = self.unacked.front().map(|b| (b.first, b.count));
                    return Err(Lost::Fault(anyhow::anyhow!(
                        "{other} for the batch (first, count) {batch:?}"
                    )));
                }
            }
        }
    }

    fn acknowledge(&mut self, base_offset: i64) -> Result<()> {
        let Some(batch) = self.unacked.pop_front() else { bail!("an answer without a request") };
        let mut acked = locked(&self.acked);
        if acked.0.len() as u64 != batch.first {
            bail!("record {} was acknowledged after {}", batch.first, acked.0.len());
        }
        acked.0.extend((base_offset..).take(batch.count));
        Ok(())
    }

    fn next_batch(&mut self) -> Batch {
        let count = 1 + self.random.below(60) as usize;
        let values: Vec<String> = (self.written..)
            .take(count)
            .map(|number| format!("{number}:{}", "x".repeat(self.random.below(500) as usize)))
            .collect();
        let first = self.written;
        let sequence = i32::try_from(first).expect("a test writes fewer than 2^31 records");
        self.written += count as u64;
        Batch { records: idempotent(self.producer_id, 0, sequence, &values), count, first }
    }
}

/// The number in front of a record's value.
pub(super) fn number_of(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).expect("values are text");
    text.split(':').next().and_then(|number| number.parse().ok()).expect("values begin with their number")
}
