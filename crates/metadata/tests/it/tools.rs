//! Kafka's tools read what is written here.

use millstream_metadata::{allocate_producer_ids, snapshot};
use millstream_types::TimestampMs;

use crate::{
    kafka::{class_path, run},
    node::{NODE, TestNode},
};

fn used_node() -> TestNode {
    let mut node = TestNode::started();
    node.create("orders", 3, &[("retention.ms", "5000"), ("cleanup.policy", "compact")]);
    let block = allocate_producer_ids(node.image(), NODE).unwrap();
    node.commit(&[block.record]);
    node.stop();
    node.start(None).unwrap();
    node.create("__consumer_offsets", 50, &[]);
    node
}

#[test]
fn kafka_dump_log_reads_our_log_and_snapshot() {
    let Some(class_path) = class_path() else { return };
    let node = used_node();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("00000000000000000000.log");
    std::fs::write(&log, &node.log).unwrap();
    let (id, bytes) = snapshot::write(&node.replay, TimestampMs(1)).unwrap();
    let checkpoint = dir.path().join(id.file_name());
    std::fs::write(&checkpoint, &bytes).unwrap();
    let dump = |file: &std::path::Path| {
        let file = file.to_str().unwrap();
        run(
            &class_path,
            "org.apache.kafka.tools.DumpLogSegments",
            &["--cluster-metadata-decoder", "--files", file],
        )
    };
    let printed = dump(&log);
    assert!(!printed.contains("isvalid: false") && !printed.contains("Error"), "{printed}");
    let of_type = |printed: &str, kind: &str| printed.matches(&format!("\"type\":\"{kind}\"")).count();
    assert_eq!(of_type(&printed, "PARTITION_RECORD"), 53);
    assert_eq!(of_type(&printed, "REGISTER_BROKER_RECORD"), 2);
    assert_eq!(of_type(&printed, "BEGIN_TRANSACTION_RECORD"), 1);
    assert_eq!(printed.matches("LeaderChange: ").count(), 2);
    let last = node.replay.next_offset().0 - 1;
    assert!(printed.contains(&format!("| offset: {last} ")), "{printed}");
    let printed = dump(&checkpoint);
    assert!(printed.contains(&format!("Snapshot end offset: {}, epoch: 2", id.end)), "{printed}");
    assert!(printed.contains("SnapshotHeader") && printed.contains("SnapshotFooter"), "{printed}");
    assert_eq!(of_type(&printed, "PARTITION_RECORD"), 53);
    assert_eq!(of_type(&printed, "CONFIG_RECORD"), 2);
}

#[test]
fn kafka_metadata_shell_opens_our_snapshot() {
    let Some(class_path) = class_path() else { return };
    let node = used_node();
    let dir = tempfile::tempdir().unwrap();
    let (id, bytes) = snapshot::write(&node.replay, TimestampMs(1)).unwrap();
    let checkpoint = dir.path().join(id.file_name());
    std::fs::write(&checkpoint, &bytes).unwrap();
    // The shell runs its command at the first image that it is given, which can be before the last: it is
    // asked again then.
    let shows = |command: [&str; 2], expected: &str| {
        let arguments = ["--snapshot", checkpoint.to_str().unwrap(), command[0], command[1]];
        let ask = || run(&class_path, "org.apache.kafka.shell.MetadataShell", &arguments);
        let answered = (0..20).map(|_| ask()).any(|answer| answer.contains(expected));
        assert!(answered, "{command:?} never showed {expected}");
    };
    shows(["cat", "/image/features/metadataVersion"], "4.0-IV3");
    shows(["cat", "/image/topics/byName/orders/2"], "leaderEpoch=2");
    shows(["cat", "/image/configs/TOPIC:orders/retention.ms"], "5000");
}
