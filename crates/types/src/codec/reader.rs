use bytes::Bytes;

use super::{
    ARRAY_ELEMENTS_MAX, DecodeError, DecodeErrorKind, FIRST_ALLOCATION_ELEMENTS_MAX, Message, Payload,
    STRING_BYTES_MAX, TAGGED_FIELDS_MAX,
};
use crate::Uuid;

/// Reads forward through bytes that a stranger may have sent. Byte fields come out as slices of the same
/// memory. After an error the position is unspecified.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    /// Where `bytes` began in what the outermost reader was given.
    base: usize,
}

macro_rules! fixed {
    ($($name:ident: $kind:ty),*) => {$(
        #[inline]
        pub fn $name(&mut self) -> Result<$kind, DecodeError> {
            self.fixed().map(<$kind>::from_be_bytes)
        }
    )*};
}

impl Reader {
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), position: 0, base: 0 }
    }

    /// How many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.base + self.position
    }

    /// An error at the present position.
    #[cold]
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { at: self.position(), kind }
    }

    /// Refuses a version that `M` cannot be read in.
    pub fn expect_version<M: Message>(&self, version: i16) -> Result<(), DecodeError> {
        if (M::MIN_VERSION..=M::LATEST_VERSION).contains(&version) {
            return Ok(());
        }
        Err(self.error(DecodeErrorKind::UnsupportedVersion { message: M::NAME, version }))
    }

    fixed!(i8: i8, u8: u8, i16: i16, u16: u16, i32: i32, u32: u32, i64: i64, f64: f64);

    /// Any byte but 0 is true, as in Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.u8().map(|byte| byte != 0)
    }

    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(|bytes| Uuid(u128::from_be_bytes(bytes)))
    }

    /// An unsigned varint of at most five bytes; bits beyond 32 fall off, as in Kafka.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error(DecodeErrorKind::EndlessVarint))
    }

    /// Zig-zag.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        self.uvarint().map(|raw| ((raw >> 1) as i32) ^ -((raw & 1) as i32))
    }

    /// Zig-zag, at most ten bytes.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let mut raw = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64));
            }
        }
        Err(self.error(DecodeErrorKind::EndlessVarint))
    }

    /// The next `count` bytes, sharing memory with what the reader was given.
    pub fn take(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        self.check(count)?;
        let start = self.position;
        self.position += count;
        Ok(self.bytes.slice(start..self.position))
    }

    /// All that is left.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.position..);
        self.position = self.bytes.len();
        rest
    }

    pub fn string(&mut self, flexible: bool) -> Result<String, DecodeError> {
        let value = self.nullable_string(flexible)?;
        value.ok_or_else(|| self.error(DecodeErrorKind::Null))
    }

    /// Bytes that are not UTF-8 become U+FFFD, as they do in Kafka: clients keep their own notions in
    /// the metadata of a committed offset.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        let length = if flexible { self.compact_length()? } else { i64::from(self.i16()?) };
        let Ok(length) = usize::try_from(length) else {
            return Ok(None);
        };
        if length > STRING_BYTES_MAX {
            return Err(self.error(DecodeErrorKind::StringTooLong { length, limit: STRING_BYTES_MAX }));
        }
        self.check(length)?;
        let bytes = &self.bytes[self.position..self.position + length];
        self.position += length;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        let value = self.nullable_bytes(flexible)?;
        value.ok_or_else(|| self.error(DecodeErrorKind::Null))
    }

    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        let length = self.long_length(flexible)?;
        let Ok(length) = usize::try_from(length) else {
            return Ok(None);
        };
        self.take(length).map(Some)
    }

    pub fn payload(&mut self, flexible: bool) -> Result<Payload, DecodeError> {
        self.bytes(flexible).map(Payload::Memory)
    }

    pub fn nullable_payload(&mut self, flexible: bool) -> Result<Option<Payload>, DecodeError> {
        Ok(self.nullable_bytes(flexible)?.map(Payload::Memory))
    }

    pub fn array<T>(
        &mut self,
        flexible: bool,
        element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let value = self.nullable_array(flexible, element)?;
        value.ok_or_else(|| self.error(DecodeErrorKind::Null))
    }

    /// Every element of Kafka's takes at least a byte, so a count beyond the bytes left is a lie.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        mut element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.array_length(flexible)? else {
            return Ok(None);
        };
        let mut elements = Vec::with_capacity(count.min(FIRST_ALLOCATION_ELEMENTS_MAX));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// A struct that may be null has a byte in front: negative for null.
    pub fn nullable<T>(
        &mut self,
        read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { read(self).map(Some) }
    }

    /// In a tagged field the byte in front is an unsigned number instead: 0 for null.
    pub fn nullable_tagged<T>(
        &mut self,
        read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.uvarint()? == 0 { Ok(None) } else { read(self).map(Some) }
    }

    /// A tagged section. `known` reads the fields that it knows from a reader over exactly the field's
    /// bytes and says so; the others are returned.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader) -> Result<bool, DecodeError>,
    ) -> Result<Vec<(u32, Bytes)>, DecodeError> {
        let count = self.uvarint()? as usize;
        if count > TAGGED_FIELDS_MAX {
            let kind = DecodeErrorKind::TooManyTaggedFields { count, limit: TAGGED_FIELDS_MAX };
            return Err(self.error(kind));
        }
        let mut unknown = Vec::new();
        for _ in 0..count {
            let tag = self.uvarint()?;
            let announced = self.uvarint()? as usize;
            let base = self.position();
            let mut field = Reader { bytes: self.take(announced)?, position: 0, base };
            if known(tag, &mut field)? {
                let used = field.position;
                if used != announced {
                    return Err(self.error(DecodeErrorKind::TaggedFieldLength { tag, announced, used }));
                }
            } else {
                unknown.push((tag, field.bytes));
            }
        }
        Ok(unknown)
    }

    /// Taken for an unknown one, it would be written as a known one in a version that has it. Kafka refuses it too.
    #[cold]
    pub fn tag_of_other_versions(&self, tag: u32, version: i16) -> DecodeError {
        self.error(DecodeErrorKind::TagOfOtherVersions { tag, version })
    }

    /// A tagged section of which no field is known; nothing where the version has none.
    pub fn unknown_tagged_fields(&mut self, flexible: bool) -> Result<Vec<(u32, Bytes)>, DecodeError> {
        if flexible { self.tagged_fields(|_, _| Ok(false)) } else { Ok(Vec::new()) }
    }

    fn array_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let count = self.long_length(flexible)?;
        let Ok(count) = usize::try_from(count) else {
            return Ok(None);
        };
        let left = self.remaining();
        if count > left {
            return Err(self.error(DecodeErrorKind::ArrayBeyondEnd { count, left }));
        }
        if count > ARRAY_ELEMENTS_MAX {
            return Err(self.error(DecodeErrorKind::ArrayTooLong { count, limit: ARRAY_ELEMENTS_MAX }));
        }
        Ok(Some(count))
    }

    /// Of bytes and arrays; negative for null.
    fn long_length(&mut self, flexible: bool) -> Result<i64, DecodeError> {
        if flexible { self.compact_length() } else { self.i32().map(i64::from) }
    }

    /// One more than the length; 0 is null.
    fn compact_length(&mut self) -> Result<i64, DecodeError> {
        self.uvarint().map(|raw| i64::from(raw) - 1)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes[self.position..].first_chunk() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[inline]
    fn check(&self, need: usize) -> Result<(), DecodeError> {
        if need > self.remaining() { Err(self.truncated(need)) } else { Ok(()) }
    }

    #[cold]
    fn truncated(&self, need: usize) -> DecodeError {
        self.error(DecodeErrorKind::Truncated { need, left: self.remaining() })
    }
}
