//! `.kafka_cleanshutdown`: the mark that everything was flushed and every snapshot written
//! (`CleanShutdownFileHandler`). Taken away as soon as the directory is opened, so that a crash shows.

use std::path::Path;

use crate::{
    checkpoint::replace_file,
    error::{At, StorageError},
    fs::{Fs, read_file, remove_if_there},
};

pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Whether the mark was there. What is in it (the broker's epoch) is only of use to a cluster.
pub(crate) fn take(fs: &dyn Fs, dir: &Path) -> Result<bool, StorageError> {
    let path = dir.join(CLEAN_SHUTDOWN);
    let found = read_file(fs, &path).at("read", &path)?.is_some();
    remove_if_there(fs, &path).at("remove", &path)?;
    if found {
        fs.sync_dir(dir).at("sync", dir)?;
    }
    Ok(found)
}

/// `broker_epoch` is -1 when there is none.
pub(crate) fn leave(fs: &dyn Fs, dir: &Path, broker_epoch: i64) -> Result<(), StorageError> {
    let contents = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    replace_file(fs, &dir.join(CLEAN_SHUTDOWN), contents.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    #[test]
    fn the_mark_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!take(&RealFs, dir.path()).unwrap());
        leave(&RealFs, dir.path(), 12).unwrap();
        let text = std::fs::read_to_string(dir.path().join(CLEAN_SHUTDOWN)).unwrap();
        assert_eq!(text, "{\"version\":0,\"brokerEpoch\":12}");
        assert!(take(&RealFs, dir.path()).unwrap());
        assert!(!take(&RealFs, dir.path()).unwrap());
    }
}
