//! Single bits that flip in any file of a stopped broker: whatever it serves afterwards is what was written, or
//! betrays itself by its checksum; what it cannot serve it reports, naming the file; what the file does not belong
//! to is served as ever; and it never crashes. It may refuse to start, if it says because of which file.
//!
//! `MILLSTREAM_FLIP_ROUNDS` says how many (40 unless set), `MILLSTREAM_SEED` repeats the choices. A batch's leader
//! epoch is in no checksum and is not compared: Kafka lets the broker write it without computing the checksum anew.
//! The base offset is in none either; the batches around it have to vouch for it. The text files are Kafka's and
//! have no checksums: what they say is compared with what the logs say, as far as they speak of the same.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use millstream_protocol::messages::{
    OffsetFetchRequest,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};
use millstream_record::{RecordBatch, batch::batches};
use millstream_testkit::{Running, Target, TargetOptions, wait_until};
use millstream_types::ErrorCode;
use tempfile::TempDir;

use super::{LIMIT, try_append};
use crate::{
    kill::{Random, from_env, seed},
    mounted::asks_kafka,
    semantics::{
        committed::{commit, commit_request},
        groups::find_coordinator,
    },
    session::{Session, code, idempotent},
};

const TOPIC: &str = "flips";
const GROUP: &str = "flips";
const COMMITTED: i64 = 7;
const RECORDS_PER_BATCH: usize = 3;
/// Of partition 0, which has several segments, and of partition 1.
const BATCHES: [usize; 2] = [80, 20];
const DECOMPRESSED_MAX: usize = 16 << 20;

fn value(partition: usize, offset: usize) -> String {
    format!("{partition}-{offset}-").repeat(if partition == 0 { 1_600 } else { 20 })
}

/// The data directory of a broker that has stopped.
struct Data(TempDir);

impl Data {
    /// `killed` without having been asked to stop, or stopped in order.
    fn write(killed: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut target = Target::start(options(root.path())).unwrap();
        let mut session = Session::open(&target);
        session.topic_of(TOPIC, 2, &[("segment.bytes", "1048576"), ("index.interval.bytes", "4096")]);
        find_coordinator(&mut session, GROUP);
        assert_eq!(commit(&mut session, &commit_request(GROUP, TOPIC, 0, COMMITTED)), ErrorCode::None);
        let producer = session.new_producer_id();
        for (partition, count) in BATCHES.into_iter().enumerate() {
            for first in (0..count * RECORDS_PER_BATCH).step_by(RECORDS_PER_BATCH) {
                let values: Vec<String> =
                    (first..first + RECORDS_PER_BATCH).map(|offset| value(partition, offset)).collect();
                let batch = idempotent(producer, 0, first as i32, &values);
                session.append(TOPIC, partition as i32, batch);
            }
        }
        if killed {
            // Until a checkpoint has been written, so that there is one to damage.
            let checkpoint = target.log_dir().join("recovery-point-offset-checkpoint");
            wait_until("a checkpoint", LIMIT, || {
                let text = fs::read_to_string(&checkpoint).unwrap_or_default();
                Ok(text.contains(&format!("{TOPIC} 1 {}", BATCHES[1] * RECORDS_PER_BATCH)).then_some(()))
            })
            .unwrap();
            target.kill().unwrap();
        } else {
            target.stop().unwrap();
        }
        Self(root)
    }

    fn copy(&self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&self.0.path().join("data"), &copy.path().join("data"));
        Self(copy)
    }
}

fn options(root: &Path) -> TargetOptions {
    TargetOptions::default().dir(root).set("offsets.topic.num.partitions", 2)
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else if entry.file_name() != "reserve" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), found);
        } else if entry.metadata().unwrap().len() > 0 {
            found.push(entry.path());
        }
    }
}

/// One bit of one file; the file.
fn flip(data: &Data, random: &mut Random) -> PathBuf {
    let mut files = Vec::new();
    files_below(data.0.path(), &mut files);
    files.sort();
    let path = files[random.below(files.len() as u64) as usize].clone();
    let mut bytes = fs::read(&path).unwrap();
    let (at, bit) = (random.below(bytes.len() as u64) as usize, random.below(8));
    bytes[at] ^= 1 << bit;
    fs::write(&path, bytes).unwrap();
    eprintln!("bit {bit} of byte {at} of {}", path.display());
    path
}

/// What the broker could not serve of a partition; the client's checksum found the others.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    refused: Vec<i64>,
    damaged: Vec<i64>,
}

fn read_all(session: &mut Session, partition: usize) -> Result<Missing> {
    let mut missing = Missing::default();
    let end = BATCHES[partition] * RECORDS_PER_BATCH;
    let mut next = 0;
    while next < end {
        let after = next - next % RECORDS_PER_BATCH + RECORDS_PER_BATCH;
        let data = session.fetch_partition(TOPIC, partition as i32, next as i64);
        if code(data.error_code) != ErrorCode::None {
            missing.refused.push(next as i64);
            next = after;
            continue;
        }
        let records = data.records.unwrap_or_default().into_bytes();
        let before = next;
        for view in batches(&records) {
            let Ok(view) = view else { break };
            let bytes = bytes::Bytes::copy_from_slice(view.bytes);
            let Ok(batch) = RecordBatch::decode(&bytes, DECOMPRESSED_MAX) else { break };
            next = compare(&batch, partition, next)?;
        }
        if next == before {
            ensure!(!records.is_empty(), "nothing is served at {next}, and nothing said");
            missing.damaged.push(next as i64);
            next = after;
        }
    }
    Ok(missing)
}

/// The offset after the batch, which holds what was written at `next`.
fn compare(batch: &RecordBatch, partition: usize, next: usize) -> Result<usize> {
    let offsets: Range<i64> = batch.header.base_offset..batch.header.next_offset().0;
    ensure!(offsets.contains(&(next as i64)), "offset {next} was asked for, and {offsets:?} served");
    for record in &batch.records {
        let offset = batch.offset_of(record).0;
        let found = record.value.as_deref().unwrap_or_default();
        ensure!(found == value(partition, offset as usize).as_bytes(), "another value is served at {offset}");
    }
    Ok(offsets.end as usize)
}

/// None when the group has no coordinator now.
fn committed(session: &mut Session) -> Option<i64> {
    let topics =
        OffsetFetchRequestTopics { name: TOPIC.to_owned(), partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.to_owned(),
        topics: Some(vec![topics]),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    wait_until("the group's partition to be read", LIMIT, || {
        let mut answer = session.call(9, &request).groups.remove(0);
        Ok(match code(answer.error_code) {
            ErrorCode::CoordinatorLoadInProgress => None,
            ErrorCode::None => Some(Some(answer.topics.remove(0).partitions[0].committed_offset)),
            _ => Some(None),
        })
    })
    .unwrap()
}

/// Started on what is damaged.
fn check(data: &Data, damaged: &Path) -> Result<()> {
    let target = Target::start(options(data.0.path()));
    let output = fs::read_to_string(data.0.path().join("output.log")).unwrap_or_default();
    ensure!(!output.contains("panicked"), "{output}");
    let mut target = match target {
        Ok(target) => target,
        Err(error) => {
            ensure!(format!("{error:#}").contains("exit status: 1"), "{error:#}");
            ensure!(is_named(&output, damaged), "the file is not named in: {output}");
            return Ok(());
        }
    };
    let checked = check_running(&target, damaged);
    let output = target.output();
    ensure!(!output.contains("panicked"), "{output}");
    target.kill().context("the broker has ended")?;
    checked.with_context(|| output)
}

fn check_running(target: &Running, damaged: &Path) -> Result<()> {
    let mut session = Session::open(target);
    let place = damaged.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
    let in_partition = place.starts_with(TOPIC) || place.starts_with("__consumer_offsets");
    for partition in 0..BATCHES.len() {
        let missing = read_all(&mut session, partition)?;
        let directory = format!("{TOPIC}-{partition}");
        if missing == Missing::default() {
            let answer = try_append(&mut session, TOPIC, partition as i32, "after");
            ensure!(answer == ErrorCode::None, "{answer} for one more record in {directory}");
            continue;
        }
        ensure!(!in_partition || place == directory, "{directory}: {missing:?}");
        ensure!(missing.refused.is_empty() || is_named(&target.output(), damaged), "not named: {missing:?}");
    }
    let committed = committed(&mut session);
    if committed != Some(COMMITTED) {
        ensure!(committed.is_none(), "{committed:?} is committed");
        ensure!(!in_partition || place.starts_with("__consumer_offsets"), "the group has no coordinator");
        ensure!(is_named(&target.output(), damaged), "not named: the group has no coordinator");
    }
    Ok(())
}

/// A damaged `partition.metadata` names another topic: what is missed and named then is the directory.
fn is_named(output: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let path = if name == "partition.metadata" { path.parent().unwrap() } else { path };
    output.contains(&path.display().to_string()) || output.contains(&*name)
}

#[test]
fn a_flipped_bit_is_found_named_and_contained() {
    if asks_kafka("flipped bits") {
        return;
    }
    let rounds = from_env("MILLSTREAM_FLIP_ROUNDS").unwrap_or(40);
    let seed = seed(&format!("MILLSTREAM_FLIP_ROUNDS={rounds}"), "faults::flips");
    let mut random = Random::new(seed);
    let written = [Data::write(false), Data::write(true)];
    for round in 1..=rounds {
        let data = written[random.below(2) as usize].copy();
        let damaged = flip(&data, &mut random);
        check(&data, &damaged).with_context(|| format!("round {round}, {}", damaged.display())).unwrap();
    }
}
