//! As many records as possible, then all of them read: a topic of a broker, or the floor with frames of
//! the size that the client's batches had.

use std::time::Duration;

use anyhow::{Result, ensure};
use millstream_testkit::Running;

use crate::{
    consume,
    floor::client::{Floor, Load},
    payload,
    plan::{Extent, Throughput},
    produce::{self, Limit},
    samples::{Figures, Metric},
    topics::Topic,
    usage,
    wire::{self, Batch},
};

/// Larger than the distance of index entries.
const WARM_UP: Batch = Batch { records: 8, value_bytes: 1024 };

pub(crate) fn broker(broker: &Running, load: &Throughput, extent: &Extent) -> Result<Figures> {
    let values = payload::values(load.payload, load.size);
    let topic = Topic::create(broker, "throughput", load.partitions)?;
    let (pid, bootstrap) = (broker.pid()?, broker.bootstrap());
    wire::warm_up(bootstrap, &wire::produce_frames(&topic.name, load.partitions, &WARM_UP.encode()?)?)?;
    let warm_up_records = 2 * u64::from(WARM_UP.records) * u64::from(load.partitions.unsigned_abs());
    let log_before = topic.log()?;

    rustix::fs::sync();
    let before = usage::cpu(pid)?;
    let produced = produce::run(bootstrap, &topic.name, load, &values, limit(extent))?;
    let produce_cpu = usage::cpu(pid)? - before;
    let log = topic.log()?.since(log_before);
    ensure!(log.batches > 0, "the log holds no batch");

    rustix::fs::sync();
    let before = usage::cpu(pid)?;
    let consumed = consume::run(bootstrap, &topic.name, load.partitions, produced.records + warm_up_records)?;
    let consume_cpu = usage::cpu(pid)? - before;

    let mut figures =
        figures(produced.records as f64, [produced.elapsed, consumed], [produce_cpu, consume_cpu]);
    figures.insert(Metric::RecordBytes, log.bytes as f64 / produced.records as f64);
    figures.insert(Metric::BatchBytes, log.bytes as f64 / log.batches as f64);
    Ok(figures)
}

/// What the client sent to a broker, to be sent to the floor in the same portions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portions {
    pub(crate) record_bytes: f64,
    pub(crate) batch_bytes: f64,
    pub(crate) records_per_second: f64,
}

/// Twice: as fast as it goes, for the rate; and at the rate that the broker had, for the processor time,
/// since a loop that is always behind finds more to flush at once than any broker at that rate could.
pub(crate) fn floor(
    floor: &Floor,
    load: &Throughput,
    portions: Portions,
    extent: &Extent,
) -> Result<Figures> {
    let Portions { record_bytes, batch_bytes, records_per_second } = portions;
    let Limit { duration, bytes } = limit(extent);
    let full = Load {
        partitions: 0..load.partitions.unsigned_abs(),
        frame_bytes: batch_bytes as usize,
        bytes_max: (bytes as f64 * record_bytes / load.size as f64) as u64,
        duration: duration / 2,
        bytes_per_second: None,
    };
    rustix::fs::sync();
    let (fast_bytes, fast_elapsed) = floor.produce(&full)?;
    floor.clear()?;

    rustix::fs::sync();
    let before = usage::cpu(floor.pid())?;
    let paced = Load { duration, bytes_per_second: Some(records_per_second * record_bytes), ..full };
    let (bytes, _) = floor.produce(&paced)?;
    let produce_cpu = usage::cpu(floor.pid())? - before;
    // Read often enough for the clock that counts processor time, which ticks a hundred times a second.
    let before = usage::cpu(floor.pid())?;
    let (mut consumed, mut passes) = (Duration::ZERO, 0);
    while passes == 0 || consumed < duration / 4 {
        consumed += floor.consume(paced.partitions.clone())?;
        passes += 1;
    }
    let consume_cpu = (usage::cpu(floor.pid())? - before) / passes;
    floor.clear()?;

    let records = bytes as f64 / record_bytes;
    let as_if = fast_elapsed.mul_f64(bytes as f64 / fast_bytes as f64);
    Ok(figures(records, [as_if, consumed / passes], [produce_cpu, consume_cpu]))
}

fn limit(extent: &Extent) -> Limit {
    Limit { duration: extent.duration(), bytes: extent.bytes_max() }
}

fn figures(records: f64, elapsed: [Duration; 2], cpu: [Duration; 2]) -> Figures {
    let [produced, consumed] = elapsed.map(|elapsed| records / elapsed.as_secs_f64());
    let [produce_cpu, consume_cpu] = cpu.map(|cpu| cpu.as_secs_f64() / records * 1e6);
    Figures::from([
        (Metric::ProducedPerSecond, produced),
        (Metric::ProduceCpu, produce_cpu),
        (Metric::ConsumedPerSecond, consumed),
        (Metric::ConsumeCpu, consume_cpu),
    ])
}
