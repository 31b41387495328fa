//! A log that begins again, empty, at an offset beyond its end.

use millstream_log::{Isolation, LogConfig};
use millstream_types::Offset;

use crate::support::*;

#[test]
fn a_log_begins_again_at_an_offset_and_is_found_so_after_a_restart() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig { segment_bytes: plain(2, 10).len() as u32, ..LogConfig::default() });
    for sequence in 0..4 {
        append(&log, produced(7, 0, sequence, 1));
    }
    dirs.flush();
    assert!(log.segment_count() > 1);
    log.restart_at(Offset(100)).unwrap();
    let ends = (log.log_start_offset(), log.high_watermark(), log.log_end_offset());
    assert_eq!(ends, (Offset(100), Offset(100), Offset(100)));
    assert_eq!((log.segment_count(), log.size_bytes(), log.latest_epoch()), (1, 0, None));
    assert_eq!(log.active_producers(), []);
    assert_eq!(append(&log, plain(2, 10)).base_offset, Offset(100));
    dirs.flush();
    assert_eq!(log.high_watermark(), Offset(102));
    drop((log, dirs));
    let log = data.open().get(&partition()).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(100), Offset(102)));
    assert_eq!(offsets(&read_all(&log, 100, Isolation::ReadUncommitted)), [100, 101]);
}

#[test]
fn a_log_that_began_again_is_found_at_its_new_start_even_if_nothing_was_written_since() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(2, 10));
    dirs.flush();
    log.restart_at(Offset(100)).unwrap();
    drop((log, dirs));
    let log = data.open().get(&partition()).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(100), Offset(100)));
}
