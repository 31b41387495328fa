//! How a connection comes about: the byte stream that it runs over, and who this client is to the broker. What
//! `security.protocol` decides is decided here, and nowhere else; see docs/internals/client.md. Frames and requests
//! are [`Connection`]'s.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream, lookup_host},
    time::timeout,
};

use crate::{ClientConfig, Connection, Error, Result};

/// Both directions of a byte stream, whatever it runs over. Each is used by a task of its own.
pub(crate) struct ByteStream {
    pub(crate) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl From<TcpStream> for ByteStream {
    fn from(socket: TcpStream) -> Self {
        let (read, write) = socket.into_split();
        Self { read: Box::new(read), write: Box::new(write) }
    }
}

/// Connects to `host:port`. Of a name with several addresses, the first that answers will do; each is given
/// `socket.connection.setup.timeout.ms`.
pub(crate) async fn open(address: &str, config: &ClientConfig) -> Result<ByteStream> {
    let socket = connect(address, config).await?;
    // `security.protocol` is PLAINTEXT: the configuration refuses any other. SSL and SASL_SSL wrap the socket here,
    // within the same limit; the host that a certificate must name is `address` without its port.
    Ok(ByteStream::from(socket))
}

/// What is to be said between ApiVersions and the first request of the caller's. Nobody else has the connection yet.
#[expect(clippy::unused_async, reason = "a handshake waits for answers")]
pub(crate) async fn authenticate(_connection: &Connection, _config: &ClientConfig) -> Result<()> {
    // SASL_PLAINTEXT and SASL_SSL call SaslHandshake and SaslAuthenticate with `Connection::call` here.
    Ok(())
}

async fn connect(address: &str, config: &ClientConfig) -> Result<TcpStream> {
    let failed = |reason: String| Error::Connect { address: address.to_owned(), reason };
    let limit = config.socket_connection_setup_timeout;
    let late = |_| format!("no answer in {} ms", limit.as_millis());
    let resolved = timeout(limit, lookup_host(address)).await.map_err(late).map_err(failed)?;
    let mut connected = Err("the name has no address".to_owned());
    for each in resolved.map_err(|error| failed(error.to_string()))? {
        let attempt = timeout(limit, connect_to(each, config)).await;
        connected = attempt.map_err(late).and_then(|attempt| attempt.map_err(|error| error.to_string()));
        if connected.is_ok() {
            break;
        }
    }
    connected.map_err(failed)
}

async fn connect_to(address: SocketAddr, config: &ClientConfig) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    // Before connecting: how much can be announced to the other side is settled then.
    if let Some(bytes) = config.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = config.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(address).await
}
