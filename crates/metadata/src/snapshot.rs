//! Snapshots of the metadata, and `bootstrap.checkpoint`, which has the same form: a control batch with the
//! header, batches of records, a control batch with the footer. `Snapshots.java`, `RecordsSnapshotWriter`;
//! KIP-630, KIP-853.
//!
//! A snapshot without its footer was cut short: it is refused, never read in part.

use bytes::Bytes;
use millstream_record::{
    BatchBuilder, BatchError, BatchOptions, RecordBatch,
    batch::BatchHeader,
    control::{ControlError, ControlType, control_batch},
    kraft::{self, MetadataRecord},
    messages::{KRaftVersionRecord, SnapshotFooterRecord, SnapshotHeaderRecord},
};
use millstream_types::{
    LeaderEpoch, Offset, TimestampMs,
    codec::{DecodeError, EncodeError},
};

use crate::{
    ApplyError, Image, Replay, Voters,
    quorum::encode_control,
    replay::{apply_voters, read_control},
    version,
};

/// A batch is closed before it grows beyond this; Kafka reads up to 8 MiB.
const BATCH_BYTES_MAX: usize = 1 << 20;
const DECOMPRESSED_MAX: usize = 64 << 20;

/// Which prefix of the log a snapshot stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The offset after the last record that is in it.
    pub end: Offset,
    /// That record's epoch.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    pub fn file_name(self) -> String {
        format!("{:020}-{:010}.checkpoint", self.end.0, self.epoch.0)
    }

    /// `None` for other files, also for those still being written (`.part`).
    pub fn parse(file_name: &str) -> Option<Self> {
        let (end, epoch) = file_name.strip_suffix(".checkpoint")?.split_once('-')?;
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(end, 20) || !digits(epoch, 10) {
            return None;
        }
        Some(Self { end: Offset(end.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) })
    }
}

/// The snapshot of a replayed log, whole, and its id.
pub fn write(replay: &Replay, now: TimestampMs) -> Result<(SnapshotId, Bytes), EncodeError> {
    let id = SnapshotId { end: replay.next_offset(), epoch: replay.epoch() };
    let image = replay.image();
    let contents = Contents {
        records: image.to_records(),
        voters: replay.voters().clone(),
        last_contained_log_timestamp: replay.last_timestamp(),
    };
    Ok((id, encode(&contents, id.epoch, now, image.metadata_version())?))
}

/// What a snapshot or a `bootstrap.checkpoint` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    pub records: Vec<MetadataRecord>,
    pub voters: Voters,
    pub last_contained_log_timestamp: TimestampMs,
}

/// Contents as a file's bytes.
pub fn encode(
    contents: &Contents,
    epoch: LeaderEpoch,
    now: TimestampMs,
    metadata_version: i16,
) -> Result<Bytes, EncodeError> {
    let mut out = Vec::new();
    let mut next = Offset::ZERO;
    let mut put = |batch: Bytes, count: i32| {
        out.extend_from_slice(&batch);
        next = next.plus(count.into());
        next
    };
    let options =
        |base_offset| BatchOptions { base_offset, leader_epoch: Some(epoch), ..BatchOptions::default() };
    let header = SnapshotHeaderRecord {
        version: 0,
        last_contained_log_timestamp: contents.last_contained_log_timestamp.0,
        ..SnapshotHeaderRecord::default()
    };
    let mut markers = vec![(ControlType::SnapshotHeader, encode_control(&header, 0)?)];
    markers.extend(voters_markers(&contents.voters)?);
    let count = i32::try_from(markers.len()).expect("three at most");
    let mut at = put(control_batch(options(Offset::ZERO), now, &markers), count);
    let mut batch = BatchBuilder::new(options(at));
    for record in &contents.records {
        let frame = version::encode(record, metadata_version)?;
        let size = BatchBuilder::record_size_max(None, Some(&frame), &[]);
        if !batch.is_empty() && batch.size_in_bytes() + size > BATCH_BYTES_MAX {
            let count = batch.record_count();
            at = put(batch.build(), count);
            batch = BatchBuilder::new(options(at));
        }
        batch.append(now, None, Some(&frame), &[]);
    }
    if !batch.is_empty() {
        let count = batch.record_count();
        at = put(batch.build(), count);
    }
    let footer = encode_control(&SnapshotFooterRecord::default(), 0)?;
    put(control_batch(options(at), now, &[(ControlType::SnapshotFooter, footer)]), 1);
    Ok(out.into())
}

fn voters_markers(voters: &Voters) -> Result<Vec<(ControlType, Bytes)>, EncodeError> {
    let mut markers = Vec::new();
    if voters.kraft_version > 0 {
        let version = KRaftVersionRecord {
            version: 0,
            kraft_version: voters.kraft_version,
            ..KRaftVersionRecord::default()
        };
        markers.push((ControlType::KRaftVersion, encode_control(&version, 0)?));
        if let Some(record) = &voters.record {
            markers.push((ControlType::KRaftVoters, encode_control(record, 0)?));
        }
    }
    Ok(markers)
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("at byte {at}: {error}")]
    Batch { at: usize, error: BatchError },
    #[error("at byte {at}: {error}")]
    Control { at: usize, error: ControlError },
    #[error("in the batch at byte {at}: {error}")]
    Decode { at: usize, error: DecodeError },
    #[error("a record in the batch at byte {at} has no value")]
    NoValue { at: usize },
    #[error("the snapshot has no header at its start")]
    NoHeader,
    #[error("the snapshot has no footer: it was cut short at byte {at}")]
    NoFooter { at: usize },
    #[error("bytes follow the footer, from byte {at} on")]
    AfterFooter { at: usize },
    #[error("record {index} does not fit: {error}")]
    Apply { index: usize, error: ApplyError },
}

/// The contents of a file's bytes, every checksum verified.
pub fn decode(bytes: &Bytes) -> Result<Contents, SnapshotError> {
    let mut contents = Contents::default();
    let mut at = 0;
    let mut started = false;
    let mut ended = false;
    while at < bytes.len() {
        if ended {
            return Err(SnapshotError::AfterFooter { at });
        }
        let rest = bytes.slice(at..);
        let whole = BatchHeader::parse(&rest).map(|header| header.size_in_bytes());
        if matches!(whole, Err(BatchError::Truncated { .. })) || whole.as_ref().is_ok_and(|n| *n > rest.len())
        {
            return Err(SnapshotError::NoFooter { at });
        }
        let batch = RecordBatch::decode(&rest, DECOMPRESSED_MAX)
            .map_err(|error| SnapshotError::Batch { at, error })?;
        let control = batch.header.attributes.is_control();
        for record in &batch.records {
            let value = record.value.clone().ok_or(SnapshotError::NoValue { at })?;
            let decode_error = |error| SnapshotError::Decode { at, error };
            if !control {
                if !started {
                    return Err(SnapshotError::NoHeader);
                }
                contents.records.push(kraft::decode(value).map_err(decode_error)?.0);
                continue;
            }
            let key = record.key.as_deref().unwrap_or_default();
            let kind = ControlType::from_key(key).map_err(|error| SnapshotError::Control { at, error })?;
            match kind {
                ControlType::SnapshotHeader => {
                    let header: SnapshotHeaderRecord = read_control(value).map_err(decode_error)?;
                    contents.last_contained_log_timestamp = TimestampMs(header.last_contained_log_timestamp);
                    started = true;
                }
                ControlType::SnapshotFooter => ended = true,
                _ => apply_voters(&mut contents.voters, kind, value).map_err(decode_error)?,
            }
        }
        at += batch.header.size_in_bytes();
    }
    match (started, ended) {
        (false, _) => Err(SnapshotError::NoHeader),
        (true, false) => Err(SnapshotError::NoFooter { at }),
        (true, true) => Ok(contents),
    }
}

/// The state that a snapshot stands for; the log goes on from its end.
pub fn read(id: SnapshotId, bytes: &Bytes) -> Result<Replay, SnapshotError> {
    let contents = decode(bytes)?;
    let mut image = Image::default();
    for (index, record) in contents.records.iter().enumerate() {
        image.apply(record).map_err(|error| SnapshotError::Apply { index, error })?;
    }
    let timestamp = contents.last_contained_log_timestamp;
    Ok(Replay::from_snapshot(image, contents.voters, id.end, id.epoch, timestamp))
}
