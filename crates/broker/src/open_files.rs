//! How the files that the process may have open (`ulimit -n`) are shared, so that neither connections nor partitions
//! take what the other cannot do without.

use rustix::process::{Resource, getrlimit};

/// One in so many is left to the logs, which would otherwise take a want of descriptors for a failing disk.
const LOGS_PART: u64 = 8;
const LOGS_MAX: u64 = 512;
/// The others are connections, older segments that are read, and what waits to be synced.
const PARTITIONS_PART: u64 = 2;
const SYNCING_PART: u64 = 16;

/// So many may be open.
pub(crate) struct OpenFiles(u64);

impl OpenFiles {
    pub(crate) fn of_process() -> Self {
        Self(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// A connection whose descriptor is none of the first so many is refused: the kernel gives out the lowest free
    /// one, so its number tells how many are open.
    pub(crate) fn for_connections(&self) -> u64 {
        self.0 - (self.0 / LOGS_PART).min(LOGS_MAX)
    }

    /// Each partition keeps the file of its active segment open.
    pub(crate) fn for_partitions(&self) -> usize {
        size(self.0 / PARTITIONS_PART)
    }

    /// `OpenOptions::unsynced_files_max`
    pub(crate) fn for_syncing(&self) -> usize {
        size(self.0 / SYNCING_PART)
    }
}

fn size(files: u64) -> usize {
    usize::try_from(files).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_have_all_of_the_files() {
        assert_eq!(OpenFiles(400).for_connections(), 350);
        assert_eq!(OpenFiles(1 << 20).for_connections(), (1 << 20) - 512);
        let few = OpenFiles(400);
        assert_eq!((few.for_partitions(), few.for_syncing()), (200, 25));
        assert!(
            few.for_partitions() + 2 * few.for_syncing() < 350,
            "as checkpoints and creations need at once"
        );
    }
}
