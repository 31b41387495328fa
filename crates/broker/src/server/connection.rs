//! One connection: frames in, requests run, responses out in the order of their requests.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use millstream_protocol::ResponseFrame;
use tokio::{
    net::{TcpStream, tcp::OwnedWriteHalf},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    frame::{FrameError, FrameReader},
    response::{Pending, Reply, write_all},
};
use crate::{api::Api, options::Advertised};

/// Requests of one connection that may be under way at once; the rest waits in the socket.
const IN_FLIGHT_MAX: usize = 256;
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
    let mut connection = Connection {
        frames: FrameReader::new(read, settings.frame_bytes_max),
        write,
        pending: Pending::default(),
        exclusive: false,
        api: Arc::clone(&api),
        context: Arc::clone(&context),
    };
    if let Err(error) = connection.serve(settings.idle_max, stop).await {
        match error {
            FrameError::Io(error) => debug!(peer = %context.peer, %error, "connection lost"),
            error => warn!(peer = %context.peer, "connection closed: {error}"),
        }
    }
    api.metrics().connections.dec();
}

struct Connection {
    frames: FrameReader<tokio::net::tcp::OwnedReadHalf>,
    write: OwnedWriteHalf,
    pending: Pending,
    /// The newest request must be answered before the next one is read, as Kafka does with all;
    /// only produce requests overlap.
    exclusive: bool,
    api: Arc<Api>,
    context: Arc<ConnectionContext>,
}

impl Connection {
    async fn serve(&mut self, idle_max: Duration, stop: CancellationToken) -> Result<(), FrameError> {
        let mut last_request = Instant::now();
        // One timer for the connection's whole life: it is set anew when it fires, not with each request.
        let idle = tokio::time::sleep(idle_max);
        tokio::pin!(idle);
        loop {
            let may_read = !self.exclusive && self.pending.len() < IN_FLIGHT_MAX;
            tokio::select! {
                biased;
                reply = self.pending.next(), if !self.pending.is_empty() => {
                    let Some(segments) = reply else { return Ok(()) };
                    self.answer(segments).await?;
                }
                frame = self.frames.next(), if may_read => {
                    let Some(frame) = frame? else { return Ok(()) };
                    last_request = Instant::now();
                    if !self.start(frame).await? {
                        return Ok(());
                    }
                }
                () = stop.cancelled() => return self.drain().await,
                () = &mut idle, if self.pending.is_empty() => {
                    if last_request.elapsed() >= idle_max {
                        debug!(peer = %self.context.peer, "closed: connections.max.idle.ms without a request");
                        return Ok(());
                    }
                    idle.as_mut().reset(last_request + idle_max);
                }
            }
        }
    }

    /// Runs a request as far as it goes; false closes the connection.
    async fn start(&mut self, frame: bytes::Bytes) -> Result<bool, FrameError> {
        match self.api.handle(frame, &self.context) {
            Reply::Now(segments) if self.pending.is_empty() => {
                write_all(&self.write, segments).await?;
            }
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

    async fn answer(&mut self, segments: ResponseFrame) -> Result<(), FrameError> {
        write_all(&self.write, segments).await?;
        if self.pending.is_empty() {
            self.exclusive = false;
        }
        Ok(())
    }

    /// The broker stops: what was accepted is still answered, nothing new is read.
    async fn drain(&mut self) -> Result<(), FrameError> {
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
