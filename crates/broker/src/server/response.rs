//! What a handler gives back to its connection.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
};

use bytes::Bytes;
use millstream_protocol::ResponseFrame;
use millstream_types::codec::Payload;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::{
    io::Interest,
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::{Semaphore, SemaphorePermit},
};

use super::memory::{AnswerMemory, Memory};

/// Requests of one connection that may be under way at once; the rest waits in the socket.
const IN_FLIGHT_MAX: usize = 256;
/// One turn sends no more of a file.
const SENDFILE_BYTES_MAX: usize = 1 << 20;

/// A response to come; `None` closes the connection.
pub(crate) type Later = Pin<Box<dyn Future<Output = Option<ResponseFrame>> + Send>>;

/// A request's outcome.
pub(crate) enum Reply {
    Now(ResponseFrame),
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

/// Requests that run behind an earlier one of their connection, of all connections: `queued.max.requests`.
pub(crate) struct RequestQueue {
    limit: usize,
    count: AtomicUsize,
}

impl RequestQueue {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, count: AtomicUsize::new(0) })
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// The replies of one connection, in the order of their requests.
pub(crate) struct Pending {
    queue: VecDeque<Later>,
    /// Counts all but the first of ours.
    requests: Arc<RequestQueue>,
}

impl Pending {
    pub(crate) fn new(requests: Arc<RequestQueue>) -> Self {
        Self { queue: VecDeque::new(), requests }
    }

    /// One request may always be under way. Whoever waits for room in the queue has one that will end.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < IN_FLIGHT_MAX && self.requests.count() < self.requests.limit)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn push(&mut self, reply: Later) {
        if !self.queue.is_empty() {
            self.requests.count.fetch_add(1, Ordering::Relaxed);
        }
        self.queue.push_back(reply);
    }

    /// The oldest replies once the first of them is ready, joined with those that are ready by then: a flush
    /// often answers several requests, and one write is enough for all. `None` closes the connection.
    /// Cancel-safe. Pends for ever when there is none: guard it.
    pub(crate) async fn next(&mut self) -> Option<ResponseFrame> {
        std::future::poll_fn(|context| {
            let mut joined: Option<ResponseFrame> = None;
            while let Some(front) = self.queue.front_mut() {
                match front.as_mut().poll(context) {
                    Poll::Ready(Some(frame)) => {
                        self.queue.pop_front();
                        if !self.queue.is_empty() {
                            self.requests.count.fetch_sub(1, Ordering::Relaxed);
                        }
                        match &mut joined {
                            Some(joined) => joined.extend(frame),
                            None => joined = Some(frame),
                        }
                    }
                    Poll::Ready(None) => {
                        // What is ready goes out before the connection is closed.
                        *front = Box::pin(std::future::ready(None));
                        return Poll::Ready(joined);
                    }
                    Poll::Pending => break,
                }
            }
            joined.map_or(Poll::Pending, |joined| Poll::Ready(Some(joined)))
        })
        .await
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.requests.count.fetch_sub(self.queue.len().saturating_sub(1), Ordering::Relaxed);
    }
}

/// Why an answer could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("an answer was not taken for connections.max.idle.ms")]
    Idle,
    #[error("an answer was not taken, and queued.max.request.bytes is used up by such answers")]
    GivenUp,
}

/// Turns at sending from files, in the order in which they were asked for. A turn takes as long as hundreds of small
/// requests; were each connection with much to send ready to run, everybody else would stand behind all of them. So few
/// send at a time, and the others wait where they are in nobody's way.
pub(crate) struct FileTurns(Semaphore);

impl FileTurns {
    /// Half of the processors: a sender keeps one busy, and its receiver perhaps another.
    pub(crate) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self(Semaphore::new(processors.div_ceil(2)))
    }

    async fn take(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.acquire().await.ok()
    }
}

/// Writes all segments with as few system calls as the kernel allows; what lies in files goes from there. What the
/// peer does not take at once counts as memory in use.
pub(crate) async fn write_all(
    stream: &OwnedWriteHalf,
    mut segments: ResponseFrame,
    memory: &Arc<Memory>,
    file_turns: &FileTurns,
    idle_max: Duration,
) -> Result<(), WriteError> {
    let socket: &TcpStream = stream.as_ref();
    let mut waiting: Option<AnswerMemory> = None;
    while !segments.is_empty() {
        let turn = match segments.front() {
            Some(Payload::File(_)) => file_turns.take().await,
            _ => None,
        };
        let written = socket.try_io(Interest::WRITABLE, || write_some(socket, &segments));
        drop(turn);
        match written {
            Ok(0) => return Err(WriteError::Io(io::ErrorKind::WriteZero.into())),
            Ok(written) => advance(&mut segments, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let bytes = segments.iter().filter_map(Payload::in_memory).map(Bytes::len).sum();
                let waiting = waiting.get_or_insert_with(|| AnswerMemory::new(memory, bytes));
                waiting.shrink_to(bytes);
                tokio::select! {
                    biased;
                    writable = tokio::time::timeout(idle_max, socket.writable()) => {
                        writable.map_err(|_| WriteError::Idle)??;
                    }
                    () = waiting.is_given_up() => return Err(WriteError::GivenUp),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The slice of a file that comes first, or else all that comes before the next such slice.
fn write_some(socket: &TcpStream, segments: &ResponseFrame) -> io::Result<usize> {
    if let Some(Payload::File(slice)) = segments.front() {
        let mut position = slice.position;
        let length = slice.length.min(SENDFILE_BYTES_MAX);
        return Ok(rustix::fs::sendfile(socket, &*slice.file, Some(&mut position), length)?);
    }
    const SLICES_MAX: usize = 64;
    let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
    let in_memory = segments.iter().map_while(Payload::in_memory);
    let used = in_memory.zip(slices.iter_mut()).map(|(s, slot)| *slot = io::IoSlice::new(s)).count();
    // The kernel then waits for the file's bytes instead of sending a small packet before them.
    let more = if used < segments.len() { SendFlags::MORE } else { SendFlags::empty() };
    let flags = more | SendFlags::NOSIGNAL;
    Ok(rustix::net::sendmsg(socket, &slices[..used], &mut SendAncillaryBuffer::default(), flags)?)
}

fn advance(segments: &mut ResponseFrame, mut written: usize) {
    while let Some(front) = segments.front_mut() {
        if written < front.len() {
            front.advance(written);
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
        let mut segments = ResponseFrame::from(["abc", "", "defg"].map(Payload::from));
        advance(&mut segments, 4);
        assert_eq!(segments, [Payload::from("efg")]);
        advance(&mut segments, 3);
        assert!(segments.is_empty());
    }

    #[tokio::test]
    async fn replies_that_are_ready_are_joined_and_go_out_before_the_connection_is_closed() {
        fn ready(text: Option<&'static str>) -> Later {
            Box::pin(std::future::ready(text.map(|text| ResponseFrame::from([text.into()]))))
        }
        let (answer, waited_for) = tokio::sync::oneshot::channel();
        let mut pending = Pending::new(RequestQueue::new(500));
        pending.push(ready(Some("a")));
        pending.push(ready(Some("b")));
        pending.push(Box::pin(async { waited_for.await.ok() }));
        pending.push(ready(None));
        assert_eq!(pending.next().await.unwrap(), ["a", "b"].map(Payload::from));
        answer.send(ResponseFrame::from(["c".into()])).unwrap();
        assert_eq!(pending.next().await.unwrap(), [Payload::from("c")]);
        assert_eq!(pending.next().await, None);
    }
}
