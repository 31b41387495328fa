//! What is measured.

use crate::{Options, payload::Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Lz4,
}

impl Codec {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
        }
    }

    /// What is compressed should be compressible; what is not, should not flatter a disk that compresses.
    pub(crate) fn payload(self) -> Kind {
        match self {
            Self::None => Kind::Random,
            Self::Lz4 => Kind::Json,
        }
    }
}

/// As many records as possible, then all of them read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    pub(crate) size: usize,
    pub(crate) partitions: i32,
    pub(crate) codec: Codec,
}

impl Throughput {
    pub(crate) fn name(&self, verb: &str) -> String {
        let Self { size, partitions, codec } = self;
        let plural = if *partitions == 1 { "" } else { "s" };
        let codec = if *codec == Codec::None { "" } else { " lz4" };
        format!("{verb} {size} B, {partitions} partition{plural}{codec}")
    }
}

pub(crate) fn throughput(options: &Options) -> Vec<Throughput> {
    let mut all = Vec::new();
    for partitions in if options.quick { vec![1] } else { vec![1, 12] } {
        for size in [100, 1024] {
            for codec in [Codec::None, Codec::Lz4] {
                all.push(Throughput { size, partitions, codec });
            }
        }
    }
    all.retain(|each| wanted(options, &each.name("produce")) || wanted(options, &each.name("consume")));
    all
}

/// Records a second, in an open loop: sent on time whether the earlier ones are answered or not.
pub(crate) fn latency_rates(options: &Options) -> Vec<u32> {
    let rates = if options.quick { vec![1_000] } else { vec![1_000, 10_000] };
    rates.into_iter().filter(|rate| wanted(options, &latency_name(*rate))).collect()
}

pub(crate) fn latency_name(rate: u32) -> String {
    format!("latency at {rate}/s")
}

/// Records and their size for Kafka's own tools.
pub(crate) fn java(options: &Options) -> Vec<(u64, usize)> {
    let all = if options.quick { vec![(100_000, 100)] } else { vec![(5_000_000, 100), (1_000_000, 1024)] };
    all.into_iter().filter(|(_, size)| wanted(options, &java_name("produce", *size))).collect()
}

pub(crate) fn java_name(verb: &str, size: usize) -> String {
    format!("java {verb} {size} B")
}

pub(crate) const START: &str = "start";
pub(crate) const MEMORY_IDLE: &str = "memory idle";
pub(crate) const MEMORY_AFTER: &str = "memory after";

pub(crate) fn wanted(options: &Options, name: &str) -> bool {
    options.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
}
