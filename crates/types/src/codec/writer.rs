use bytes::{BufMut, Bytes, BytesMut};

use super::{EncodeError, Message, Payload, STRING_BYTES_MAX, TAGGED_FIELDS_MAX};
use crate::Uuid;

/// From this length on, bytes keep their own memory instead of being copied.
const OWN_SEGMENT_BYTES_MIN: usize = 512;

/// Collects what is written as segments that can be handed to the socket one after the other.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    segments: Vec<Payload>,
    /// Bytes in `segments`.
    finished: usize,
    tail: BytesMut,
}

macro_rules! fixed {
    ($($name:ident: $kind:ty),*) => {$(
        #[inline]
        pub fn $name(&mut self, value: $kind) {
            self.tail.extend_from_slice(&value.to_be_bytes());
        }
    )*};
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(bytes: usize) -> Self {
        Self { tail: BytesMut::with_capacity(bytes), ..Self::default() }
    }

    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.finished + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written, in order; joined it is the message. No segment is empty.
    pub fn into_segments(mut self) -> Vec<Payload> {
        self.finish_tail();
        self.segments
    }

    /// What was written, joined. Slices of files cannot be: who writes those takes the segments.
    pub fn into_bytes(mut self) -> Bytes {
        if self.segments.is_empty() {
            return self.tail.freeze();
        }
        self.finish_tail();
        let in_memory = |segment: &Payload| segment.in_memory().cloned();
        let segments: Vec<Bytes> =
            self.segments.iter().map(|s| in_memory(s).expect("files are written as segments")).collect();
        if let [only] = segments.as_slice() {
            return only.clone();
        }
        let mut joined = BytesMut::with_capacity(self.finished);
        segments.iter().for_each(|segment| joined.extend_from_slice(segment));
        joined.freeze()
    }

    /// Refuses a version that `M` cannot be written in.
    pub fn expect_version<M: Message>(&self, version: i16) -> Result<(), EncodeError> {
        if (M::MIN_VERSION..=M::LATEST_VERSION).contains(&version) {
            return Ok(());
        }
        Err(EncodeError::UnsupportedVersion { message: M::NAME, version })
    }

    fixed!(i8: i8, u8: u8, i16: i16, u16: u16, i32: i32, u32: u32, i64: i64, f64: f64);

    pub fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.tail.extend_from_slice(&value.0.to_be_bytes());
    }

    #[inline]
    pub fn uvarint(&mut self, value: u32) {
        self.raw_varint(value.into());
    }

    /// Zig-zag.
    pub fn varint(&mut self, value: i32) {
        self.uvarint(((value << 1) ^ (value >> 31)) as u32);
    }

    /// Zig-zag.
    pub fn varlong(&mut self, value: i64) {
        self.raw_varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Bytes without a length.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Bytes without a length; long ones become a segment of their own and are not copied.
    pub fn put_payload(&mut self, payload: Bytes) {
        if payload.len() < OWN_SEGMENT_BYTES_MIN {
            self.tail.extend_from_slice(&payload);
            return;
        }
        self.put_segment(Payload::Memory(payload));
    }

    /// What another writer collected.
    pub fn append(&mut self, other: Writer) {
        for segment in other.segments {
            self.put_segment(segment);
        }
        self.tail.extend_from_slice(&other.tail);
    }

    pub fn string(&mut self, flexible: bool, value: &str) -> Result<(), EncodeError> {
        let length = value.len();
        if length > STRING_BYTES_MAX {
            return Err(EncodeError::TooLong { length, limit: STRING_BYTES_MAX });
        }
        if flexible {
            self.uvarint(length as u32 + 1);
        } else {
            self.i16(length as i16);
        }
        self.put_slice(value.as_bytes());
        Ok(())
    }

    pub fn nullable_string(&mut self, flexible: bool, value: Option<&str>) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.string(flexible, value)?,
            None if flexible => self.uvarint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    pub fn bytes(&mut self, flexible: bool, value: &Bytes) -> Result<(), EncodeError> {
        self.length(flexible, value.len())?;
        self.put_payload(value.clone());
        Ok(())
    }

    pub fn nullable_bytes(&mut self, flexible: bool, value: Option<&Bytes>) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.bytes(flexible, value)?,
            None => self.null_length(flexible),
        }
        Ok(())
    }

    pub fn payload(&mut self, flexible: bool, value: &Payload) -> Result<(), EncodeError> {
        self.length(flexible, value.len())?;
        match value {
            Payload::Memory(bytes) => self.put_payload(bytes.clone()),
            slice if slice.is_empty() => {}
            slice => self.put_segment(slice.clone()),
        }
        Ok(())
    }

    pub fn nullable_payload(&mut self, flexible: bool, value: Option<&Payload>) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.payload(flexible, value)?,
            None => self.null_length(flexible),
        }
        Ok(())
    }

    pub fn array<T>(
        &mut self,
        flexible: bool,
        elements: &[T],
        mut element: impl FnMut(&mut Writer, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.length(flexible, elements.len())?;
        elements.iter().try_for_each(|e| element(self, e))
    }

    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        elements: Option<&[T]>,
        element: impl FnMut(&mut Writer, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match elements {
            Some(elements) => self.array(flexible, elements, element)?,
            None => self.null_length(flexible),
        }
        Ok(())
    }

    /// A struct that may be null has a byte in front.
    pub fn nullable<T>(
        &mut self,
        value: Option<&T>,
        write: impl FnOnce(&mut Writer, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.i8(1);
                write(self, value)
            }
            None => {
                self.i8(-1);
                Ok(())
            }
        }
    }

    /// In a tagged field null is 0 instead of -1.
    pub fn nullable_tagged<T>(
        &mut self,
        value: Option<&T>,
        write: impl FnOnce(&mut Writer, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if value.is_some() {
            return self.nullable(value, write);
        }
        self.uvarint(0);
        Ok(())
    }

    /// A tagged section without known fields; nothing where the version has none.
    pub fn unknown_tagged_fields(
        &mut self,
        flexible: bool,
        unknown: &[(u32, Bytes)],
    ) -> Result<(), EncodeError> {
        TaggedFields::default().finish(self, flexible, unknown)
    }

    fn length(&mut self, flexible: bool, length: usize) -> Result<(), EncodeError> {
        const LIMIT: usize = i32::MAX as usize - 1;
        if length > LIMIT {
            return Err(EncodeError::TooLong { length, limit: LIMIT });
        }
        if flexible {
            self.uvarint(length as u32 + 1);
        } else {
            self.i32(length as i32);
        }
        Ok(())
    }

    fn null_length(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0);
        } else {
            self.i32(-1);
        }
    }

    fn raw_varint(&mut self, mut raw: u64) {
        while raw >= 0x80 {
            self.tail.put_u8(raw as u8 | 0x80);
            raw >>= 7;
        }
        self.tail.put_u8(raw as u8);
    }

    fn put_segment(&mut self, segment: Payload) {
        self.finish_tail();
        self.finished += segment.len();
        self.segments.push(segment);
    }

    fn finish_tail(&mut self) {
        if !self.tail.is_empty() {
            self.finished += self.tail.len();
            self.segments.push(Payload::Memory(self.tail.split().freeze()));
        }
    }
}

/// The known fields of a tagged section, collected because their number and sizes stand in front.
#[derive(Debug, Default)]
pub struct TaggedFields {
    fields: Vec<(u32, Writer)>,
}

impl TaggedFields {
    /// Fields come in the order of their tags.
    pub fn put(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut field = Writer::new();
        write(&mut field)?;
        self.fields.push((tag, field));
        Ok(())
    }

    /// Writes the section, the unknown fields among the known ones in the order of tags. A version that is
    /// not flexible has no such section, and none of the fields may be set.
    pub fn finish(self, w: &mut Writer, flexible: bool, unknown: &[(u32, Bytes)]) -> Result<(), EncodeError> {
        let count = self.fields.len() + unknown.len();
        if !flexible {
            return if count == 0 { Ok(()) } else { Err(EncodeError::NoTaggedFields { count }) };
        }
        if count > TAGGED_FIELDS_MAX {
            return Err(EncodeError::TooLong { length: count, limit: TAGGED_FIELDS_MAX });
        }
        w.uvarint(count as u32);
        let mut unknown = unknown.iter().peekable();
        let mut section = Section { w, last: None };
        for (tag, field) in self.fields {
            while let Some((other, bytes)) = unknown.next_if(|(other, _)| *other < tag) {
                section.field(*other, bytes.len())?.put_payload(bytes.clone());
            }
            section.field(tag, field.len())?.append(field);
        }
        for (tag, bytes) in unknown {
            section.field(*tag, bytes.len())?.put_payload(bytes.clone());
        }
        Ok(())
    }
}

struct Section<'a> {
    w: &'a mut Writer,
    last: Option<u32>,
}

impl Section<'_> {
    fn field(&mut self, tag: u32, length: usize) -> Result<&mut Writer, EncodeError> {
        if self.last.is_some_and(|last| last >= tag) {
            return Err(EncodeError::TagOrder { tag });
        }
        self.last = Some(tag);
        let limit = i32::MAX as usize;
        let size = u32::try_from(length).ok().filter(|_| length <= limit);
        self.w.uvarint(tag);
        self.w.uvarint(size.ok_or(EncodeError::TooLong { length, limit })?);
        Ok(self.w)
    }
}
