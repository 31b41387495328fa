//! Numbers with a meaning. Only the arithmetic that means something exists.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// From the wire, where a negative number says "none".
            pub fn from_wire(raw: $inner) -> Option<Self> {
                (raw >= 0).then_some(Self(raw))
            }

            /// To the wire: -1 for none.
            pub fn to_wire(value: Option<Self>) -> $inner {
                value.map_or(-1, |v| v.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The place of a record in its partition, counted from 0.
    Offset(i64)
);
number!(
    /// Which leadership of a partition wrote a batch; never goes back.
    LeaderEpoch(i32)
);
number!(
    /// Given by InitProducerId; a producer's identity across retries.
    ProducerId(i64)
);
number!(
    /// Raised each time a producer id is fenced.
    ProducerEpoch(i16)
);
number!(
    /// Of a record within one producer and partition; wraps to 0 after `i32::MAX`.
    Sequence(i32)
);
number!(
    /// A partition's number within its topic.
    PartitionId(i32)
);
number!(
    /// `node.id`.
    BrokerId(i32)
);
number!(
    /// Of a classic group: how often it has rebalanced.
    GenerationId(i32)
);
number!(
    /// Milliseconds since 1970-01-01T00:00Z.
    TimestampMs(i64)
);

impl Offset {
    pub const ZERO: Offset = Offset(0);

    /// The offset `count` records further on.
    pub fn plus(self, count: i64) -> Offset {
        Offset(self.0.saturating_add(count))
    }

    /// The offset after this one.
    pub fn next(self) -> Offset {
        self.plus(1)
    }

    /// How many offsets lie between `earlier` and this one.
    pub fn since(self, earlier: Offset) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Sequence {
    /// The sequence `count` records on, wrapping to 0 after `i32::MAX` as Kafka's does.
    pub fn plus(self, count: i32) -> Sequence {
        let modulus = i64::from(i32::MAX) + 1;
        let sum = (i64::from(self.0) + i64::from(count)).rem_euclid(modulus);
        Sequence(i32::try_from(sum).expect("a remainder of 2^31 fits i32"))
    }
}

impl TimestampMs {
    pub fn plus_ms(self, ms: i64) -> TimestampMs {
        TimestampMs(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this; negative when the clock went back.
    pub fn since(self, earlier: TimestampMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_wraps_to_zero_after_the_largest() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
        assert_eq!(Sequence(0).plus(-1), Sequence(i32::MAX));
    }

    #[test]
    fn minus_one_on_the_wire_is_none() {
        assert_eq!(Offset::from_wire(-1), None);
        assert_eq!(Offset::from_wire(0), Some(Offset(0)));
        assert_eq!(LeaderEpoch::to_wire(None), -1);
    }
}
