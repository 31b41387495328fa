//! What an append does and refuses.

use millstream_log::{Isolation, LogConfig, ReadError, ReadRequest};
use millstream_types::{ErrorCode, Offset};

use crate::support::*;

#[test]
fn what_was_appended_is_read_back_after_the_flush_and_after_a_restart() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    assert_eq!(append(&log, plain(3, 10)).base_offset, Offset(0));
    let info = append(&log, plain(2, 10));
    assert_eq!((info.base_offset, info.last_offset, info.end_offset()), (Offset(3), Offset(4), Offset(5)));
    dirs.flush();
    assert_eq!(log.high_watermark(), Offset(5));
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), [0, 1, 2, 3, 4]);
    assert_eq!(offsets(&read_all(&log, 4, Isolation::ReadUncommitted)), [3, 4]);
    dirs.close(NOW);
    drop((log, dirs));
    let dirs = data.open();
    assert!(dirs.recovery().clean);
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(log.topic_id(), TOPIC_ID);
    assert_eq!(log.high_watermark(), Offset(5));
    assert_eq!(append(&log, plain(1, 10)).base_offset, Offset(5));
    dirs.flush();
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), [0, 1, 2, 3, 4, 5]);
    let beyond = ReadRequest {
        offset: Offset(7),
        max_bytes: 1,
        at_least_one: true,
        isolation: Isolation::ReadUncommitted,
    };
    assert!(matches!(log.read(beyond), Err(ReadError::OutOfRange { .. })));
}

#[test]
fn a_retried_batch_gets_its_original_offset_and_a_gap_is_refused() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    for n in 0..7 {
        assert_eq!(append(&log, produced(9, 0, n * 2, 2)).base_offset, Offset(i64::from(n) * 2));
    }
    let again = append(&log, produced(9, 0, 4, 2));
    assert!(again.duplicate);
    assert_eq!(again.base_offset, Offset(4));
    let error = try_append(&log, produced(9, 0, 20, 2)).unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::OutOfOrderSequenceNumber);
    let error = try_append(&log, produced(9, 0, 2, 2)).unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::OutOfOrderSequenceNumber, "the sixth batch back is forgotten");
}
