//! A blocking connection for requests in any version and order, well-formed or not.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use millstream_protocol::{Request, ResponseHeader, encode_request, response_header_version};
use millstream_types::codec::{Message, Reader};

/// How long an answer may take; long polls of the tests are far shorter.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// No answer in a test is larger than this.
const FRAME_BYTES_MAX: usize = 64 << 20;

pub struct Connection {
    stream: TcpStream,
    next_correlation_id: i32,
    client_id: String,
}

impl Connection {
    pub fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self { stream, next_correlation_id: 1, client_id: "testkit".to_owned() })
    }

    #[must_use]
    pub fn with_client_id(mut self, client_id: &str) -> Self {
        self.client_id = client_id.to_owned();
        self
    }

    /// Sends a request and waits for its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        let sent = self.send(version, request)?;
        let (correlation_id, response) = self.receive::<R>(version)?;
        ensure!(correlation_id == sent, "answer {correlation_id} came for request {sent}");
        Ok(response)
    }

    /// Sends a request and leaves its answer for [`Connection::receive`]. Returns the correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<i32> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let frame = encode_request(request, version, correlation_id, Some(&self.client_id))?;
        self.send_bytes(&frame.into_iter().collect::<Vec<_>>().concat())?;
        Ok(correlation_id)
    }

    /// The next answer, which must be one to `R` in `version`: correlation id and message. Bytes after the
    /// message are an error, for a client of another making may stumble over them.
    pub fn receive<R: Request>(&mut self, version: i16) -> Result<(i32, R::Response)> {
        let frame = self.receive_frame().with_context(|| format!("answer to {} v{version}", R::NAME))?;
        let mut reader = Reader::new(frame.clone());
        let header = ResponseHeader::read(&mut reader, response_header_version(R::KEY, version))?;
        let response = R::Response::read(&mut reader, version)
            .with_context(|| format!("answer to {} v{version}: {frame:02x?}", R::NAME))?;
        ensure!(reader.is_empty(), "{} bytes after the answer to {} v{version}", reader.remaining(), R::NAME);
        Ok((header.correlation_id, response))
    }

    /// Writes bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// One frame without its length.
    pub fn receive_frame(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes is announced");
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// Waits until the broker closes the connection; an answer instead is an error.
    pub fn expect_close(&mut self) -> Result<()> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Ok(())
            }
            Err(error) => bail!("the connection was not closed: {error}"),
            Ok(_) => bail!("the broker answered instead of closing the connection"),
        }
    }

    /// Says that nothing more will be sent, as a client that goes away.
    pub fn finish_sending(&mut self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// The port at this end, by which a trace of the broker's system calls names the connection.
    pub fn local_port(&self) -> Result<u16> {
        Ok(self.stream.local_addr()?.port())
    }

    /// How long [`Connection::receive`] waits before it fails.
    pub fn set_answer_limit(&mut self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(limit))?)
    }
}
