//! To which partition a record goes: Java's choice (`BuiltInPartitioner`, KIP-794) or librdkafka's, so that producers in
//! every language agree on a key's partition.

use std::collections::HashMap;

use millstream_types::{PartitionId, TopicName};

use crate::config::Partitioner as Kind;

/// Keys by their hash; records without a key stay with one partition until a batch's worth has gone there.
#[derive(Debug)]
pub(crate) struct Partitioner {
    /// Where the next choice for a keyless record begins; spreads producers over partitions.
    start: u32,
    kind: Kind,
    sticky: HashMap<TopicName, Sticky>,
}

#[derive(Debug, Default)]
struct Sticky {
    turn: u32,
    bytes: usize,
}

impl Partitioner {
    pub(crate) fn new(start: u32, kind: Kind) -> Self {
        Self { start, kind, sticky: HashMap::new() }
    }

    /// `count` is the topic's partitions, `bytes` the record's size, `switch_after` the batch size.
    pub(crate) fn partition(
        &mut self,
        topic: &TopicName,
        key: Option<&[u8]>,
        count: u32,
        bytes: usize,
        switch_after: usize,
    ) -> PartitionId {
        let index = match (self.kind, key) {
            (Kind::Murmur2, Some(key)) => positive(murmur2(key)) % count,
            // An empty key is none to librdkafka.
            (Kind::Crc32, Some(key)) if !key.is_empty() => crc32fast::hash(key) % count,
            _ => self.keyless(topic, bytes, switch_after) % count,
        };
        PartitionId(index as i32)
    }

    fn keyless(&mut self, topic: &TopicName, bytes: usize, switch_after: usize) -> u32 {
        let start = self.start;
        let sticky = match self.sticky.get_mut(topic) {
            Some(sticky) => sticky,
            None => self.sticky.entry(topic.clone()).or_insert(Sticky { turn: start, bytes: 0 }),
        };
        if sticky.bytes >= switch_after {
            *sticky = Sticky { turn: sticky.turn.wrapping_add(1), bytes: 0 };
        }
        sticky.bytes += bytes;
        positive(sticky.turn)
    }
}

/// Java drops the sign bit, where an absolute value would have an exception.
fn positive(hash: u32) -> u32 {
    hash & 0x7fff_ffff
}

/// MurmurHash2 in the 32-bit variant and with the seed of Kafka's `Utils.murmur2`.
pub(crate) fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (shift, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * shift);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's `Utils.murmur2` on Kafka 4.3.1.
    #[test]
    fn hashes_are_javas() {
        let known: [(&[u8], i32); 6] = [
            (b"", 275_646_681),
            (b"a", -1_563_381_124),
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            ("größe".as_bytes(), 588_164_084),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key) as i32, hash, "{key:?}");
        }
    }

    /// Where librdkafka 2.16.1 with `partitioner=consistent_random` wrote them, of 12 partitions.
    #[test]
    fn keys_go_to_the_partitions_that_librdkafka_chooses() {
        let mut partitioner = Partitioner::new(0, Kind::Crc32);
        let topic = TopicName::from_static("t");
        let known =
            [("Zürich", 6), ("42", 8), ("1", 11), ("customer-17", 11), ("key", 1), ("orders", 2), ("a", 3)];
        for (key, partition) in known {
            assert_eq!(partitioner.partition(&topic, Some(key.as_bytes()), 12, 1, 1).0, partition, "{key}");
        }
    }

    #[test]
    fn keyless_records_stay_until_a_batch_is_full_and_then_move_on() {
        let mut partitioner = Partitioner::new(u32::MAX, Kind::Murmur2);
        let topic = TopicName::from_static("t");
        let mut next = || partitioner.partition(&topic, None, 3, 40, 100).0;
        let chosen: Vec<_> = (0..9).map(|_| next()).collect();
        assert_eq!(chosen, [1, 1, 1, 0, 0, 0, 1, 1, 1]);
    }
}
