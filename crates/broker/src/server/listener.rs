//! Listening sockets: which addresses a listener means, a free port for port 0, and accepting under
//! limits.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};

use millstream_config::NetworkConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    connection::{self, ConnectionContext},
    limits::ConnectionLimits,
    pacing::{HostsOwn, accept_without_pacing},
};
use crate::{
    api::Api,
    open_files::OpenFiles,
    options::{Advertised, Endpoint, Host, ListenerOptions},
};

/// After running out of file descriptors, how long until accepting is tried again.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A listener with its sockets bound: one for each address that its host stands for.
pub(crate) struct BoundListener {
    pub(crate) name: String,
    /// Told to clients; `None`: the local address of their own connection.
    pub(crate) advertised: Option<Advertised>,
    pub(crate) port: u16,
    sockets: Vec<BoundSocket>,
}

struct BoundSocket {
    socket: std::net::TcpListener,
    /// `None`: nothing was changed.
    congestion_control: Option<HostsOwn>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}{}", hint(source))]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

impl BoundListener {
    /// A host by which this machine reaches the listener.
    pub(crate) fn host_for_clients(&self) -> String {
        let address = self.sockets.first().and_then(|bound| bound.socket.local_addr().ok()).map(|a| a.ip());
        match address {
            Some(address) if !address.is_unspecified() => address.to_string(),
            _ => Ipv4Addr::LOCALHOST.to_string(),
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (another program has the port; stop it, or choose another with --listen)"
        }
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need a privilege; choose another with --listen)"
        }
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
        _ => "",
    }
}

/// How the listening sockets are set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    pub(crate) backlog: i32,
    /// `None`: as the operating system chooses.
    pub(crate) receive_buffer_bytes: Option<usize>,
    pub(crate) send_buffer_bytes: Option<usize>,
}

impl From<&NetworkConfig> for Tuning {
    fn from(config: &NetworkConfig) -> Self {
        let size = |bytes: Option<u32>| bytes.and_then(|bytes| usize::try_from(bytes).ok());
        Self {
            backlog: i32::try_from(config.listen_backlog).unwrap_or(i32::MAX),
            receive_buffer_bytes: size(config.receive_buffer_bytes),
            send_buffer_bytes: size(config.send_buffer_bytes),
        }
    }
}

pub(crate) fn bind(options: &ListenerOptions, tuning: &Tuning) -> Result<BoundListener, BindError> {
    const ATTEMPTS: usize = 20;
    let mut attempt = 0;
    let sockets = loop {
        attempt += 1;
        match bind_all(&options.endpoint, tuning) {
            // With port 0 the second address must have the port that the first one got, which another
            // program may hold there.
            Err(error) if options.endpoint.port == 0 && attempt < ATTEMPTS => {
                debug!(%error, "trying another free port");
            }
            outcome => break outcome?,
        }
    };
    let port = sockets[0].socket.local_addr().map_or(options.endpoint.port, |a| a.port());
    Ok(BoundListener { name: options.name.clone(), advertised: options.advertised.clone(), port, sockets })
}

fn bind_all(endpoint: &Endpoint, tuning: &Tuning) -> Result<Vec<BoundSocket>, BindError> {
    let mut sockets = Vec::new();
    let mut port = endpoint.port;
    for (index, address) in addresses(&endpoint.host).into_iter().enumerate() {
        let address = SocketAddr::new(address, port);
        match bind_one(address, tuning) {
            Ok(bound) => {
                port = bound.socket.local_addr().map_or(port, |a| a.port());
                sockets.push(bound);
            }
            // A machine without IPv6 still has its IPv4 loopback.
            Err(error) if index > 0 && error.kind() != io::ErrorKind::AddrInUse => {
                debug!(%address, %error, "not listening there");
            }
            Err(source) => return Err(BindError { address, source }),
        }
    }
    Ok(sockets)
}

fn addresses(host: &Host) -> Vec<IpAddr> {
    match host {
        Host::Loopback => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Host::Any => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        Host::Address(address) => vec![*address],
    }
}

fn bind_one(address: SocketAddr, tuning: &Tuning) -> io::Result<BoundSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Restarting at once must not fail on connections that linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit the sizes.
    if let Some(bytes) = tuning.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = tuning.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    // A connection is what the socket is when it comes, which may be before it is served.
    let congestion_control = accept_without_pacing(&socket)
        .inspect_err(|error| debug!(%address, %error, "connections are paced if the host's are"))
        .ok();
    socket.listen(tuning.backlog)?;
    Ok(BoundSocket { socket: socket.into(), congestion_control })
}

/// Accepts until `stop`; each connection is a task of `tasks`.
pub(crate) fn serve(
    listener: BoundListener,
    api: &Arc<Api>,
    limits: &Arc<ConnectionLimits>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> io::Result<()> {
    let name: Arc<str> = listener.name.into();
    for BoundSocket { socket, congestion_control } in listener.sockets {
        let accepting = Accepting {
            socket: TcpListener::from_std(socket)?,
            name: Arc::clone(&name),
            advertised: listener.advertised.clone(),
            congestion_control,
            api: Arc::clone(api),
            limits: Arc::clone(limits),
            files_max: OpenFiles::of_process().for_connections(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(accepting.run());
    }
    Ok(())
}

struct Accepting {
    socket: TcpListener,
    name: Arc<str>,
    advertised: Option<Advertised>,
    congestion_control: Option<HostsOwn>,
    api: Arc<Api>,
    limits: Arc<ConnectionLimits>,
    /// `OpenFiles::for_connections`
    files_max: u64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Accepting {
    async fn run(self) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = self.admit(stream, peer) => {}
                },
                Err(error) => {
                    // EMFILE and its kin: the connection stays in the backlog until somebody leaves.
                    if let Some(left_out) = self.limits.repeats.line("accept") {
                        warn!(%error, listener = %self.name, "cannot accept a connection{left_out}");
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    async fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        if u64::try_from(stream.as_raw_fd()).unwrap_or(0) >= self.files_max {
            self.api.metrics().limited("open files");
            if let Some(left_out) = self.limits.repeats.line("open files") {
                let files = self.files_max;
                warn!(%peer, "connection refused: of the files that may be open (ulimit -n), {files} are{left_out}");
            }
            return;
        }
        let Some(permit) = self.limits.admit(peer.ip()).await else { return };
        let settings = self.api.connection_settings();
        let Ok(local) = stream.local_addr() else { return };
        if let Some(hosts_own) = &self.congestion_control
            && let Err(error) = hosts_own.unless_local(&stream, local, peer)
        {
            debug!(%peer, %error, "not the host's congestion control");
        }
        let advertised = self.advertised.clone();
        let context = ConnectionContext::new(Arc::clone(&self.name), local, peer, advertised);
        let (api, stop) = (Arc::clone(&self.api), self.stop.clone());
        self.tasks.spawn(connection::run(stream, permit, context, api, settings, stop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUNING: Tuning = Tuning { backlog: 10, receive_buffer_bytes: None, send_buffer_bytes: Some(4096) };

    fn options(host: Host, port: u16) -> ListenerOptions {
        ListenerOptions { name: "PLAINTEXT".into(), endpoint: Endpoint { host, port }, advertised: None }
    }

    #[test]
    fn port_zero_gives_both_loopback_addresses_the_same_free_port() {
        let bound = bind(&options(Host::Loopback, 0), &TUNING).unwrap();
        assert_ne!(bound.port, 0);
        for BoundSocket { socket, .. } in &bound.sockets {
            assert_eq!(socket.local_addr().unwrap().port(), bound.port);
        }
    }

    #[test]
    fn a_connection_that_comes_before_it_is_served_is_not_paced_either() {
        let bound = bind(&options(Host::Loopback, 0), &TUNING).unwrap();
        let BoundSocket { socket, .. } = &bound.sockets[0];
        let _client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let (accepted, _) = socket.accept().unwrap();
        assert_eq!(rustix::net::sockopt::tcp_congestion(accepted).unwrap(), "reno");
    }

    #[test]
    fn a_taken_port_is_one_clear_sentence() {
        let first = bind(&options(Host::Loopback, 0), &TUNING).unwrap();
        let error = bind(&options(Host::Loopback, first.port), &TUNING).err().unwrap().to_string();
        assert!(error.contains("another program has the port"), "{error}");
    }
}
