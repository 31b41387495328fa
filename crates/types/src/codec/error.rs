/// Bytes that are not what they should be, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {kind}")]
pub struct DecodeError {
    /// Bytes from the start of what the reader was given.
    pub at: usize,
    pub kind: DecodeErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    #[error("{need} bytes needed, {left} left")]
    Truncated { need: usize, left: usize },
    #[error("an array of {count} elements cannot stand in the {left} bytes left")]
    ArrayBeyondEnd { count: usize, left: usize },
    #[error("an array of {count} elements; {limit} are allowed")]
    ArrayTooLong { count: usize, limit: usize },
    #[error("a tagged section of {count} fields; {limit} are allowed")]
    TooManyTaggedFields { count: usize, limit: usize },
    #[error("a string of {length} bytes; {limit} are allowed")]
    StringTooLong { length: usize, limit: usize },
    #[error("a variable-length number that does not end")]
    EndlessVarint,
    #[error("null where a value must be")]
    Null,
    #[error("tagged field {tag} announced {announced} bytes and used {used}")]
    TaggedFieldLength { tag: u32, announced: usize, used: usize },
    #[error("tagged field {tag} is not one of version {version}")]
    TagOfOtherVersions { tag: u32, version: i16 },
    #[error("version {version} of {message} is not known")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("{left} bytes stand behind the end")]
    TrailingBytes { left: usize },
    #[error("{what} {value} is not known")]
    UnknownValue { what: &'static str, value: i64 },
}

/// A value that the version asked for cannot carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("version {version} of {message} is not known")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("version {version} of {message} has no {field}, which is set")]
    NotInVersion { message: &'static str, field: &'static str, version: i16 },
    #[error("null where a value must be, in an array or field that is not nullable in this version")]
    Null,
    #[error("{length} elements or bytes; {limit} can be written")]
    TooLong { length: usize, limit: usize },
    #[error("{count} tagged fields are set, but this version has no place for any")]
    NoTaggedFields { count: usize },
    #[error("tagged field {tag} is there twice or out of order")]
    TagOrder { tag: u32 },
}

impl EncodeError {
    #[cold]
    pub fn not_in_version(message: &'static str, field: &'static str, version: i16) -> Self {
        EncodeError::NotInVersion { message, field, version }
    }
}
