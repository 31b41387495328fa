use std::{fs::File, sync::Arc};

use bytes::Bytes;

/// Bytes of a message in memory, or a piece of a file that goes to the socket without passing through
/// memory. What was read off the wire is in memory.
#[derive(Clone, Debug)]
pub enum Payload {
    Memory(Bytes),
    File(FileSlice),
}

/// Bytes of a file that do not change while the slice exists.
#[derive(Clone, Debug)]
pub struct FileSlice {
    pub file: Arc<File>,
    /// Bytes before the slice.
    pub position: u64,
    /// Bytes in the slice.
    pub length: usize,
}

impl Payload {
    /// In bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(slice) => slice.length,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of a message that was read off the wire, whose bytes are in memory.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File(slice) => unreachable!("only a message that is being written has {slice:?}"),
        }
    }

    /// `None` when they are in a file.
    pub fn in_memory(&self) -> Option<&Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }

    /// Without the first `count` bytes.
    pub fn advance(&mut self, count: usize) {
        match self {
            Self::Memory(bytes) => drop(bytes.split_to(count)),
            Self::File(slice) => {
                slice.position += count as u64;
                slice.length -= count;
            }
        }
    }
}

impl FileSlice {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.position, self.length) == (other.position, other.length)
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Memory(Bytes::new())
    }
}

impl<B: Into<Bytes>> From<B> for Payload {
    fn from(bytes: B) -> Self {
        Self::Memory(bytes.into())
    }
}

/// Bytes are compared; slices of files are the same or not.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory(a), Self::Memory(b)) => a == b,
            (Self::File(a), Self::File(b)) => a.is_same(b),
            _ => false,
        }
    }
}
