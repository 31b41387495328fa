//! `cat --group`: records read as a member of a group, which may have others; what was printed is committed.

use std::time::Duration;

use anyhow::Result;
use millstream_client::{Consumer, ConsumerEvent, IsolationLevel, OffsetReset};

use super::{Arguments, Printer};
use crate::command::{
    connect::interrupted,
    failure::{Failure, usage},
    output::{reader_is_gone, write},
    topic::{find, parse_name},
};

const POLL: Duration = Duration::from_secs(1);

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    if arguments.until.is_some() || arguments.partitions.is_some() {
        return Err(usage(
            "--group: the group says which partitions and how far; leave --partitions and --until out",
        ));
    }
    let name = parse_name(&arguments.name)?;
    let mut connected = arguments.connect.connect().await?;
    let config = &mut connected.consumer;
    config.group_id = arguments.group.clone();
    // What was not printed is not committed.
    config.enable_auto_commit = false;
    config.auto_offset_reset = OffsetReset::Earliest;
    if arguments.read_committed {
        config.isolation_level = IsolationLevel::ReadCommitted;
    }
    let printer = Printer::new(&arguments.shape, &connected.client)?;
    find(&connected.client.admin(), &name).await?;
    let mut consumer = Consumer::new(connected.client, connected.consumer);
    consumer.subscribe([name])?;
    let left = arguments.count.unwrap_or(usize::MAX);
    let outcome = tokio::select! {
        outcome = read(&mut consumer, &printer, left, arguments.exit) => outcome,
        () = interrupted() => Err(Failure::Interrupted.into()),
    };
    consumer.close().await?;
    outcome
}

async fn read(consumer: &mut Consumer, printer: &Printer, mut left: usize, exit: bool) -> Result<()> {
    while left > 0 {
        let Some(event) = consumer.next(POLL).await? else {
            if reader_is_gone() || (exit && is_at_end(consumer)) {
                return Ok(());
            }
            continue;
        };
        let ConsumerEvent::Records(records) = event else { continue };
        let mut out = Vec::new();
        let printed = records.len().min(left);
        for record in &records[..printed] {
            printer.print(record, &mut out);
        }
        if !write(&out)? {
            return Ok(());
        }
        left -= printed;
        if let Some(last) = records[..printed].last() {
            consumer.commit_record(last).await?;
        }
        if exit && is_at_end(consumer) {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether everything that this member has been given was read; false while it has been given nothing.
fn is_at_end(consumer: &Consumer) -> bool {
    let assignment = consumer.assignment();
    let is_read =
        |progress: millstream_client::Progress| progress.end.is_some_and(|end| progress.position >= end);
    !assignment.is_empty()
        && assignment.iter().all(|partition| consumer.progress(partition).is_some_and(is_read))
}
