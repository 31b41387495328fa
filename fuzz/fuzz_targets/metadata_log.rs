//! Snapshots, `bootstrap.checkpoint` and the metadata log itself, as a stranger may have left them: whatever
//! can be replayed makes a node that can take over, and a snapshot that says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream_fuzz::{seal_batches, whole_batches};
use millstream_metadata::{
    Registration, Replay, Start, activate,
    snapshot::{self, SnapshotId},
};
use millstream_types::{BrokerId, LeaderEpoch, Offset, TimestampMs, Uuid};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fuzz_target!(|input: &[u8]| {
    let file = seal_batches(input);
    let end = SnapshotId { end: Offset(1_000), epoch: LeaderEpoch(5) };
    if let Ok(replay) = snapshot::read(end, &file) {
        check(&replay);
    }
    let mut replay = Replay::default();
    if whole_batches(&file).into_iter().try_for_each(|batch| replay.apply_batch(&batch)).is_ok() {
        check(&replay);
    }
});

fn check(replay: &Replay) {
    // Records of a level that nobody knows cannot be written.
    if let Ok((id, bytes)) = snapshot::write(replay, NOW) {
        let again = snapshot::read(id, &bytes).expect("a snapshot that was written can be read");
        let (_, second) = snapshot::write(&again, NOW).expect("what was written once can be written again");
        assert_eq!(bytes, second);
    }
    let registration = Registration {
        id: BrokerId(1),
        incarnation_id: Uuid(7),
        endpoints: Vec::new(),
        rack: None,
        log_dirs: vec![Uuid(9)],
    };
    let start = Start {
        registration: &registration,
        bootstrap: None,
        next_offset: replay.next_offset(),
        locate: &|_| None,
    };
    if let Ok(activation) = activate(replay, &start) {
        let mut image = replay.image().clone();
        for record in activation.batches.iter().flatten() {
            image.apply(record).expect("what a start decides can be applied");
        }
    }
}
