//! Log start offsets: moved by request, and kept in a directory's `log-start-offset-checkpoint`.

use std::sync::Arc;

use millstream_types::Offset;

use super::LogDirs;
use crate::{
    checkpoint::LOG_START_OFFSET,
    dir::LogDir,
    error::{LogError, StorageError},
    log::Log,
};

impl LogDirs {
    /// Moves the start of each log to its offset, or to the high watermark if None (DeleteRecords), and gives the
    /// log start offsets, which are on the disk by then. Segments that fall below go with a later tick.
    pub fn delete_records(&self, requests: &[(Arc<Log>, Option<Offset>)]) -> Vec<Result<Offset, LogError>> {
        let mut starts: Vec<_> = requests.iter().map(|(log, to)| log.delete_records_to(*to)).collect();
        for dir in &self.dirs {
            let moved = starts.iter_mut().zip(requests);
            let mut moved =
                moved.filter(|(start, (log, _))| start.is_ok() && log.directory_id() == dir.id).peekable();
            if moved.peek().is_some()
                && let Err(error) = self.checkpoint_log_starts(dir)
            {
                let failed = self.failed(dir, error);
                moved.for_each(|(start, _)| *start = Err(same(&failed, dir)));
            }
        }
        starts
    }

    /// Of logs whose start is not simply that of their first segment. When it returns, the disk says what they
    /// say.
    pub(super) fn checkpoint_log_starts(&self, dir: &LogDir) -> Result<(), StorageError> {
        // Held while it is written: whoever comes meanwhile finds it done, or writes what is later.
        let mut written = dir.log_starts.lock();
        let starts = self.offsets_of(dir, Log::log_start_to_checkpoint);
        if written.as_ref() == Some(&starts) {
            return Ok(());
        }
        // A write that fails may yet have replaced the file.
        *written = None;
        match LOG_START_OFFSET.write(&*dir.fs, &dir.path, &starts) {
            Err(error) if error.is_full() && dir.spend_reserve() => {
                LOG_START_OFFSET.write(&*dir.fs, &dir.path, &starts)?;
            }
            other => other?,
        }
        *written = Some(starts);
        Ok(())
    }
}

/// One failure of a directory, for each of the logs in it.
fn same(failed: &LogError, dir: &LogDir) -> LogError {
    match failed {
        LogError::Descriptors(error) => {
            let source = std::io::Error::from(error.source.kind());
            let source = error.source.raw_os_error().map_or(source, std::io::Error::from_raw_os_error);
            LogError::Descriptors(StorageError::new(error.operation, &error.path, source))
        }
        _ => {
            dir.check_online().err().map_or_else(|| LogError::Full { dir: dir.path.clone() }, LogError::from)
        }
    }
}
