//! Walking batches laid end to end, as in a segment, a Produce request or a Fetch response.

use super::{BatchError, BatchHeader};

/// One whole batch within a larger buffer.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    /// Where in the buffer the batch begins.
    pub position: usize,
    pub header: BatchHeader,
    /// The batch and nothing else, header included.
    pub bytes: &'a [u8],
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

/// The complete batches in `bytes`, in order. A batch that the buffer cuts short ends the walk silently,
/// for Fetch may return one; [`Batches::position`] then says where it begins. A header that no batch can
/// have ends it with an error. Checksums are not looked at.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0, failed: false }
}

impl Batches<'_> {
    /// The end of the last batch returned: where the next begins.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rest = &self.bytes[self.position..];
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(BatchError::Truncated { .. }) => return None,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        let bytes = rest.get(..header.size_in_bytes())?;
        let view = BatchView { position: self.position, header, bytes };
        self.position += bytes.len();
        Some(Ok(view))
    }
}

impl std::iter::FusedIterator for Batches<'_> {}
