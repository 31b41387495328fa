//! Latency while a consumer reads what is no longer in memory: a read from the disk must not hold up those
//! who produce.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use millstream_testkit::Running;

use crate::{
    floor::client::{Floor, Load},
    latency,
    plan::Extent,
    samples::{Figures, Metric, percentile},
    topics::Topic,
    usage,
    wire::{self, Batch, Reader},
};

const RATE: u32 = 1_000;
const PARTITIONS: i32 = 4;
const BATCH: Batch = Batch { records: 64, value_bytes: 1024 };

pub(crate) fn broker(broker: &Running, megabytes: u64, extent: &Extent) -> Result<Figures> {
    let bootstrap = broker.bootstrap();
    let cold = Topic::create(broker, "cold", PARTITIONS)?;
    let produced = Topic::create(broker, "beside-cold", 1)?;
    wire::fill(bootstrap, &cold.name, PARTITIONS, megabytes * 1_000_000, BATCH)?;
    let mut reader = Reader::open(bootstrap, &cold.name, PARTITIONS.unsigned_abs() as usize, BATCH)?;
    measure(
        broker.pid()?,
        || cold.evict(),
        || latency::run(bootstrap, &produced.name, RATE, extent.duration()),
        |reading| {
            reader.rewind();
            loop {
                let bytes = reader.fetch()?;
                if bytes == 0 || !reading.go_on(bytes) {
                    return Ok(());
                }
            }
        },
    )
}

pub(crate) fn floor(floor: &Floor, megabytes: u64, extent: &Extent) -> Result<Figures> {
    // Partition 0 is the one that is produced to meanwhile.
    let partitions = 1..1 + PARTITIONS.unsigned_abs();
    let bytes_max = megabytes * 1_000_000;
    floor.produce(&Load {
        partitions: partitions.clone(),
        frame_bytes: BATCH.encode()?.len(),
        bytes_max,
        duration: Duration::from_secs(600),
        bytes_per_second: None,
    })?;
    let figures = measure(
        floor.pid(),
        || floor.evict(),
        || floor.latency(RATE, extent.duration()),
        |reading| floor.read(partitions.clone(), |bytes| reading.go_on(bytes)),
    );
    floor.clear()?;
    figures
}

/// Whether to go on reading, and how much was read.
struct Reading<'a> {
    stop: &'a AtomicBool,
    bytes: u64,
}

impl Reading<'_> {
    fn go_on(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Latencies first without a reader, then with one, which begins again when it is through, with the files
/// evicted again.
fn measure(
    pid: u32,
    evict: impl Fn() -> Result<()> + Sync,
    latencies: impl Fn() -> Result<Vec<u32>>,
    mut read: impl FnMut(&mut Reading<'_>) -> Result<()> + Send,
) -> Result<Figures> {
    // What is not on the disk cannot be evicted.
    rustix::fs::sync();
    let mut quiet = latencies()?;
    rustix::fs::sync();
    let stop = AtomicBool::new(false);
    let disk_before = usage::disk_read_bytes(pid)?;
    let started = Instant::now();
    let (busy, read) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reading = Reading { stop: &stop, bytes: 0 };
            while !stop.load(Ordering::Relaxed) {
                evict()?;
                read(&mut reading)?;
            }
            Ok::<_, anyhow::Error>(reading.bytes)
        });
        let busy = latencies();
        stop.store(true, Ordering::Relaxed);
        (busy, reader.join())
    });
    let elapsed = started.elapsed();
    let read = read.ok().context("the reader panicked")??;
    let mut busy = busy?;
    let from_disk = usage::disk_read_bytes(pid)? - disk_before;
    ensure!(from_disk * 2 > read, "of {read} bytes read only {from_disk} came from the disk");
    Ok(Figures::from([
        (Metric::QuietP50Ms, percentile(&mut quiet, 0.5)),
        (Metric::QuietP99Ms, percentile(&mut quiet, 0.99)),
        (Metric::P50Ms, percentile(&mut busy, 0.5)),
        (Metric::P99Ms, percentile(&mut busy, 0.99)),
        (Metric::ReadMibPerSecond, read as f64 / f64::from(1 << 20) / elapsed.as_secs_f64()),
    ]))
}
