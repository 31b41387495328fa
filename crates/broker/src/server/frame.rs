//! Frames off a socket: a length of four bytes, then that many. Nothing is reserved on the word of the
//! length beyond what is cheap to lose; the buffer grows with the bytes that have really come.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

const LENGTH_BYTES: usize = 4;
/// Reserved at once for a frame announced; address space until bytes come, so a liar costs nothing.
const RESERVE_BYTES_MAX: usize = 1 << 20;
const READ_BYTES_MIN: usize = 16 << 10;

pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    /// `socket.request.max.bytes`
    frame_bytes_max: usize,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {announced} bytes was announced; socket.request.max.bytes is {limit}{hint}")]
    TooLarge { announced: i64, limit: usize, hint: &'static str },
    #[error("the connection ended inside a frame, {missing} bytes early")]
    Truncated { missing: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, frame_bytes_max: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), frame_bytes_max }
    }

    /// The next frame without its length, or `None` when the peer closed between two frames.
    /// Cancel-safe: what was read stays in the buffer.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let missing = match self.announced()? {
                Some(length) if self.buffer.len() >= LENGTH_BYTES + length => {
                    self.buffer.advance(LENGTH_BYTES);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                Some(length) => LENGTH_BYTES + length - self.buffer.len(),
                None => LENGTH_BYTES - self.buffer.len(),
            };
            self.buffer.reserve(missing.clamp(READ_BYTES_MIN, RESERVE_BYTES_MAX));
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::Truncated { missing })
                };
            }
        }
    }

    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(bytes) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let announced = i32::from_be_bytes(*bytes);
        match usize::try_from(announced) {
            Ok(length) if length <= self.frame_bytes_max => Ok(Some(length)),
            _ => Err(FrameError::TooLarge {
                announced: announced.into(),
                limit: self.frame_bytes_max,
                hint: foreign_protocol(bytes),
            }),
        }
    }
}

/// People point browsers and TLS clients at the port; say so instead of naming an absurd length.
fn foreign_protocol(first: &[u8; LENGTH_BYTES]) -> &'static str {
    match first {
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"OPTI" => {
            " (this looks like HTTP; the port speaks Kafka's protocol)"
        }
        [0x16, 0x03, ..] => " (this looks like TLS; the listener is PLAINTEXT)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(bytes: &'static [u8], limit: usize) -> Vec<Result<Option<Bytes>, String>> {
        let mut reader = FrameReader::new(bytes, limit);
        let mut seen = Vec::new();
        loop {
            let frame = reader.next().await.map_err(|e| e.to_string());
            let last = !matches!(frame, Ok(Some(_)));
            seen.push(frame);
            if last {
                return seen;
            }
        }
    }

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let seen = frames(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c", 10).await;
        let whole: Vec<_> = seen.into_iter().map(|f| f.unwrap()).collect();
        assert_eq!(whole, [Some("ab".into()), Some("".into()), Some("c".into()), None]);
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_refused_before_anything_is_reserved() {
        let error = frames(b"\x7f\xff\xff\xff", 100).await.pop().unwrap().unwrap_err();
        assert!(error.contains("2147483647"), "{error}");
        let error = frames(b"\xff\xff\xff\xff", 100).await.pop().unwrap().unwrap_err();
        assert!(error.contains("-1"), "{error}");
        let error = frames(b"GET / HTTP/1.1\r\n\r\n", 100).await.pop().unwrap().unwrap_err();
        assert!(error.contains("HTTP"), "{error}");
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_told_apart_from_an_end_between_two() {
        let error = frames(b"\0\0\0\x05ab", 10).await.pop().unwrap().unwrap_err();
        assert!(error.contains("3 bytes early"), "{error}");
    }
}
