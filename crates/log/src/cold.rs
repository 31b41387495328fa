//! Reads that wait for the disk: they take turns and give way to flushes. A flush that queues behind megabytes
//! which a consumer reads keeps every producer waiting.

use std::{io, time::Duration};

use parking_lot::{Condvar, Mutex};

use crate::fs::File;

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColdReads {
    Wait,
    /// [`crate::ReadError::WouldBlock`] instead.
    Refuse,
}

/// Read in one turn: what a flush waits for at most.
const PIECE_BYTES: usize = 256 << 10;
/// A read waits no longer for a flush: producers that flush without a pause must not starve consumers.
const GIVE_WAY_MAX: Duration = Duration::from_millis(5);

/// Whose turn it is at the disk of one log directory.
#[derive(Debug, Default)]
pub(crate) struct DiskTurns {
    is_flushing: Mutex<bool>,
    flushed: Condvar,
    reading: Mutex<()>,
}

impl DiskTurns {
    pub(crate) fn flush<R>(&self, work: impl FnOnce() -> R) -> R {
        *self.is_flushing.lock() = true;
        let result = work();
        *self.is_flushing.lock() = false;
        self.flushed.notify_all();
        result
    }

    /// Waits until `length` bytes are in the page cache, or were.
    pub(crate) fn load(&self, file: &dyn File, position: u64, length: usize) -> io::Result<()> {
        let mut scratch = vec![0; PIECE_BYTES.min(length)];
        let mut done = 0;
        while done < length {
            let piece = &mut scratch[..PIECE_BYTES.min(length - done)];
            match self.read(|| file.read_at(piece, position + done as u64))? {
                0 => break,
                read => done += read,
            }
        }
        Ok(())
    }

    fn read<R>(&self, work: impl FnOnce() -> R) -> R {
        let _turn = self.reading.lock();
        let mut is_flushing = self.is_flushing.lock();
        if *is_flushing {
            self.flushed.wait_for(&mut is_flushing, GIVE_WAY_MAX);
        }
        drop(is_flushing);
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Fs, OpenMode, RealFs};

    #[test]
    fn a_flush_without_end_does_not_starve_who_reads() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFs.open(&dir.path().join("file"), OpenMode::Write).unwrap();
        let length = PIECE_BYTES + 1;
        file.write_at(&[&vec![7; length]], 0).unwrap();
        let turns = DiskTurns::default();
        turns.flush(|| turns.load(&*file, 0, length)).unwrap();
        turns.load(&*file, 1, length).unwrap();
    }
}
