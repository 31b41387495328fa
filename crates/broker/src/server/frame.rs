//! Frames off a socket: a length of four bytes, then that many. Nothing is reserved on the word of the length: the
//! buffer grows with the bytes that have really come, as far as there is memory for those of all connections. A
//! connection between two frames has no buffer.

use std::{cell::RefCell, io, pin::Pin};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf},
    time::Instant,
};

use super::memory::{RequestMemory, TooLong};

const LENGTH_BYTES: usize = 4;
/// Room that a frame which has begun is given, at least and at first.
const READ_BYTES_MIN: usize = 16 << 10;
const READ_BYTES_MAX: usize = 1 << 20;
/// The first of a frame, and mostly all of it, is read into a buffer that the thread lends.
const LENT_BYTES: usize = 64 << 10;
/// While memory is short: all of a small request still comes at once.
const LENT_BYTES_SHORT: usize = 1 << 10;

pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    last_read: Instant,
    /// `socket.request.max.bytes`
    frame_bytes_max: usize,
    memory: RequestMemory,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {announced} bytes was announced; socket.request.max.bytes is {limit}{hint}")]
    TooLarge { announced: i64, limit: usize, hint: &'static str },
    #[error("the connection ended inside a frame, {missing} bytes early")]
    Truncated { missing: usize },
    #[error(
        "a request took too long to come, {missing} bytes of it are missing and queued.max.request.bytes is used up"
    )]
    GivenUp { missing: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, frame_bytes_max: usize, memory: RequestMemory) -> Self {
        Self { stream, buffer: BytesMut::new(), last_read: Instant::now(), frame_bytes_max, memory }
    }

    /// When bytes came last, or the reader was made.
    pub(crate) fn last_read(&self) -> Instant {
        self.last_read
    }

    /// The next frame without its length, or `None` when the peer closed between two frames.
    /// Cancel-safe: what was read stays in the buffer.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let missing = match self.announced()? {
                Some(length) if self.buffer.len() >= LENGTH_BYTES + length => {
                    self.memory.clear();
                    self.buffer.advance(LENGTH_BYTES);
                    let frame = self.buffer.split_to(length).freeze();
                    if self.buffer.is_empty() {
                        // What is left of the buffer would keep the frame's memory.
                        self.buffer = BytesMut::new();
                    }
                    return Ok(Some(frame));
                }
                Some(length) => LENGTH_BYTES + length - self.buffer.len(),
                None => LENGTH_BYTES - self.buffer.len(),
            };
            let received = match self.buffer.is_empty() {
                true => self.read_first().await?,
                false => self.read_on(missing).await?,
            };
            if received == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::Truncated { missing })
                };
            }
            self.last_read = Instant::now();
        }
    }

    async fn read_first(&mut self) -> Result<usize, FrameError> {
        thread_local! {
            static LENT: RefCell<Box<[u8]>> = RefCell::new(vec![0; LENT_BYTES].into());
        }
        let lent_bytes = if self.memory.is_short() { LENT_BYTES_SHORT } else { LENT_BYTES };
        let read = std::future::poll_fn(|context| {
            LENT.with_borrow_mut(|lent| {
                let mut read = ReadBuf::new(&mut lent[..lent_bytes]);
                let polled = Pin::new(&mut self.stream).poll_read(context, &mut read);
                polled.map_ok(|()| {
                    self.buffer = BytesMut::from(read.filled());
                    self.buffer.len()
                })
            })
        });
        Ok(read.await?)
    }

    async fn read_on(&mut self, missing: usize) -> Result<usize, FrameError> {
        let Self { stream, buffer, memory, .. } = self;
        memory.hold(buffer.len());
        if buffer.len() == buffer.capacity() {
            let capacity = buffer.len() + missing.min(room_for_more(buffer.len()));
            memory.grow_to(capacity).await.map_err(|TooLong| FrameError::GivenUp { missing })?;
            // Its own growth would round up, beyond the frame.
            let mut larger = BytesMut::with_capacity(capacity);
            larger.extend_from_slice(buffer);
            *buffer = larger;
        }
        tokio::select! {
            biased;
            read = stream.read_buf(buffer) => Ok(read?),
            () = memory.is_given_up() => Err(FrameError::GivenUp { missing }),
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

/// How much a frame may reserve that has sent so much: in proportion at first, and then all that it has announced,
/// since growing by copying would hold twice as much.
fn room_for_more(received: usize) -> usize {
    match received {
        0..READ_BYTES_MAX => (received * 16).clamp(READ_BYTES_MIN, READ_BYTES_MAX),
        _ => usize::MAX,
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
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::server::memory::Memory;

    async fn frames(bytes: &'static [u8], limit: usize) -> Vec<Result<Option<Bytes>, String>> {
        let mut reader = FrameReader::new(bytes, limit, RequestMemory::new(Memory::new(None)));
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

    #[tokio::test]
    async fn a_frame_that_comes_in_pieces_is_counted_until_it_is_whole_and_leaves_no_buffer() {
        let memory = Memory::new(Some(10 << 20));
        let (mut near, far) = tokio::io::duplex(4096);
        let mut reader = FrameReader::new(far, 1 << 20, RequestMemory::new(Arc::clone(&memory)));
        let body = vec![b'x'; 300_000];
        let sending = async {
            near.write_all(&300_000_u32.to_be_bytes()).await.unwrap();
            near.write_all(&body).await.unwrap();
        };
        let reading = async {
            let frame = reader.next().await.unwrap().unwrap();
            assert_eq!(frame, body);
        };
        tokio::join!(sending, reading);
        assert_eq!((memory.used(), reader.buffer.capacity()), (0, 0));
        near.write_all(b"\0\0\0\x09abc").await.unwrap();
        let mut next = Box::pin(reader.next());
        tokio::select! {
            biased;
            _ = &mut next => panic!("the frame is not whole"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(memory.used(), 13, "what is there and what is missing");
        drop(next);
        drop(reader);
        assert_eq!(memory.used(), 0);
    }
}
