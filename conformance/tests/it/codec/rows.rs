//! The file that the Java program and this test give each other.

use std::{fs, io, path::Path};

use bytes::Bytes;
use millstream_types::codec::{DecodeError, Reader, Writer};

pub(super) struct Row {
    /// How the values were chosen; `D` is the message with nothing set.
    pub(super) kind: char,
    pub(super) name: String,
    pub(super) version: i16,
    pub(super) bytes: Bytes,
}

pub(super) fn read(file: &Path) -> io::Result<Vec<Row>> {
    let mut r = Reader::new(fs::read(file)?);
    let mut rows = Vec::new();
    while !r.is_empty() {
        rows.push(row(&mut r).map_err(io::Error::other)?);
    }
    Ok(rows)
}

fn row(r: &mut Reader) -> Result<Row, DecodeError> {
    Ok(Row {
        kind: r.u8()?.into(),
        name: String::from_utf8_lossy(&r.bytes(false)?).into_owned(),
        version: r.i16()?,
        bytes: r.bytes(false)?,
    })
}

pub(super) fn write(file: &Path, rows: &[Row]) -> io::Result<()> {
    let mut w = Writer::new();
    for row in rows {
        w.u8(u8::try_from(row.kind).map_err(io::Error::other)?);
        w.bytes(false, &Bytes::copy_from_slice(row.name.as_bytes())).map_err(io::Error::other)?;
        w.i16(row.version);
        w.bytes(false, &row.bytes).map_err(io::Error::other)?;
    }
    fs::write(file, w.into_bytes())
}
