//! What a handler gives back to its connection.

use std::{collections::VecDeque, future::Future, io, pin::Pin, task::Poll};

use bytes::Bytes;
use tokio::net::tcp::OwnedWriteHalf;

/// The bytes of one response, length included, as segments that are written without being joined.
pub(crate) type Segments = VecDeque<Bytes>;

/// A response to come; `None` closes the connection.
pub(crate) type Later = Pin<Box<dyn Future<Output = Option<Segments>> + Send>>;

/// A request's outcome.
pub(crate) enum Reply {
    Now(Segments),
    /// Keeps its place in the connection's order while the next requests on the same connection already
    /// run: an append need not wait for the flush of the one before it.
    Overlapping(Later),
    /// Nothing more is read from the connection until this is answered.
    Exclusive(Later),
    /// `acks=0`: the client expects no response.
    None,
    /// The connection is to be closed without a word, as Kafka does where a protocol has no place for an
    /// error.
    Close,
}

/// The replies of one connection, in the order of their requests.
#[derive(Default)]
pub(crate) struct Pending {
    queue: VecDeque<Later>,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn push(&mut self, reply: Later) {
        self.queue.push_back(reply);
    }

    /// The oldest reply once it is ready. Cancel-safe. Pends for ever when there is none: guard it.
    pub(crate) async fn next(&mut self) -> Option<Segments> {
        std::future::poll_fn(|context| {
            let Some(front) = self.queue.front_mut() else { return Poll::Pending };
            front.as_mut().poll(context).map(|segments| {
                self.queue.pop_front();
                segments
            })
        })
        .await
    }
}

/// Writes all segments with as few system calls as the kernel allows.
pub(crate) async fn write_all(stream: &OwnedWriteHalf, mut segments: Segments) -> io::Result<usize> {
    const SLICES_MAX: usize = 64;
    let mut total = 0;
    while !segments.is_empty() {
        stream.writable().await?;
        let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
        let used =
            segments.iter().zip(slices.iter_mut()).map(|(s, slot)| *slot = io::IoSlice::new(s)).count();
        match stream.try_write_vectored(&slices[..used]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                total += written;
                advance(&mut segments, written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

fn advance(segments: &mut Segments, mut written: usize) {
    while let Some(front) = segments.front_mut() {
        if written < front.len() {
            *front = front.slice(written..);
            return;
        }
        written -= front.len();
        segments.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_write_leaves_exactly_the_rest() {
        let mut segments = Segments::from([Bytes::from("abc"), Bytes::from(""), Bytes::from("defg")]);
        advance(&mut segments, 4);
        assert_eq!(segments, [Bytes::from("efg")]);
        advance(&mut segments, 3);
        assert!(segments.is_empty());
    }
}
