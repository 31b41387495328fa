//! One connection: frames in, requests run, responses out in the order of their requests.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use millstream_protocol::ResponseFrame;
use millstream_telemetry::Metrics;
use tokio::{
    net::{TcpStream, tcp::OwnedWriteHalf},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    frame::{FrameError, FrameReader},
    limits::Permit,
    memory::RequestMemory,
    repeats::Repeats,
    response::{Pending, Reply, WriteError, write_all},
};
use crate::{api::Api, options::Advertised};

/// What a connection gets to finish its last responses when the broker stops.
const DRAIN: Duration = Duration::from_secs(5);

/// What is known of the peer for as long as it is connected.
pub(crate) struct ConnectionContext {
    pub(crate) listener: Arc<str>,
    pub(crate) peer: SocketAddr,
    /// What this client is told as the broker's address.
    pub(crate) advertised: Advertised,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionSettings {
    pub(crate) frame_bytes_max: usize,
    pub(crate) idle_max: Duration,
}

impl ConnectionContext {
    pub(crate) fn new(
        listener: Arc<str>,
        local: SocketAddr,
        peer: SocketAddr,
        advertised: Option<Advertised>,
    ) -> Arc<Self> {
        let own = || Advertised { host: canonical(local.ip()).to_string(), port: local.port() };
        let advertised = match advertised {
            // Port 0 in an advertised listener: the one that was bound.
            Some(Advertised { host, port: 0 }) => Advertised { host, port: local.port() },
            Some(advertised) => advertised,
            None => own(),
        };
        Arc::new(Self { listener, peer, advertised })
    }

    /// As Kafka writes it into groups: `/127.0.0.1`.
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", canonical(self.peer.ip()))
    }
}

/// An IPv4 client on a dual-stack socket is an IPv4 client.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

pub(crate) async fn run(
    stream: TcpStream,
    permit: Permit,
    context: Arc<ConnectionContext>,
    api: Arc<Api>,
    settings: ConnectionSettings,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(peer = %context.peer, %error, "no TCP_NODELAY");
    }
    api.metrics().connections.inc();
    let (read, write) = stream.into_split();
    let memory = RequestMemory::new(Arc::clone(api.memory()));
    let mut connection = Connection {
        frames: FrameReader::new(read, settings.frame_bytes_max, memory),
        write,
        pending: Pending::new(Arc::clone(api.request_queue())),
        exclusive: false,
        last_write: Instant::now(),
        idle_max: settings.idle_max,
        permit: &permit,
        api: Arc::clone(&api),
        context: Arc::clone(&context),
    };
    let ended = tokio::select! {
        biased;
        ended = connection.serve(stop) => ended,
        () = permit.is_excess() => Err(Broken::Excess),
    };
    drop(connection);
    if let Err(reason) = ended {
        reason.report(&context, api.metrics(), permit.repeats());
    }
    api.metrics().connections.dec();
}

/// Why a connection ends that neither side has closed.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Read(#[from] FrameError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("not used for connections.max.idle.ms")]
    Idle,
    #[error("max.connections was lowered")]
    Excess,
}

impl Broken {
    fn report(&self, context: &ConnectionContext, metrics: &Metrics, repeats: &Repeats) {
        if let Some(limit) = self.limit() {
            metrics.limited(limit);
        }
        let peer = context.peer;
        match self {
            Self::Read(FrameError::Io(error)) | Self::Write(WriteError::Io(error)) => {
                debug!(%peer, %error, "connection lost");
            }
            // What everybody meets with who does nothing, or has been told already for all of them.
            Self::Idle | Self::Excess => debug!(%peer, "connection closed: {self}"),
            _ => {
                if let Some(left_out) = repeats.line(self.kind()) {
                    warn!(%peer, "connection closed: {self}{left_out}");
                }
            }
        }
    }

    /// Of the line about it: what is worth a line of its own.
    fn kind(&self) -> &'static str {
        match self {
            Self::Read(FrameError::TooLarge { hint, .. }) => hint,
            Self::Read(FrameError::Truncated { .. }) => "truncated",
            _ => self.limit().unwrap_or_default(),
        }
    }

    /// The key that set the limit which it met with.
    fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Read(FrameError::TooLarge { .. }) => Some("socket.request.max.bytes"),
            Self::Read(FrameError::GivenUp { .. }) | Self::Write(WriteError::GivenUp) => {
                Some("queued.max.request.bytes")
            }
            Self::Idle | Self::Write(WriteError::Idle) => Some("connections.max.idle.ms"),
            Self::Excess => Some("max.connections"),
            Self::Read(FrameError::Truncated { .. } | FrameError::Io(_)) | Self::Write(WriteError::Io(_)) => {
                None
            }
        }
    }
}

struct Connection<'a> {
    frames: FrameReader<tokio::net::tcp::OwnedReadHalf>,
    write: OwnedWriteHalf,
    pending: Pending,
    /// The newest request must be answered before the next one is read, as Kafka does with all;
    /// only produce requests overlap.
    exclusive: bool,
    last_write: Instant,
    idle_max: Duration,
    permit: &'a Permit,
    api: Arc<Api>,
    context: Arc<ConnectionContext>,
}

impl Connection<'_> {
    async fn serve(&mut self, stop: CancellationToken) -> Result<(), Broken> {
        // One timer for the connection's whole life: it is set anew when it fires, not with each request.
        let idle = tokio::time::sleep(self.idle_max);
        tokio::pin!(idle);
        loop {
            let may_read = !self.exclusive && self.pending.has_room();
            tokio::select! {
                biased;
                reply = self.pending.next(), if !self.pending.is_empty() => {
                    let Some(segments) = reply else { return Ok(()) };
                    self.answer(segments).await?;
                }
                frame = self.frames.next(), if may_read => {
                    let Some(frame) = frame? else { return Ok(()) };
                    if !self.start(frame).await? {
                        return Ok(());
                    }
                }
                () = stop.cancelled() => return self.drain().await,
                () = &mut idle, if self.pending.is_empty() => {
                    let last_used = self.last_write.max(self.frames.last_read());
                    if last_used.elapsed() >= self.idle_max {
                        return Err(Broken::Idle);
                    }
                    idle.as_mut().reset(last_used + self.idle_max);
                }
            }
        }
    }

    /// Runs a request as far as it goes; false closes the connection.
    async fn start(&mut self, frame: bytes::Bytes) -> Result<bool, Broken> {
        self.permit.touch(self.frames.last_read());
        match self.api.handle(frame, &self.context) {
            Reply::Now(segments) if self.pending.is_empty() => self.write(segments).await?,
            Reply::Now(segments) => self.pending.push(Box::pin(std::future::ready(Some(segments)))),
            Reply::Overlapping(future) => self.pending.push(future),
            Reply::Exclusive(future) => {
                self.exclusive = true;
                self.pending.push(future);
            }
            Reply::None => {}
            Reply::Close => return Ok(false),
        }
        Ok(true)
    }

    async fn answer(&mut self, segments: ResponseFrame) -> Result<(), Broken> {
        self.write(segments).await?;
        if self.pending.is_empty() {
            self.exclusive = false;
        }
        Ok(())
    }

    async fn write(&mut self, segments: ResponseFrame) -> Result<(), Broken> {
        let Self { write, api, idle_max, .. } = self;
        write_all(write, segments, api.memory(), api.file_turns(), *idle_max).await?;
        self.last_write = Instant::now();
        self.permit.touch(self.last_write);
        Ok(())
    }

    /// The broker stops: what was accepted is still answered, nothing new is read.
    async fn drain(&mut self) -> Result<(), Broken> {
        let deadline = tokio::time::sleep(DRAIN);
        tokio::pin!(deadline);
        while !self.pending.is_empty() {
            tokio::select! {
                reply = self.pending.next() => {
                    let Some(segments) = reply else { return Ok(()) };
                    self.answer(segments).await?;
                }
                () = &mut deadline => return Ok(()),
            }
        }
        Ok(())
    }
}
