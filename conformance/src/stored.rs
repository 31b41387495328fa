//! What lies in a target's log directories. Millstream and Kafka write the same files, so a test can look
//! there for what a client cannot tell: which codec its batches were stored with.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use millstream_record::{BatchHeader, batch::batches};

/// The headers of all batches of a partition, in order.
pub fn batch_headers(log_dir: &Path, topic: &str, partition: i32) -> Result<Vec<BatchHeader>> {
    let directory = log_dir.join(format!("{topic}-{partition}"));
    let entries = fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            segments.push(path);
        }
    }
    segments.sort();
    let mut headers = Vec::new();
    for path in segments {
        let bytes = fs::read(&path)?;
        let mut walk = batches(&bytes);
        for batch in walk.by_ref() {
            headers.push(batch.with_context(|| path.display().to_string())?.header);
        }
        ensure!(walk.position() == bytes.len(), "{}: bytes after the last batch", path.display());
    }
    Ok(headers)
}
