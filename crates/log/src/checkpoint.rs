//! Small text files that are replaced whole: written beside, synced, renamed over.
//! `CheckpointFileWithFailureHandler`, `OffsetCheckpointFile`.
//!
//! ```text
//! 0                      version
//! 2                      entries
//! topic 0 1234
//! topic 1 99
//! ```

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use millstream_types::{Offset, PartitionId, TopicName, TopicPartition};

use crate::{
    error::{At, StorageError},
    fs::{File, Fs, OpenMode, read_file},
};

/// The file's contents survive a crash at any moment: either the old or the new are there. Synced, the
/// directory as well.
pub(crate) fn replace_file(fs: &dyn Fs, path: &Path, contents: &[u8]) -> Result<(), StorageError> {
    let file = write_beside(fs, path, contents)?;
    file.sync_data().at("sync", path)?;
    move_over(fs, path)?;
    if let Some(dir) = path.parent() {
        fs.sync_dir(dir).at("sync", dir)?;
    }
    Ok(())
}

/// First half of a replacement: the new contents beside the file, not yet synced.
pub(crate) fn write_beside(
    fs: &dyn Fs,
    path: &Path,
    contents: &[u8],
) -> Result<std::sync::Arc<dyn File>, StorageError> {
    let beside = beside(path);
    let file = fs.open(&beside, OpenMode::Truncate).at("create", &beside)?;
    file.write_at(&[contents], 0).at("write", &beside)?;
    Ok(file)
}

/// Second half, once the new contents are synced.
pub(crate) fn move_over(fs: &dyn Fs, path: &Path) -> Result<(), StorageError> {
    fs.rename(&beside(path), path).at("rename to", path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// The lines of such a file after version and count; None when the file is absent. A file that does not
/// hold what it announces is an error with the reason.
pub(crate) fn read_lines(
    fs: &dyn Fs,
    path: &Path,
) -> Result<Option<Result<Vec<String>, String>>, StorageError> {
    let Some(bytes) = read_file(fs, path).at("read", path)? else { return Ok(None) };
    Ok(Some(parse_lines(&bytes)))
}

fn parse_lines(bytes: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let mut lines = text.lines();
    match lines.next().map(str::trim) {
        Some("0") => {}
        other => return Err(format!("version 0 expected, found {other:?}")),
    }
    let count = lines.next().unwrap_or_default().trim();
    let count: usize = count.parse().map_err(|_| format!("a count expected, found {count:?}"))?;
    let entries: Vec<String> =
        lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    if entries.len() != count {
        return Err(format!("{count} entries announced, {} found", entries.len()));
    }
    Ok(entries)
}

pub(crate) fn to_text(entries: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for entry in entries {
        text.push_str(&entry);
        text.push('\n');
    }
    text
}

/// One of the top-level checkpoints of a log directory: an offset per partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OffsetCheckpoint {
    pub(crate) name: &'static str,
}

pub(crate) const RECOVERY_POINT: OffsetCheckpoint =
    OffsetCheckpoint { name: "recovery-point-offset-checkpoint" };
pub(crate) const LOG_START_OFFSET: OffsetCheckpoint =
    OffsetCheckpoint { name: "log-start-offset-checkpoint" };
/// High watermarks.
pub(crate) const REPLICATION_OFFSET: OffsetCheckpoint =
    OffsetCheckpoint { name: "replication-offset-checkpoint" };
/// Up to where the cleaner has come; below it offsets may be missing between segments.
pub(crate) const CLEANER_OFFSET: OffsetCheckpoint = OffsetCheckpoint { name: "cleaner-offset-checkpoint" };

pub(crate) type Offsets = BTreeMap<TopicPartition, Offset>;

impl OffsetCheckpoint {
    /// Absent or unreadable is empty, as in Kafka: offset 0 is always safe, it only costs a longer recovery.
    pub(crate) fn read(self, fs: &dyn Fs, dir: &Path) -> Result<Offsets, StorageError> {
        Ok(self.try_read(fs, dir)?.unwrap_or_default())
    }

    /// None if the file is there and cannot be understood.
    pub(crate) fn try_read(self, fs: &dyn Fs, dir: &Path) -> Result<Option<Offsets>, StorageError> {
        let path = dir.join(self.name);
        let parsed = match read_lines(fs, &path)? {
            None => return Ok(Some(Offsets::new())),
            Some(lines) => lines.and_then(|lines| lines.iter().map(|line| parse_entry(line)).collect()),
        };
        let understood = parsed.inspect_err(|reason: &String| {
            tracing::warn!(path = %path.display(), reason, "checkpoint is not readable and taken as absent");
        });
        Ok(understood.ok())
    }

    pub(crate) fn write(self, fs: &dyn Fs, dir: &Path, offsets: &Offsets) -> Result<(), StorageError> {
        let lines = offsets.iter().map(|(partition, offset)| {
            let mut line = String::new();
            write!(line, "{} {} {offset}", partition.topic, partition.partition)
                .expect("a String takes any text");
            line
        });
        replace_file(fs, &dir.join(self.name), to_text(lines).as_bytes())
    }
}

fn parse_entry(line: &str) -> Result<(TopicPartition, Offset), String> {
    let entry = || {
        let mut words = line.split_whitespace();
        let topic = TopicName::parse(words.next()?).ok()?;
        let partition = PartitionId::from_wire(words.next()?.parse().ok()?)?;
        let offset = Offset::from_wire(words.next()?.parse().ok()?)?;
        words.next().is_none().then(|| (TopicPartition::new(topic, partition), offset))
    };
    entry().ok_or_else(|| format!("'topic partition offset' expected, found {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    fn partition(topic: &str, number: i32) -> TopicPartition {
        TopicPartition::new(TopicName::parse(topic).unwrap(), PartitionId(number))
    }

    #[test]
    fn what_was_written_is_read_back_in_kafkas_format() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = Offsets::from([(partition("b.c", 1), Offset(7)), (partition("a", 0), Offset(0))]);
        RECOVERY_POINT.write(&RealFs, dir.path(), &offsets).unwrap();
        assert_eq!(RECOVERY_POINT.read(&RealFs, dir.path()).unwrap(), offsets);
        let text = std::fs::read_to_string(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
        assert_eq!(text, "0\n2\na 0 0\nb.c 1 7\n");
        assert!(!dir.path().join("recovery-point-offset-checkpoint.tmp").exists());
    }

    #[test]
    fn an_absent_or_damaged_checkpoint_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(RECOVERY_POINT.read(&RealFs, dir.path()).unwrap(), Offsets::new());
        for bad in
            ["", "1\n0\n", "0\n2\na 0 0\n", "0\n1\na 0\n", "0\n1\na -1 5\n", "0\n1\na 0 5 6\n", "0\nx\n"]
        {
            std::fs::write(dir.path().join(RECOVERY_POINT.name), bad).unwrap();
            assert_eq!(RECOVERY_POINT.read(&RealFs, dir.path()).unwrap(), Offsets::new(), "{bad:?}");
        }
        std::fs::write(dir.path().join(RECOVERY_POINT.name), [0xff, 0xfe]).unwrap();
        assert_eq!(RECOVERY_POINT.read(&RealFs, dir.path()).unwrap(), Offsets::new());
    }
}
