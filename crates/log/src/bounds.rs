//! A lower bound of each partition's durable offset, kept outside the log directories. Kafka's format cannot
//! say whether bytes that are no batch were once acknowledged; this can: below the bound they were.
//!
//! One file for each log directory, `durable-offsets.<directory id>`, of 32-byte slots after a 32-byte head.
//! A slot is written in one piece after each flush that moved its partition, and not synced: it may lag, and
//! what a crash leaves of it is judged by its own checksum.
//!
//! ```text
//! topic id u128 · partition i32 · offset i64 · crc-32c u32 of what is before
//! ```

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_types::{Offset, PartitionId, Uuid};
use parking_lot::Mutex;

use crate::{
    error::{At, StorageError},
    fs::{File, Fs, OpenMode},
};

const NAME: &str = "durable-offsets.";
const SLOT_BYTES: usize = 32;
const HEAD: &[u8; SLOT_BYTES] = b"millstream durable offsets v1\n\0\0";

/// A partition's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u64);

#[derive(Debug)]
pub(crate) struct Bounds {
    path: PathBuf,
    file: Arc<dyn File>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<(Uuid, PartitionId), (Slot, Offset)>,
    free: Vec<Slot>,
    /// Slots in the file.
    count: u64,
}

impl Bounds {
    pub(crate) fn open(fs: &dyn Fs, dir: &Path, directory_id: Uuid) -> Result<Self, StorageError> {
        let path = dir.join(format!("{NAME}{directory_id}"));
        let file = fs.open(&path, OpenMode::Write).at("open", &path)?;
        let length = usize::try_from(file.length().at("measure", &path)?).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        file.read_into(&mut bytes, length, 0).at("read", &path)?;
        let mut table = Table::default();
        if bytes.get(..SLOT_BYTES) == Some(HEAD) {
            for chunk in bytes[SLOT_BYTES..].chunks_exact(SLOT_BYTES) {
                let slot = Slot(table.count);
                table.count += 1;
                match decode(chunk) {
                    Some((key, offset)) => drop(table.slots.insert(key, (slot, offset))),
                    None => table.free.push(slot),
                }
            }
        } else {
            file.truncate(0).at("truncate", &path)?;
            file.write_at(&[HEAD], 0).at("write", &path)?;
        }
        Ok(Self { path, file, table: Mutex::new(table) })
    }

    /// Those of directories that are not open.
    pub(crate) fn open_others(
        fs: &dyn Fs,
        dir: &Path,
        is_open: impl Fn(Uuid) -> bool,
    ) -> Result<Vec<Self>, StorageError> {
        let listed = fs.list(dir).at("list", dir)?.into_iter();
        let ids = listed.filter_map(|entry| entry.name.strip_prefix(NAME)?.parse::<Uuid>().ok());
        ids.filter(|id| !is_open(*id)).map(|id| Self::open(fs, dir, id)).collect()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The partition's slot, and the bound found in it: 0 for one that was not known.
    pub(crate) fn slot(&self, topic_id: Uuid, partition: PartitionId) -> (Slot, Offset) {
        let mut table = self.table.lock();
        if let Some(known) = table.slots.get(&(topic_id, partition)) {
            return *known;
        }
        let slot = table.free.pop().unwrap_or_else(|| {
            table.count += 1;
            Slot(table.count - 1)
        });
        table.slots.insert((topic_id, partition), (slot, Offset::ZERO));
        (slot, Offset::ZERO)
    }

    /// The bound found when the file was opened; 0 for a partition that was not known.
    pub(crate) fn found(&self, topic_id: Uuid, partition: PartitionId) -> Offset {
        self.table.lock().slots.get(&(topic_id, partition)).map_or(Offset::ZERO, |(_, offset)| *offset)
    }

    /// Everything before `offset` is durable. Failing to say so costs nothing but knowledge.
    pub(crate) fn set(&self, slot: Slot, topic_id: Uuid, partition: PartitionId, offset: Offset) {
        self.write(slot, &encode(topic_id, partition, offset));
    }

    /// As [`Bounds::set`], but certain: for an offset that goes back.
    pub(crate) fn lower(
        &self,
        slot: Slot,
        topic_id: Uuid,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<(), StorageError> {
        self.set(slot, topic_id, partition, offset);
        self.file.sync_data().at("sync", &self.path)
    }

    pub(crate) fn forget(&self, topic_id: Uuid, partition: PartitionId) {
        let mut table = self.table.lock();
        if let Some((slot, _)) = table.slots.remove(&(topic_id, partition)) {
            self.write(slot, &[0; SLOT_BYTES]);
            table.free.push(slot);
        }
    }

    fn write(&self, slot: Slot, bytes: &[u8; SLOT_BYTES]) {
        let position = (slot.0 + 1) * SLOT_BYTES as u64;
        if let Err(error) = self.file.write_at(&[bytes], position) {
            tracing::warn!(path = %self.path.display(), %error, "cannot note a durable offset");
        }
    }
}

fn encode(topic_id: Uuid, partition: PartitionId, offset: Offset) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..16].copy_from_slice(&topic_id.0.to_be_bytes());
    bytes[16..20].copy_from_slice(&partition.0.to_be_bytes());
    bytes[20..28].copy_from_slice(&offset.0.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<((Uuid, PartitionId), Offset)> {
    let topic_id = u128::from_be_bytes(*bytes.first_chunk()?);
    let partition = i32::from_be_bytes(*bytes[16..].first_chunk()?);
    let offset = i64::from_be_bytes(*bytes[20..].first_chunk()?);
    let crc = u32::from_be_bytes(*bytes[28..].first_chunk()?);
    let valid = crc == crc32c::crc32c(&bytes[..28]) && topic_id != 0;
    Some(((Uuid(topic_id), PartitionId::from_wire(partition)?), Offset::from_wire(offset)?)).filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    #[test]
    fn bounds_are_found_again_and_damaged_slots_are_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Bounds::open(&RealFs, dir.path(), Uuid(1)).unwrap();
        let bounds = open();
        let (a, b) = (Uuid(10), Uuid(11));
        let partition = PartitionId(3);
        let (slot_a, zero) = bounds.slot(a, partition);
        let (slot_b, _) = bounds.slot(b, partition);
        assert_eq!(zero, Offset::ZERO);
        bounds.set(slot_a, a, partition, Offset(100));
        bounds.set(slot_b, b, partition, Offset(200));
        bounds.lower(slot_b, b, partition, Offset(150)).unwrap();
        let again = open();
        assert_eq!(again.slot(a, partition), (slot_a, Offset(100)));
        assert_eq!(again.slot(b, partition), (slot_b, Offset(150)));

        let mut bytes = std::fs::read(again.path()).unwrap();
        bytes[SLOT_BYTES + 27] ^= 1;
        std::fs::write(again.path(), bytes).unwrap();
        let damaged = open();
        assert_eq!(damaged.slot(a, partition).1, Offset::ZERO);
        damaged.forget(b, partition);
        assert_eq!(open().slot(b, partition).1, Offset::ZERO);
    }
}
