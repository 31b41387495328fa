//! `partition.metadata`: which topic id a partition directory belongs to (`PartitionMetadata`).
//!
//! ```text
//! version: 0
//! topic_id: tZ4Hb2cUQ0eKVXb0xkP1gw
//! ```

use std::{path::Path, sync::Arc};

use millstream_types::Uuid;

use crate::{
    checkpoint::{move_over, write_beside},
    error::{At, StorageError},
    fs::{File, Fs, OpenMode, read_file},
};

pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

/// None when the file is absent or says nothing: Kafka then takes the id that metadata names.
pub(crate) fn read_topic_id(fs: &dyn Fs, dir: &Path) -> Result<Option<Uuid>, StorageError> {
    let path = dir.join(PARTITION_METADATA);
    let bytes = read_file(fs, &path).at("read", &path)?;
    let text = bytes.as_deref().map(String::from_utf8_lossy);
    let id = text.as_deref().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("topic_id:"))?;
        line.trim().parse::<Uuid>().ok()
    });
    Ok(id.filter(|id| !id.is_zero()))
}

/// Replaces the file without syncing it; the handle that still has to be synced is returned.
pub(crate) fn write_topic_id(fs: &dyn Fs, dir: &Path, id: Uuid) -> Result<Arc<dyn File>, StorageError> {
    let path = dir.join(PARTITION_METADATA);
    write_beside(fs, &path, format!("version: 0\ntopic_id: {id}\n").as_bytes())?;
    move_over(fs, &path)?;
    fs.open(&path, OpenMode::Write).at("open", &path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    #[test]
    fn the_topic_id_is_read_back_and_absence_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_topic_id(&RealFs, dir.path()).unwrap(), None);
        write_topic_id(&RealFs, dir.path(), Uuid(77)).unwrap();
        assert_eq!(read_topic_id(&RealFs, dir.path()).unwrap(), Some(Uuid(77)));
        let text = std::fs::read_to_string(dir.path().join(PARTITION_METADATA)).unwrap();
        assert_eq!(text, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAATQ\n");
        std::fs::write(dir.path().join(PARTITION_METADATA), "version: 0\ntopic_id: nonsense\n").unwrap();
        assert_eq!(read_topic_id(&RealFs, dir.path()).unwrap(), None);
    }
}
