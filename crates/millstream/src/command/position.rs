//! Places in a partition as people name them, and the offsets that they are.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::{Result, anyhow};
use millstream_client::{Admin, IsolationLevel, OffsetSpec};
use millstream_types::{Offset, TimestampMs, TopicPartition};

use super::time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Beginning,
    End,
    At(Offset),
    /// So many records after the beginning.
    AfterBeginning(i64),
    /// So many records before the end.
    BeforeEnd(i64),
    /// The first record at least this late; the end if there is none.
    Time(TimestampMs),
    /// Where the group has committed; the beginning if it has not.
    Stored,
}

impl FromStr for Position {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let count = |text: &str| {
            let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
            number
                .ok_or_else(|| anyhow!("expected beginning, end, stored, N, +N, -N or @TIME, found {text:?}"))
        };
        Ok(match text {
            "beginning" | "start" | "earliest" => Self::Beginning,
            "end" | "latest" => Self::End,
            "stored" => Self::Stored,
            _ => match text.split_at_checked(1) {
                Some(("@", at)) => Self::Time(time::parse(at, time::now())?),
                Some(("+", after)) => Self::AfterBeginning(count(after)?),
                Some(("-", before)) => Self::BeforeEnd(count(before)?),
                _ => Self::At(Offset(count(text)?)),
            },
        })
    }
}

/// From where to where, as `-o` says: `FROM`, `FROM:TO` and `:TO` as in rpk, `s@TIME` and `e@TIME` as in kcat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Option<Position>,
    pub(super) to: Option<Position>,
}

impl FromStr for Range {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(at) = text.strip_prefix("s@") {
            return Ok(Self { from: Some(format!("@{at}").parse()?), to: None });
        }
        if let Some(at) = text.strip_prefix("e@") {
            return Ok(Self { from: None, to: Some(format!("@{at}").parse()?) });
        }
        let whole = text.parse::<Position>();
        if let Ok(from) = whole {
            return Ok(Self { from: Some(from), to: None });
        }
        // A time of day has colons of its own: whichever makes sense on both sides is the one.
        let place = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some),
        };
        let halves = text.match_indices(':').filter(|_| text != ":").find_map(|(at, _)| {
            Some(Self { from: place(&text[..at]).ok()?, to: place(&text[at + 1..]).ok()? })
        });
        halves.ok_or_else(|| whole.err().unwrap_or_else(|| anyhow!("{text:?} is no place")))
    }
}

/// A partition's first offset and the one behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) start: Offset,
    pub(super) end: Offset,
}

pub(super) async fn bounds(
    admin: &Admin,
    partitions: &[TopicPartition],
    isolation: IsolationLevel,
) -> Result<BTreeMap<TopicPartition, Bounds>> {
    let starts = list(admin, partitions, OffsetSpec::Earliest, isolation).await?;
    let ends = list(admin, partitions, OffsetSpec::Latest, isolation).await?;
    let both = partitions.iter().map(|partition| {
        let (start, end) = (starts.get(partition).copied().flatten(), ends.get(partition).copied().flatten());
        let bounds = Bounds { start: start.unwrap_or_default(), end: end.unwrap_or_default() };
        (partition.clone(), bounds)
    });
    Ok(both.collect())
}

/// The offset of a place in each partition, never outside of it.
pub(super) async fn resolve(
    admin: &Admin,
    bounds: &BTreeMap<TopicPartition, Bounds>,
    position: Position,
    isolation: IsolationLevel,
) -> Result<BTreeMap<TopicPartition, Offset>> {
    let partitions: Vec<TopicPartition> = bounds.keys().cloned().collect();
    let by_time = match position {
        Position::Time(time) => list(admin, &partitions, OffsetSpec::Timestamp(time), isolation).await?,
        _ => BTreeMap::new(),
    };
    let resolved = bounds.iter().map(|(partition, Bounds { start, end })| {
        let offset = match position {
            // Whoever knows the group says otherwise.
            Position::Beginning | Position::Stored => *start,
            Position::End => *end,
            Position::At(offset) => offset,
            Position::AfterBeginning(count) => start.plus(count),
            Position::BeforeEnd(count) => end.plus(-count),
            Position::Time(_) => by_time.get(partition).copied().flatten().unwrap_or(*end),
        };
        (partition.clone(), offset.clamp(*start, (*end).max(*start)))
    });
    Ok(resolved.collect())
}

async fn list(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
    isolation: IsolationLevel,
) -> Result<BTreeMap<TopicPartition, Option<Offset>>> {
    let wanted = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let listed = admin.list_offsets(&wanted, isolation).await?;
    listed.into_iter().map(|(partition, result)| Ok((partition, result?.offset))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_kcat_and_rpk_write_them() {
        for (text, expected) in [
            ("beginning", Position::Beginning),
            ("end", Position::End),
            ("17", Position::At(Offset(17))),
            ("+3", Position::AfterBeginning(3)),
            ("-3", Position::BeforeEnd(3)),
            ("@1700000000000", Position::Time(TimestampMs(1_700_000_000_000))),
            ("@1970-01-02", Position::Time(TimestampMs(86_400_000))),
            ("stored", Position::Stored),
        ] {
            assert_eq!(text.parse::<Position>().unwrap(), expected, "{text}");
        }
        for wrong in ["", "middle", "+", "--1", "@", "@soon", "1.5"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_is_written_as_in_rpk_or_in_kcat() {
        let at = |ms| Some(Position::Time(TimestampMs(ms)));
        let (n, end) = (|n| Some(Position::At(Offset(n))), Some(Position::End));
        for (text, from, to) in [
            ("5", n(5), None),
            ("5:7", n(5), n(7)),
            (":7", None, n(7)),
            ("5:", n(5), None),
            ("beginning:end", Some(Position::Beginning), end),
            ("s@1000", at(1000), None),
            ("e@1970-01-01T00:00:01Z", None, at(1000)),
            ("@1970-01-01T00:00:01Z:@1970-01-01T00:00:02Z", at(1000), at(2000)),
        ] {
            assert_eq!(text.parse::<Range>().unwrap(), Range { from, to }, "{text}");
        }
        for wrong in ["", ":", "a:b", "5:x", "s@", "e@soon"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }
}
