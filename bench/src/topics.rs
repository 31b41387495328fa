//! Topics come and go with each run; and what of them is on the disk.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use millstream_testkit::Running;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use rustix::fs::{Advice, fadvise};

/// How long a broker may take to remove the files of a topic that was deleted.
const REMOVAL_MAX: Duration = Duration::from_secs(30);

/// A topic of a broker; deleted when it is dropped, files and all, since the disk is busy with what is removed and
/// the next run should not be.
pub(crate) struct Topic {
    admin: AdminClient<DefaultClientContext>,
    pub(crate) name: String,
    log_dir: PathBuf,
}

impl Topic {
    /// None has the name of an earlier one, which may still be being deleted.
    pub(crate) fn create(broker: &Running, purpose: &str, partitions: i32) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("bench-{purpose}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let admin = create(broker.bootstrap(), &name, partitions)?;
        Ok(Self { admin, name, log_dir: broker.log_dir() })
    }

    /// Of its segments.
    pub(crate) fn log(&self) -> Result<LogSize> {
        let mut size = LogSize::default();
        for path in self.segments()? {
            size.add(&path).with_context(|| path.display().to_string())?;
        }
        Ok(size)
    }

    /// Takes its segments out of the page cache, as far as they are on the disk.
    pub(crate) fn evict(&self) -> Result<()> {
        self.segments()?.iter().try_for_each(|path| evict(path))
    }

    /// Under its own name, or the one that its partitions have until they are removed.
    fn is_on_disk(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.log_dir) else { return false };
        entries.flatten().any(|entry| self.partition(&entry.file_name()).is_some())
    }

    /// What follows the topic in the name of a directory.
    fn partition<'a>(&self, directory: &'a OsStr) -> Option<&'a str> {
        directory.to_str()?.strip_prefix(&self.name)?.strip_prefix('-')
    }

    fn segments(&self) -> Result<Vec<PathBuf>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.log_dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if self.partition(&name).is_none_or(|number| number.parse::<u32>().is_err()) {
                continue;
            }
            for file in fs::read_dir(entry.path())? {
                let path = file?.path();
                if path.extension().is_some_and(|extension| extension == "log") {
                    segments.push(path);
                }
            }
        }
        Ok(segments)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let deleted = pollster::block_on(self.admin.delete_topics(&[self.name.as_str()], &options()));
        if let Err(error) = deleted.map_err(anyhow::Error::from).and_then(all_done) {
            eprintln!("topic {} cannot be deleted: {error:#}", self.name);
            return;
        }
        let started = Instant::now();
        while self.is_on_disk() {
            if started.elapsed() > REMOVAL_MAX {
                eprintln!("topic {} is still on the disk, which the next run may feel", self.name);
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// One that stays as long as its broker.
pub(crate) fn create(
    bootstrap: &str,
    name: &str,
    partitions: i32,
) -> Result<AdminClient<DefaultClientContext>> {
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let created = pollster::block_on(admin.create_topics([&topic], &options()))?;
    all_done(created).with_context(|| format!("topic {name} cannot be created"))?;
    Ok(admin)
}

pub(crate) fn evict(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}

fn all_done(results: Vec<rdkafka::admin::TopicResult>) -> Result<()> {
    results.into_iter().try_for_each(|one| one.map(drop).map_err(|(name, code)| anyhow!("{name}: {code}")))
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(60)))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogSize {
    pub(crate) bytes: u64,
    pub(crate) batches: u64,
}

impl LogSize {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { bytes: self.bytes - earlier.bytes, batches: self.batches - earlier.batches }
    }

    /// Goes from batch to batch: base offset in eight bytes, length of the rest in four, the rest.
    fn add(&mut self, segment: &Path) -> Result<()> {
        const PREFIX_BYTES: u64 = 12;
        let file = File::open(segment)?;
        let end = file.metadata()?.len();
        let mut position = 0;
        while position + PREFIX_BYTES <= end {
            let mut length = [0; 4];
            file.read_exact_at(&mut length, position + 8)?;
            let length = u32::from_be_bytes(length);
            if length == 0 {
                // Space that is not written yet.
                break;
            }
            position += PREFIX_BYTES + u64::from(length);
            self.batches += 1;
        }
        self.bytes += position;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_counted_up_to_what_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let batch = |length: u8| [vec![0; 11], vec![length], vec![7; usize::from(length)]].concat();
        fs::write(&path, [batch(50), batch(70), vec![0; 100]].concat()).unwrap();
        let mut size = LogSize::default();
        size.add(&path).unwrap();
        assert_eq!(size, LogSize { bytes: 62 + 82, batches: 2 });
    }
}
