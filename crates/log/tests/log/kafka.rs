//! The real Kafka as a judge: its dump tool reads all that we write, we read what it wrote, and it goes on
//! with a directory that we wrote to.

use std::{path::Path, process::Command};

use bytes::Bytes;
use millstream_log::{Intervals, Isolation, Log, LogConfig, LogDirs, OpenOptions, Origin};
use millstream_record::{
    Compression,
    batch::{BatchOptions, ProducerInfo},
    control::{ControlType, EndTransactionMarker},
};
use millstream_testkit::{Kind, Target, TargetOptions, kafka_libs, kafka_tool, repository, skip};
use millstream_types::{BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::support::*;

/// Whether Java and Kafka's jars are there; where they have to be, their absence is a failure.
fn has_kafka(test: &str) -> bool {
    let missing = match Command::new("java").arg("-version").output() {
        Err(error) => Some(format!("java: {error}")),
        Ok(_) => kafka_libs().err().map(|error| format!("Kafka's jars: {error:#}")),
    };
    missing.inspect(|missing| skip(test, missing)).is_none()
}

/// What `kafka-dump-log` says of the files in `dir` with one of the extensions.
fn dump(dir: &Path, extensions: &[&str], flags: &[&str]) -> String {
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted)))
        .map(|path| path.display().to_string())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {extensions:?} in {}", dir.display());
    let tool = kafka_tool("kafka-dump-log").unwrap().arg("--files").arg(files.join(","));
    let text = tool.args(flags.iter().copied()).run().unwrap().ok().unwrap();
    for complaint in ["ismatch", "out of order", "invalid", "isvalid: false", "Exception", "rror"] {
        assert!(!text.contains(complaint), "{complaint} in {text}");
    }
    // Of every segment that does not begin at 0, Kafka's own as well, the tool says that -1 came before it.
    let gaps = text.lines().filter(|line| line.contains(" is followed by ") && !line.starts_with("  -1 "));
    assert_eq!(gaps.collect::<Vec<_>>(), [""; 0], "{text}");
    text
}

fn transactional(id: i64, sequence: i32, count: usize) -> Bytes {
    let producer = Some(producer(id, 0, sequence));
    batch(BatchOptions { producer, transactional: true, ..BatchOptions::default() }, count, 10)
}

fn end(log: &std::sync::Arc<Log>, id: i64, kind: ControlType) {
    let producer = ProducerInfo { id: ProducerId(id), epoch: ProducerEpoch(0), base_sequence: None };
    let marker = EndTransactionMarker { kind, coordinator_epoch: 3 }.to_batch(producer, LeaderEpoch(0), NOW);
    let origin = Origin::TransactionMarker { transaction_version: 0 };
    log.append(marker, options(origin)).unwrap();
}

/// Every kind of batch, in several segments.
fn fill(log: &std::sync::Arc<Log>) {
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for n in 0..60 {
        append(log, compressed(codecs[n % 5], 1 + n % 7));
        append(log, produced(7, 0, n as i32 * 3, 3));
    }
    append(log, transactional(8, 0, 4));
    append(log, transactional(9, 0, 2));
    end(log, 8, ControlType::Abort);
    append(log, plain(2, 30));
    end(log, 9, ControlType::Commit);
    append(log, transactional(10, 0, 2));
    end(log, 10, ControlType::Abort);
    append(log, transactional(11, 0, 1));
}

#[test]
fn kafkas_dump_tool_accepts_every_file_that_we_write() {
    if !has_kafka("kafkas_dump_tool_accepts_every_file_that_we_write") {
        return;
    }
    let data = Data::new();
    let intervals = Intervals { checkpoint_ms: 0, ..Intervals::default() };
    let dirs = LogDirs::open(OpenOptions { intervals, ..data.options() }).unwrap();
    let log =
        create(&dirs, LogConfig { segment_bytes: 6000, index_interval_bytes: 500, ..LogConfig::default() });
    fill(&log);
    let end = log.log_end_offset();
    dirs.metadata_log().append(plain(3, 10), options(Origin::Metadata)).unwrap();
    dirs.flush();
    dirs.tick(NOW.plus_ms(1));
    // While the log is open, and after it was closed.
    for _ in 0..2 {
        let text = dump(&data.partition_dir(), &["log", "txnindex", "snapshot"], &["--deep-iteration"]);
        assert!(text.contains(&format!("baseOffset: {}", end.0 - 1)), "{text}");
        assert!(text.contains("endTxnMarker: ABORT") && text.contains("endTxnMarker: COMMIT"), "{text}");
        assert!(
            text.contains("producerId: 11") && text.contains("currentTxnFirstOffset: Optional"),
            "{text}"
        );
        dump(&data.partition_dir(), &["index", "timeindex"], &[]);
        dirs.close(NOW);
    }
    let text = dump(&data.partition_dir(), &["index", "timeindex"], &["--index-sanity-check"]);
    assert_eq!(text.matches("passed sanity check").count(), 2 * log.segment_count(), "{text}");
}

/// A directory that a real Kafka 4.3.1 wrote; see the README beside the archives.
fn fixture(name: &str) -> tempfile::TempDir {
    let archive = repository().join("crates/log/tests/fixtures").join(name);
    let root = tempfile::tempdir().unwrap();
    let status = Command::new("tar").arg("-xzSf").arg(archive).arg("-C").arg(root.path()).status().unwrap();
    assert!(status.success());
    root
}

fn open_fixture(root: &Path) -> LogDirs {
    let mut options = OpenOptions::new(vec![root.join("kafka")], root.join("millstream"), BrokerId(1), NOW);
    options.reserve_bytes = 4096;
    options.defaults.index_interval_bytes = 200;
    // Topics of the fixture keep their records for ever.
    options.defaults.retention_ms = None;
    LogDirs::open(options).unwrap()
}

fn check_fixture(dirs: &LogDirs, log_start: i64) {
    assert_eq!((&dirs.recovery().cuts[..], &dirs.recovery().offline[..]), (&[][..], &[][..]));
    let log = dirs.get(&partition()).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(log_start), Offset(163)));
    assert_eq!(log.last_stable_offset(), Offset(153));
    let all = read_all(&log, log_start, Isolation::ReadUncommitted);
    let records: usize =
        all.iter().filter(|b| !b.header.attributes.is_control()).map(|b| b.records.len()).sum();
    assert_eq!(records, 160);
    let found = log.offset_for_timestamp(TimestampMs(1_700_000_000_000 + 1500), Isolation::ReadUncommitted);
    assert_eq!(found.unwrap().unwrap().offset, Offset(10));
    let request = millstream_log::ReadRequest {
        offset: Offset(96),
        max_bytes: 1 << 20,
        at_least_one: true,
        isolation: Isolation::ReadCommitted,
    };
    let aborted = log.read(request).unwrap().aborted;
    let ranges: Vec<(i64, i64)> = aborted.iter().map(|txn| (txn.first_offset.0, txn.last_offset.0)).collect();
    assert_eq!(ranges, [(96, 106), (107, 112)]);
    let open: Vec<_> =
        log.active_producers().into_iter().filter_map(|p| p.current_txn_start_offset).collect();
    assert_eq!(open, [Offset(153)]);
    assert!(dirs.metadata_log().log_end_offset() > Offset(10));
}

#[test]
fn a_directory_that_kafka_closed_is_opened_without_a_scan() {
    let root = fixture("kafka-closed.tar.gz");
    let dirs = open_fixture(root.path());
    assert!(dirs.recovery().clean);
    check_fixture(&dirs, 4);
    let log = dirs.get(&partition()).unwrap();
    // The last producer's batch: Kafka's snapshot has it, so a retry of it is known.
    let last = read_all(&log, 156, Isolation::ReadUncommitted).pop().unwrap();
    assert_eq!(last.header.base_sequence, 0);
    let next = produced(last.header.producer_id, 0, last.records.len() as i32, 1);
    assert_eq!(append(&log, next).base_offset, Offset(163));
}

#[test]
fn a_directory_of_a_kafka_that_was_killed_is_recovered() {
    let root = fixture("kafka-killed.tar.gz");
    let dirs = open_fixture(root.path());
    assert!(!dirs.recovery().clean);
    check_fixture(&dirs, 0);
    dirs.close(NOW);
    drop(dirs);
    let dirs = open_fixture(root.path());
    assert!(dirs.recovery().clean);
    check_fixture(&dirs, 0);
    if !has_kafka("a_directory_of_a_kafka_that_was_killed_is_recovered") {
        return;
    }
    let partition_dir = root.path().join("kafka/t-0");
    dump(&partition_dir, &["log", "index", "timeindex", "txnindex", "snapshot"], &["--deep-iteration"]);
}

#[test]
fn kafka_goes_on_with_a_directory_that_we_wrote_to() {
    if !has_kafka("kafka_goes_on_with_a_directory_that_we_wrote_to") {
        return;
    }
    let data = Data::new();
    let mut kafka = Target::start(TargetOptions::default().kind(Kind::Kafka).dir(data.root.path())).unwrap();
    let tool =
        |name: &str, bootstrap: &str| kafka_tool(name).unwrap().args(["--bootstrap-server", bootstrap]);
    let create = ["--create", "--topic", "t", "--partitions", "1", "--replication-factor", "1"];
    tool("kafka-topics", kafka.bootstrap()).args(create).run().unwrap().ok().unwrap();
    let produce = ["--topic", "t", "--max-messages", "25", "--acks", "-1"];
    tool("kafka-verifiable-producer", kafka.bootstrap()).args(produce).run().unwrap().ok().unwrap();
    kafka.stop().unwrap();

    let mut options = OpenOptions::new(vec![kafka.log_dir()], data.bounds(), BrokerId(1), NOW);
    options.defaults.segment_bytes = 1500;
    let dirs = LogDirs::open(options).unwrap();
    assert!(dirs.recovery().clean);
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(log.log_end_offset(), Offset(25));
    let epoch = log.latest_epoch().unwrap();
    for n in 0..40 {
        let at = millstream_log::AppendOptions { leader_epoch: epoch, ..options_of_client() };
        log.append(produced(5_000, 0, n * 2, 2), at).unwrap();
    }
    let end = log.log_end_offset();
    assert!(log.segment_count() > 2);
    dirs.close(NOW);
    drop((log, dirs));

    kafka.start_again().unwrap();
    kafka.wait_ready().unwrap();
    let output = kafka.output();
    for complaint in ["Recovering unfinished", "Recovering segment", "ERROR", "corrupt", "-stray"] {
        assert!(!output.contains(complaint), "{complaint} in {output}");
    }
    let consume = ["--topic", "t", "--from-beginning", "--max-messages", "105", "--timeout-ms", "20000"];
    let consumer = tool("kafka-console-consumer", kafka.bootstrap()).args(consume);
    let text = consumer.args(["--formatter-property", "print.offset=true"]).run().unwrap().ok().unwrap();
    let seen: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("Offset:")?.split('\t').next()).collect();
    assert_eq!(seen, (0..105).map(|offset| offset.to_string()).collect::<Vec<_>>());
    assert_eq!(end, Offset(105));
    kafka.stop().unwrap();
    let dirs =
        LogDirs::open(OpenOptions::new(vec![kafka.log_dir()], data.bounds(), BrokerId(1), NOW)).unwrap();
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(log.log_end_offset(), Offset(105));
    let known = log.active_producers().into_iter().find(|producer| producer.producer_id == ProducerId(5_000));
    assert_eq!(known.unwrap().last_sequence, Some(millstream_types::Sequence(79)));
}

fn options_of_client() -> millstream_log::AppendOptions {
    options(Origin::Client)
}
