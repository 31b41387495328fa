//! Which partition of `__consumer_offsets` a group lives in: part of the format, as Kafka looks there too.

use millstream_types::PartitionId;

/// The partition of `partition_count` that keeps this group: Java's hash of the id, made positive.
pub fn partition_for(group_id: &str, partition_count: i32) -> PartitionId {
    let hash =
        group_id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's Utils.abs: the smallest integer, which has no positive counterpart, counts as 0.
    PartitionId(hash.checked_abs().unwrap_or(0) % partition_count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lives_where_java_would_look_for_it() {
        // Values of Utils.abs(id.hashCode()) % 50 on Kafka 4.3.1's class path.
        for (group_id, partition) in [("", 0), ("a", 47), ("test-group", 12), ("ünï", 21), ("🙂", 15)] {
            assert_eq!(partition_for(group_id, 50), PartitionId(partition), "{group_id}");
        }
    }

    #[test]
    fn the_smallest_hash_counts_as_zero() {
        // "polygenelubricants" is a word whose Java hash is Integer.MIN_VALUE.
        assert_eq!(partition_for("polygenelubricants", 50), PartitionId(0));
    }
}
