//! Zig-zag varints, and a cursor over borrowed bytes that reads them. `ByteUtils` and `DefaultRecord`.
//!
//! A record is some eight varints around two byte strings, and a broker reads every record of every
//! batch it accepts: the one-byte case, by far the commonest, is a comparison and an increment.

/// Bytes that ended too early or a varint that never ends; the caller knows which record it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads forward through borrowed bytes. Never panics; after an error the position is unspecified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or(Malformed)?;
        self.bytes = tail;
        Ok(head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (&first, tail) = self.bytes.split_first().ok_or(Malformed)?;
        self.bytes = tail;
        Ok(first)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i32, Malformed> {
        let first = self.u8()?;
        let raw = if first < 0x80 { u32::from(first) } else { self.long_u32(first)? };
        Ok(((raw >> 1) as i32) ^ -((raw & 1) as i32))
    }

    #[inline]
    pub(crate) fn varlong(&mut self) -> Result<i64, Malformed> {
        let first = self.u8()?;
        let raw = if first < 0x80 { u64::from(first) } else { self.long_u64(first)? };
        Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64))
    }

    /// At most five bytes; bits that do not fit fall off, as in Kafka's reader.
    fn long_u32(&mut self, first: u8) -> Result<u32, Malformed> {
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn long_u64(&mut self, first: u8) -> Result<u64, Malformed> {
        let mut value = u64::from(first & 0x7f);
        for shift in [7, 14, 21, 28, 35, 42, 49, 56, 63] {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_raw(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_raw(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put_raw(out: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// How many bytes [`put_varint`] would write.
pub(crate) fn varint_len(value: i32) -> usize {
    raw_len(u64::from(((value << 1) ^ (value >> 31)) as u32))
}

pub(crate) fn varlong_len(value: i64) -> usize {
    raw_len(((value << 1) ^ (value >> 63)) as u64)
}

fn raw_len(raw: u64) -> usize {
    let bits = 64 - (raw | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_comes_back_from_as_many_bytes_as_its_length(short: i32, long: i64, shift in 0u32..64) {
            let (short, long) = (short >> (shift / 2), long >> shift);
            let mut bytes = Vec::new();
            put_varint(&mut bytes, short);
            prop_assert_eq!(bytes.len(), varint_len(short));
            put_varlong(&mut bytes, long);
            prop_assert_eq!(bytes.len(), varint_len(short) + varlong_len(long));
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.varint(), Ok(short));
            prop_assert_eq!(cursor.varlong(), Ok(long));
            prop_assert_eq!(cursor.remaining(), 0);
        }
    }

    #[test]
    fn a_varint_that_does_not_end_is_malformed() {
        assert_eq!(Cursor::new(&[0xff; 5]).varint(), Err(Malformed));
        assert_eq!(Cursor::new(&[0xff; 10]).varlong(), Err(Malformed));
        assert_eq!(Cursor::new(&[0x80]).varint(), Err(Malformed));
        assert_eq!(Cursor::new(&[]).varlong(), Err(Malformed));
    }
}
