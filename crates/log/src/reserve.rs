//! A little space set aside for the day the disk is full, so that deletes, commits and metadata still work
//! and the disk can be emptied. While it is given up, clients' appends are refused.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    error::{At, StorageError},
    fs::{Fs, OpenMode, remove_if_there},
};

#[derive(Debug)]
pub(crate) struct Reserve {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    bytes: u64,
    /// The file system that the space is on.
    device: u64,
    spent: AtomicBool,
}

impl Reserve {
    /// Sets the space aside in `dir`; when there is not even that much, begins as spent.
    pub(crate) fn open(fs: Arc<dyn Fs>, dir: &Path, bytes: u64) -> Result<Self, StorageError> {
        let device = fs.space(dir).at("measure", dir)?.device;
        let reserve = Self { fs, path: dir.join("reserve"), bytes, device, spent: AtomicBool::new(true) };
        reserve.restore();
        Ok(reserve)
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    pub(crate) fn helps(&self, device: u64) -> bool {
        self.device == device
    }

    /// Gives the space up. False if it was given up before.
    pub(crate) fn spend(&self) -> bool {
        if self.spent.swap(true, Ordering::Relaxed) {
            return false;
        }
        tracing::error!(path = %self.path.display(), "the disk is full: clients' records are refused");
        remove_if_there(&*self.fs, &self.path).is_ok()
    }

    /// Sets the space aside again once there is twice as much.
    pub(crate) fn restore(&self) {
        let Some(dir) = self.path.parent().filter(|_| self.is_spent()) else { return };
        let enough = self.fs.space(dir).is_ok_and(|space| space.usable_bytes >= 2 * self.bytes);
        if !enough {
            return;
        }
        let allocated = self.fs.open(&self.path, OpenMode::Write).and_then(|file| file.allocate(self.bytes));
        match allocated {
            Ok(()) => self.spent.store(false, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot set space aside");
                drop(remove_if_there(&*self.fs, &self.path));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    #[test]
    fn the_reserve_is_spent_once_and_restored_when_there_is_space() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
        let length = || std::fs::metadata(dir.path().join("reserve")).map(|meta| meta.len()).ok();
        assert_eq!((reserve.is_spent(), length()), (false, Some(1 << 20)));
        assert!(reserve.spend());
        assert!(!reserve.spend());
        assert_eq!((reserve.is_spent(), length()), (true, None));
        reserve.restore();
        assert_eq!((reserve.is_spent(), length()), (false, Some(1 << 20)));
    }
}
