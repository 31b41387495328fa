//! What a client is asked to do, as its process is told and as it answers.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    payload,
    plan::{Codec, Throughput},
    samples::percentile,
    usage,
};

pub(crate) const PARTITIONS: i32 = 12;
/// Before what is measured: connections, caches and, in Java, the compiler.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);
/// Between two awaited records at the most, or the broker is gone.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// As many records as it can, `linger.ms=5`.
    Produce { size: usize, codec: Codec, batch: Option<usize> },
    /// All records of a topic that is there.
    Consume { size: usize, codec: Codec },
    /// One record, its acknowledgement, the next: `linger.ms=0`.
    Await,
}

impl Task {
    pub(crate) const ALL: [Self; 11] = [
        Self::Produce { size: 100, codec: Codec::None, batch: None },
        Self::Produce { size: 100, codec: Codec::None, batch: Some(SAME_BATCH) },
        Self::Produce { size: 100, codec: Codec::Lz4, batch: None },
        Self::Produce { size: 1024, codec: Codec::None, batch: None },
        Self::Produce { size: 1024, codec: Codec::None, batch: Some(SAME_BATCH) },
        Self::Produce { size: 1024, codec: Codec::Lz4, batch: None },
        Self::Consume { size: 100, codec: Codec::None },
        Self::Consume { size: 100, codec: Codec::Lz4 },
        Self::Consume { size: 1024, codec: Codec::None },
        Self::Consume { size: 1024, codec: Codec::Lz4 },
        Self::Await,
    ];

    pub(crate) fn size(self) -> usize {
        match self {
            Self::Produce { size, .. } | Self::Consume { size, .. } => size,
            Self::Await => 100,
        }
    }

    pub(crate) fn codec(self) -> Codec {
        match self {
            Self::Produce { codec, .. } | Self::Consume { codec, .. } => codec,
            Self::Await => Codec::None,
        }
    }

    pub(crate) fn batch(self) -> Option<usize> {
        match self {
            Self::Produce { batch, .. } => batch,
            Self::Consume { .. } | Self::Await => None,
        }
    }

    pub(crate) fn values(self) -> Vec<Vec<u8>> {
        payload::values(self.throughput().payload, self.size())
    }

    /// Of the load that the brokers are measured with.
    pub(crate) fn throughput(self) -> Throughput {
        let payload = match self.codec() {
            Codec::None => payload::Kind::Random,
            Codec::Lz4 => payload::Kind::Json,
        };
        Throughput { size: self.size(), partitions: PARTITIONS, codec: self.codec(), payload }
    }
}

/// What the clients' own defaults differ in most: 16 KiB in Java and Millstream, 1 MB in librdkafka.
const SAME_BATCH: usize = 131_072;

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, codec) = (self.size(), self.codec().name());
        match self {
            Self::Produce { batch: None, .. } => write!(f, "produce {size} B, {codec}"),
            Self::Produce { batch: Some(batch), .. } => {
                write!(f, "produce {size} B, {codec}, batch.size={batch}")
            }
            Self::Consume { .. } => write!(f, "consume {size} B, {codec}"),
            Self::Await => f.write_str("one awaited record after the other"),
        }
    }
}

/// What a client's process says at its end, on a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) records: u64,
    pub(crate) seconds: f64,
    /// Processor time of the client's process meanwhile.
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_mib: f64,
    pub(crate) threads: usize,
    #[serde(default)]
    pub(crate) p50_ms: f64,
    #[serde(default)]
    pub(crate) p99_ms: f64,
}

/// Measures this process from now on.
pub(crate) struct Meter {
    started: Instant,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { started: Instant::now(), cpu: usage::cpu(std::process::id())? })
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn report(&self, records: u64, mut micros: Vec<u32>) -> Result<Report> {
        let own = std::process::id();
        let part =
            |micros: &mut Vec<u32>, part| if micros.is_empty() { 0.0 } else { percentile(micros, part) };
        Ok(Report {
            records,
            seconds: self.elapsed().as_secs_f64(),
            cpu_seconds: (usage::cpu(own)? - self.cpu).as_secs_f64(),
            peak_rss_mib: usage::peak_rss_mib(own)?,
            threads: usage::entries(own, "task")?,
            p50_ms: part(&mut micros, 0.5),
            p99_ms: part(&mut micros, 0.99),
        })
    }
}
