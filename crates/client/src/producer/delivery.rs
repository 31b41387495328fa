//! What tells callers of the fates of their records: one waiter for a batch, which all of its records share.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use millstream_types::{Offset, TimestampMs, TopicPartition};
use parking_lot::Mutex;

use super::accumulator::{Fate, Written};
use crate::{Error, Result};

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    pub partition: TopicPartition,
    /// None with `acks=0`, or if a retry found the record already there.
    pub offset: Option<Offset>,
    /// The record's, or the broker's for a topic with `LogAppendTime`.
    pub timestamp: TimestampMs,
}

/// Waits for the fates of a batch's records.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchWaiter(Arc<Mutex<Fates>>);

#[derive(Debug, Default)]
struct Fates {
    /// More than one if the batch was split.
    known: Vec<Part>,
    /// By the slot that a delivery took when it first waited.
    waiting: Vec<Waker>,
}

/// What befell some of the records.
#[derive(Debug)]
struct Part {
    partition: TopicPartition,
    first: u32,
    count: u32,
    result: Result<Written, Error>,
}

impl BatchWaiter {
    /// Of the record at a place in the batch, with its own timestamp.
    pub(super) fn delivery(self, index: u32, timestamp: TimestampMs) -> Delivery {
        Delivery { batch: self, index, timestamp, slot: None }
    }
}

/// Tells whoever waits.
pub(super) fn deliver(fate: Fate<BatchWaiter>) {
    let Fate { waiter, partition, first, count, result, .. } = fate;
    let waiting = {
        let mut fates = waiter.0.lock();
        fates.known.push(Part { partition, first, count, result });
        // They keep their slots: whoever waits for another part of the batch goes on waiting.
        fates.waiting.clone()
    };
    waiting.into_iter().for_each(Waker::wake);
}

/// A record's fate, some time after `send`. Dropping it does not take the record back.
#[derive(Debug)]
pub struct Delivery {
    batch: BatchWaiter,
    index: u32,
    timestamp: TimestampMs,
    slot: Option<usize>,
}

impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { batch, index, timestamp, slot } = &mut *self;
        let mut fates = batch.0.lock();
        let concerned = |part: &&Part| index.checked_sub(part.first).is_some_and(|place| place < part.count);
        if let Some(part) = fates.known.iter().find(concerned) {
            return Poll::Ready(part.result.clone().map(|written| RecordMetadata {
                partition: part.partition.clone(),
                offset: written.base_offset.map(|base| base.plus(i64::from(*index - part.first))),
                timestamp: written.log_append_time.unwrap_or(*timestamp),
            }));
        }
        let waker = context.waker();
        match slot.and_then(|slot| fates.waiting.get_mut(slot)) {
            Some(known) => known.clone_from(waker),
            None => {
                *slot = Some(fates.waiting.len());
                fates.waiting.push(waker.clone());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use millstream_types::{PartitionId, TopicName};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn all_who_wait_for_one_part_of_a_split_batch_are_woken_by_it_whatever_order_they_look_in() {
        let batch = BatchWaiter::default();
        let part = |first, count| {
            deliver(Fate {
                waiter: batch.clone(),
                partition: TopicPartition::new(TopicName::from_static("t"), PartitionId(0)),
                first,
                count,
                reserved: 0,
                result: Ok(Written { base_offset: None, log_append_time: None }),
            });
        };
        let mut all: Vec<_> = (0..4)
            .map(|index| (batch.clone().delivery(index, TimestampMs(0)), Arc::<Woken>::default()))
            .collect();
        let look = |(delivery, woken): &mut (Delivery, Arc<Woken>)| {
            let waker = Waker::from(Arc::clone(woken));
            Pin::new(delivery).poll(&mut Context::from_waker(&waker)).is_ready()
        };
        assert!(!all.iter_mut().any(look));
        part(3, 1);
        assert_eq!(all.iter_mut().rev().map(look).collect::<Vec<_>>(), [true, false, false, false]);
        let before: Vec<usize> = all.iter().map(|(_, woken)| woken.0.load(Ordering::Relaxed)).collect();
        part(0, 3);
        for ((_, woken), before) in all.iter().zip(before).take(3) {
            assert!(woken.0.load(Ordering::Relaxed) > before);
        }
        assert!(all.iter_mut().take(3).all(look));
    }
}
