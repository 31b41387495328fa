//! The load that brokers are taken down under: a writer for each of three partitions, and what was read back of
//! what they wrote.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use millstream_conformance::stored::batch_headers;
use millstream_testkit::{Kind, Running, wait_until};

use super::{
    Random,
    writer::{self, Acked, Broker, Writer},
};
use crate::session::{Session, decoded};

const TOPIC: &str = "kill";
const PARTITIONS: i32 = 3;
/// Small, so that the broker goes down in rolls too.
const SEGMENT_BYTES: &str = "1048576";
/// How long a round may take on a busy machine.
pub(crate) const ROUND_LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Load {
    broker: Arc<Broker>,
    writers: Vec<Writer>,
    seen: Vec<Seen>,
}

impl Load {
    pub(crate) fn start(target: &Running, random: &mut Random) -> Self {
        Session::open(target).topic_of(TOPIC, PARTITIONS, &[("segment.bytes", SEGMENT_BYTES)]);
        let broker = Arc::new(Broker::new(target.bootstrap()));
        // Apache Kafka recovers each producer's last batch alone, so there a second one in flight would be lost.
        let in_flight = if target.kind() == Kind::Kafka { 1 } else { 5 };
        let start = |partition| Writer::start(&broker, TOPIC, partition, in_flight, random.below(u64::MAX));
        let writers = (0..PARTITIONS).map(start).collect();
        Self { broker, writers, seen: vec![Seen::default(); PARTITIONS as usize] }
    }

    /// Whom the load goes to, for others that add to it.
    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Records that were acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.writers.iter().map(|w| w.acked().len() as u64).sum()
    }

    /// Waits until so many more are acknowledged.
    pub(crate) fn wait_for(&self, records: u64) {
        let goal = self.acked() + records;
        wait_until("the round's records to be acknowledged", ROUND_LIMIT, || {
            self.writers.iter().for_each(Writer::must_live);
            Ok((self.acked() >= goal).then_some(()))
        })
        .unwrap();
    }

    /// The broker was taken down.
    pub(crate) fn down(&self) {
        self.broker.down();
    }

    /// Before the writers go on: what was promised is there now, not by grace of a retry.
    pub(crate) fn check(&mut self, target: &Running) -> Result<()> {
        let mut session = Session::open(target);
        // Kafka tells that it serves before it leads all its partitions again.
        let limit = Duration::from_secs(if target.kind() == Kind::Kafka { 30 } else { 5 });
        for ((partition, seen), writer) in (0..).zip(&mut self.seen).zip(&self.writers) {
            if target.kind() == Kind::Kafka {
                session.wait_served(TOPIC, partition);
            }
            let promised = writer.acked().len() as u64;
            let what = format!("partition {partition} to hold the {promised} records acknowledged");
            wait_until(&what, limit, || {
                seen.read_on(&mut session, partition)?;
                Ok((seen.end >= promised).then_some(()))
            })?;
        }
        Ok(())
    }

    pub(crate) fn up(&self) {
        self.broker.up();
    }

    /// Brings to an end what is in flight, and looks at all there is, over the wire and in the files: as many
    /// records as were acknowledged, each at its offset.
    pub(crate) fn finish(mut self, target: &Running) -> u64 {
        let acknowledged: Vec<Acked> = self.writers.into_iter().map(Writer::finish).collect();
        let mut session = Session::open(target);
        for ((partition, seen), acked) in (0..).zip(&mut self.seen).zip(&acknowledged) {
            seen.read_on(&mut session, partition).unwrap();
            assert_eq!(
                seen.end,
                acked.len() as u64,
                "partition {partition}: as many records as were acknowledged"
            );
            acked.check(partition);
            let mut next = 0;
            for header in batch_headers(&target.log_dir(), TOPIC, partition).unwrap() {
                assert_eq!(
                    header.base_offset, next,
                    "partition {partition}: the files hold every offset once"
                );
                next = header.next_offset().0;
            }
        }
        acknowledged.iter().map(|acked| acked.len() as u64).sum()
    }
}

/// How much of a partition has been read and found right.
#[derive(Clone, Default)]
struct Seen {
    end: u64,
}

impl Seen {
    /// Reads from where the last look ended: the record at offset N must be the N-th that was written.
    fn read_on(&mut self, session: &mut Session, partition: i32) -> Result<()> {
        loop {
            let data = session.fetch_partition(TOPIC, partition, self.end as i64);
            ensure!(data.error_code == 0, "partition {partition}: {data:?}");
            let before = self.end;
            for batch in decoded(&data) {
                for record in &batch.records {
                    let offset = batch.offset_of(record).0 as u64;
                    if offset < before {
                        continue;
                    }
                    let value = record.value.as_ref().unwrap();
                    let number = writer::number_of(value);
                    ensure!(
                        (offset, number) == (self.end, self.end),
                        "partition {partition}: offset {offset} holds record {number}, expected was {}",
                        self.end
                    );
                    self.end += 1;
                }
            }
            if self.end == before {
                return Ok(());
            }
        }
    }
}
