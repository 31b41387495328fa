//! Going through a batch's records for what a broker wants of them, without holding them open: a batch that is
//! small on the wire may be any size when it is opened.
//!
//! What opens to a megabyte is opened into a buffer that the thread keeps and read there, as most batches are;
//! of anything larger only a window is in memory, and keys and values are passed over.

use std::{cell::RefCell, io::Read, ops::ControlFlow};

use millstream_types::TimestampMs;

use super::{BatchError, BatchHeader, RecordFault, TimestampType, records};
use crate::{
    compress::{self, CompressError, Compression},
    varint::Cursor,
};

/// A thread keeps a buffer of up to this size for what it opens.
pub(super) const OPENED_BYTES_MAX: usize = 1 << 20;
const WINDOW_BYTES: usize = 32 << 10;

/// What is to be known of a record without its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// From the batch's base offset.
    pub offset_delta: i32,
    /// The producer's, or the batch's when it was stamped by the broker.
    pub timestamp: TimestampMs,
    pub has_key: bool,
}

/// Shows each record of a batch, until told to stop. `stored` is what follows the header; it may open to at most
/// `max_decompressed` bytes.
pub fn walk(
    header: &BatchHeader,
    stored: &[u8],
    max_decompressed: usize,
    mut see: impl FnMut(RecordHead) -> ControlFlow<()>,
) -> Result<(), BatchError> {
    let codec = header.attributes.compression()?;
    if codec == Compression::None {
        return walk_opened(header, stored, &mut see);
    }
    let opened_max = max_decompressed.min(OPENED_BYTES_MAX);
    let walked = with_buffer(|opened| {
        compress::decompress_into(codec, stored, opened_max, opened)?;
        walk_opened(header, opened, &mut see)
    });
    match walked {
        Err(BatchError::Compress(CompressError::TooLarge { .. })) if opened_max < max_decompressed => {
            walk_window(header, Window::new(codec, stored, max_decompressed)?, see)
        }
        walked => walked,
    }
}

fn walk_opened(
    header: &BatchHeader,
    opened: &[u8],
    see: &mut impl FnMut(RecordHead) -> ControlFlow<()>,
) -> Result<(), BatchError> {
    for record in records(header, opened)? {
        let record = record?;
        let head = RecordHead {
            offset_delta: record.offset_delta,
            timestamp: record.timestamp(header),
            has_key: record.key.is_some(),
        };
        if see(head).is_break() {
            break;
        }
    }
    Ok(())
}

fn with_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static OPENED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    OPENED.with_borrow_mut(|buffer| {
        // With room to find that there is more. It is only touched as far as it is used.
        buffer.clear();
        buffer.reserve_exact(OPENED_BYTES_MAX + 64);
        work(buffer)
    })
}

fn walk_window(
    header: &BatchHeader,
    mut window: Window<'_>,
    mut see: impl FnMut(RecordHead) -> ControlFlow<()>,
) -> Result<(), BatchError> {
    let count = usize::try_from(header.record_count).map_err(|_| BatchError::Count(header.record_count))?;
    for index in 0..count {
        let head = read_record(&mut window, header).map_err(|stopped| match stopped {
            Stopped::Fault(fault) => BatchError::Record { index, fault },
            Stopped::Compress(error) => BatchError::Compress(error),
        })?;
        if see(head).is_break() {
            return Ok(());
        }
    }
    match window.count_rest()? {
        0 => Ok(()),
        rest => Err(BatchError::TrailingBytes(rest)),
    }
}

/// Why a record could not be read.
enum Stopped {
    Fault(RecordFault),
    Compress(CompressError),
}

impl From<RecordFault> for Stopped {
    fn from(fault: RecordFault) -> Self {
        Stopped::Fault(fault)
    }
}

impl From<CompressError> for Stopped {
    fn from(error: CompressError) -> Self {
        Stopped::Compress(error)
    }
}

fn read_record(window: &mut Window<'_>, header: &BatchHeader) -> Result<RecordHead, Stopped> {
    let mut whole = Body { window: &mut *window, left: usize::MAX };
    let length = whole.varint()?;
    let left = usize::try_from(length).map_err(|_| RecordFault::Length(length))?;
    let mut body = Body { window, left };
    let read = read_body(&mut body, header);
    match read {
        // The bytes ended, not the record: it had announced more than there is.
        Err(Stopped::Fault(RecordFault::Overrun)) if body.left > 0 => Err(RecordFault::Length(length).into()),
        Ok(_) if body.left > 0 => Err(RecordFault::Underrun(body.left).into()),
        read => read,
    }
}

fn read_body(body: &mut Body<'_, '_>, header: &BatchHeader) -> Result<RecordHead, Stopped> {
    let _attributes = body.u8()?;
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    let has_key = body.pass_nullable()?;
    body.pass_nullable()?;
    let count = body.varint()?;
    // Each header takes two bytes at least, so a count beyond that is refused before it is walked.
    let headers = usize::try_from(count).ok().filter(|&headers| headers <= body.left / 2);
    for _ in 0..headers.ok_or(RecordFault::HeaderCount(count))? {
        let length = body.varint()?;
        body.pass(usize::try_from(length).map_err(|_| RecordFault::HeaderKeyLength(length))?)?;
        body.pass_nullable()?;
    }
    let timestamp = match header.attributes.timestamp_type() {
        TimestampType::CreateTime => TimestampMs(header.base_timestamp).plus_ms(timestamp_delta),
        TimestampType::LogAppendTime => TimestampMs(header.max_timestamp),
    };
    Ok(RecordHead { offset_delta, timestamp, has_key })
}

/// The bytes of one record.
struct Body<'w, 'b> {
    window: &'w mut Window<'b>,
    left: usize,
}

impl Body<'_, '_> {
    fn take(&mut self, count: usize) -> Result<(), Stopped> {
        self.left = self.left.checked_sub(count).ok_or_else(|| {
            self.left = 0;
            RecordFault::Overrun
        })?;
        Ok(())
    }

    fn u8(&mut self) -> Result<u8, Stopped> {
        self.take(1)?;
        match self.window.next()? {
            Some(byte) => Ok(byte),
            None => {
                self.left += 1;
                Err(RecordFault::Overrun.into())
            }
        }
    }

    /// The bytes of a varint of at most so many.
    fn raw<const MAX: usize>(&mut self) -> Result<[u8; MAX], Stopped> {
        let mut raw = [0; MAX];
        for byte in &mut raw {
            *byte = self.u8()?;
            if *byte < 0x80 {
                break;
            }
        }
        Ok(raw)
    }

    fn varint(&mut self) -> Result<i32, Stopped> {
        Cursor::new(&self.raw::<5>()?).varint().map_err(|malformed| RecordFault::from(malformed).into())
    }

    fn varlong(&mut self) -> Result<i64, Stopped> {
        Cursor::new(&self.raw::<10>()?).varlong().map_err(|malformed| RecordFault::from(malformed).into())
    }

    fn pass(&mut self, count: usize) -> Result<(), Stopped> {
        self.take(count)?;
        match self.window.pass(count)? {
            0 => Ok(()),
            missing => {
                self.left += missing;
                Err(RecordFault::Overrun.into())
            }
        }
    }

    /// A byte string whose negative length says null; true if it is not null.
    fn pass_nullable(&mut self) -> Result<bool, Stopped> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.pass(length).map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

/// A few of a batch's plain bytes at a time.
struct Window<'a> {
    codec: Compression,
    reader: Box<dyn Read + 'a>,
    bytes: Box<[u8]>,
    /// Of `bytes`: what is read and not yet used.
    unused: std::ops::Range<usize>,
    /// What may still be read.
    left: usize,
    max: usize,
}

impl<'a> Window<'a> {
    fn new(codec: Compression, stored: &'a [u8], max: usize) -> Result<Self, BatchError> {
        let reader = compress::reader(codec, stored)?;
        Ok(Self { codec, reader, bytes: vec![0; WINDOW_BYTES].into(), unused: 0..0, left: max, max })
    }

    /// False at the end.
    fn fill(&mut self) -> Result<bool, CompressError> {
        if !self.unused.is_empty() {
            return Ok(true);
        }
        let read = self.reader.read(&mut self.bytes).map_err(|error| self.codec.corrupt(error))?;
        self.left = self.left.checked_sub(read).ok_or(CompressError::TooLarge { max: self.max })?;
        self.unused = 0..read;
        Ok(read > 0)
    }

    fn next(&mut self) -> Result<Option<u8>, CompressError> {
        Ok(if self.fill()? { self.unused.next().map(|at| self.bytes[at]) } else { None })
    }

    /// How many of the bytes to be passed over are not there.
    fn pass(&mut self, mut count: usize) -> Result<usize, CompressError> {
        while count > 0 && self.fill()? {
            let passed = count.min(self.unused.len());
            self.unused.start += passed;
            count -= passed;
        }
        Ok(count)
    }

    fn count_rest(&mut self) -> Result<usize, CompressError> {
        let mut count = 0;
        while self.fill()? {
            count += self.unused.len();
            self.unused = 0..0;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{BatchBuilder, BatchOptions, HEADER_BYTES, Header};

    /// Keys, values and headers of all the lengths that matter.
    fn batch(codec: Compression, sizes: &[(Option<usize>, Option<usize>, usize)]) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions { compression: codec, ..BatchOptions::default() });
        for (index, (key, value, headers)) in sizes.iter().enumerate() {
            let bytes = |size: &Option<usize>| size.map(|size| vec![index as u8; size]);
            let header = Header::new("h", Some(Bytes::from_static(b"v")));
            let headers = vec![header; *headers];
            let timestamp = TimestampMs(1_000 + index as i64);
            builder.append(timestamp, bytes(key).as_deref(), bytes(value).as_deref(), &headers);
        }
        builder.build()
    }

    fn opened(header: &BatchHeader, plain: &[u8]) -> Result<Vec<RecordHead>, BatchError> {
        let mut heads = Vec::new();
        walk_opened(header, plain, &mut |head| {
            heads.push(head);
            ControlFlow::Continue(())
        })?;
        Ok(heads)
    }

    fn through_a_window(
        header: &BatchHeader,
        codec: Compression,
        stored: &[u8],
    ) -> Result<Vec<RecordHead>, BatchError> {
        let mut heads = Vec::new();
        walk_window(header, Window::new(codec, stored, 1 << 20)?, |head| {
            heads.push(head);
            ControlFlow::Continue(())
        })?;
        Ok(heads)
    }

    fn sizes() -> impl Strategy<Value = Vec<(Option<usize>, Option<usize>, usize)>> {
        let size = || proptest::option::of(prop_oneof![0usize..3, 0usize..200, 30_000usize..70_000]);
        proptest::collection::vec((size(), size(), 0usize..3), 1..5)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_window_shows_the_same_records(sizes in sizes()) {
            for codec in Compression::ALL {
                let batch = batch(codec, &sizes);
                let header = BatchHeader::parse(&batch).unwrap();
                let stored = &batch[HEADER_BYTES..];
                let plain = compress::decompress(codec, stored, 1 << 20).unwrap();
                let expected = opened(&header, &plain).unwrap();
                prop_assert_eq!(expected.len(), sizes.len());
                prop_assert_eq!(through_a_window(&header, codec, stored), Ok(expected));
            }
        }

        #[test]
        fn a_window_refuses_the_same_bytes(sizes in sizes(), at: prop::sample::Index, flip in 0u8.., cut: prop::sample::Index, whole: bool) {
            let batch = batch(Compression::None, &sizes);
            let header = BatchHeader::parse(&batch).unwrap();
            let mut plain = batch[HEADER_BYTES..].to_vec();
            let at = at.index(plain.len());
            plain[at] ^= flip;
            if !whole {
                plain.truncate(cut.index(plain.len()));
            }
            let windowed = through_a_window(&header, Compression::None, &plain);
            prop_assert_eq!(opened(&header, &plain).ok(), windowed.ok());
        }
    }

    #[test]
    fn what_opens_to_more_than_is_kept_is_walked_up_to_the_limit_and_no_further() {
        let size = OPENED_BYTES_MAX + 1_000;
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let batch = batch(codec, &[(None, Some(10), 1), (Some(3), Some(size), 0)]);
            let header = BatchHeader::parse(&batch).unwrap();
            let mut keys = Vec::new();
            let mut see = |head: RecordHead| {
                keys.push(head.has_key);
                ControlFlow::Continue(())
            };
            walk(&header, &batch[HEADER_BYTES..], size + 100, &mut see).unwrap();
            assert_eq!(keys, [false, true], "{codec}");
            let error = walk(&header, &batch[HEADER_BYTES..], size, |_| ControlFlow::Continue(()));
            assert_eq!(error, Err(CompressError::TooLarge { max: size }.into()), "{codec}");
        }
    }

    #[test]
    fn a_frame_that_names_a_huge_window_is_refused_and_nothing_is_reserved_for_it() {
        // Magic, no content size, a window of 2^41 bytes, then a block of zeros that repeats.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x03, 0x00, 0x10, 0x00];
        let window = Window::new(Compression::Zstd, &frame, 1 << 20);
        assert!(matches!(window.err(), Some(BatchError::Compress(CompressError::Window { .. }))));
    }
}
