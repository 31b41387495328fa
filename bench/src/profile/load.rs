//! The loads: those of the benchmark, gone on with until they are stopped.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Result;
use millstream_testkit::Running;

use crate::{
    consume, latency, payload,
    plan::{Codec, Throughput},
    produce::{self, Limit},
    topics::Topic,
};

/// A pass of a load; between two there is a pause of milliseconds.
const PASS: Duration = Duration::from_secs(4);
/// What is there to be read; it fits into memory.
const READ_BYTES: u64 = 2 << 30;

#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    Produce(Throughput),
    Consume(Throughput),
    /// One by one, so many a second.
    Singles {
        rate: u32,
    },
}

const fn plain(size: usize) -> Throughput {
    Throughput { size, partitions: 12, codec: Codec::None, payload: payload::Kind::Random }
}

const LZ4: Throughput =
    Throughput { size: 1024, partitions: 12, codec: Codec::Lz4, payload: payload::Kind::Json };

pub(super) const ALL: [Load; 7] = [
    Load::Produce(plain(100)),
    Load::Produce(plain(1024)),
    Load::Produce(LZ4),
    Load::Singles { rate: 1_000 },
    Load::Singles { rate: 10_000 },
    Load::Consume(plain(100)),
    Load::Consume(plain(1024)),
];

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Produce(load) => write!(f, "produce {load}"),
            Self::Consume(load) => write!(f, "consume {load}"),
            Self::Singles { rate } => write!(f, "produce one by one, {rate}/s"),
        }
    }
}

impl Load {
    /// What its records are sent to, or read from.
    pub(super) fn prepare(self, broker: &Running) -> Result<UnderWay> {
        let (partitions, values) = match self {
            Self::Produce(load) | Self::Consume(load) => {
                (load.partitions, payload::values(load.payload, load.size))
            }
            Self::Singles { .. } => (1, Vec::new()),
        };
        let topic = Topic::create(broker, "profile", partitions)?;
        let mut under_way =
            UnderWay { load: self, bootstrap: broker.bootstrap().to_owned(), topic, values, readable: 0 };
        if let Self::Consume(load) = self {
            under_way.readable = under_way.produce(&load, READ_BYTES)?;
        }
        Ok(under_way)
    }

    /// How many requests of the kind that the load is made of were answered so far.
    pub(super) fn requests(self, broker: &Running) -> Result<u64> {
        let name = match self {
            Self::Produce(_) | Self::Singles { .. } => "Produce",
            Self::Consume(_) => "Fetch",
        };
        broker.metric(&format!("kafka_network_requestmetrics_requests_total{{request=\"{name}\"}}"))
    }
}

pub(super) struct UnderWay {
    load: Load,
    bootstrap: String,
    topic: Topic,
    values: Vec<Vec<u8>>,
    /// Records that a consumer finds.
    readable: u64,
}

impl UnderWay {
    pub(super) fn go_on_until(&self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let topic = &self.topic.name;
            match self.load {
                Load::Produce(load) => {
                    self.produce(&load, u64::MAX)?;
                }
                Load::Consume(load) => {
                    consume::run(&self.bootstrap, topic, load.partitions, self.readable)?;
                }
                Load::Singles { rate } => {
                    latency::run(&self.bootstrap, topic, rate, PASS)?;
                }
            }
        }
        Ok(())
    }

    fn produce(&self, load: &Throughput, bytes: u64) -> Result<u64> {
        let limit = Limit { duration: PASS, bytes };
        Ok(produce::run(&self.bootstrap, &self.topic.name, load, &self.values, limit)?.records)
    }
}
