//! One connection to one broker: frames, correlation ids, pipelined requests, the negotiated API
//! versions. Knows nothing of clusters, nor of what its bytes go over (`transport`).
//!
//! Brokers answer the requests of a connection in their order, so the requests under way form a queue and
//! an answer that does not fit its head ends the connection. A request that goes unanswered for too long
//! ends it too: every later answer would wait behind it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use millstream_protocol::{
    ApiKey, Frame, Request, decode_response, encode_request,
    messages::{ApiVersionsRequest, ApiVersionsResponse},
};
use millstream_types::{ErrorCode, codec::Message};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter},
    sync::{Notify, mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    ClientConfig, Error, Result,
    metrics::{NodeMeters, Windows},
    transport::{self, ByteStream},
};

/// The target of the `tracing` events (level TRACE) that tell of frames: `address`, `api` by its key, `version`,
/// `correlation_id`, `is_answer`, and `frame` without its length.
pub const FRAMES: &str = "millstream_client::frames";

/// Requests that may wait to be written; more wait in the callers.
const OUTGOING_MAX: usize = 64;
/// A larger answer is not believed.
const RESPONSE_BYTES_MAX: usize = 1 << 30;
/// Memory is taken for an answer in steps of this size, as its bytes arrive.
const READ_BYTES_STEP: usize = 1 << 20;
const WRITE_BUFFER_BYTES: usize = 64 << 10;
/// Bytes of the correlation id.
const CORRELATION_BYTES: usize = 4;
/// Bytes in front of a frame, which say how long it is.
const LENGTH_BYTES: usize = 4;

/// A handle; clones share the connection, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    versions: Arc<BTreeMap<i16, (i16, i16)>>,
}

#[derive(Debug)]
struct Shared {
    address: String,
    client_id: String,
    request_timeout: Duration,
    outgoing: mpsc::Sender<Outgoing>,
    next_correlation_id: AtomicI32,
    give_up: Arc<Notify>,
}

#[derive(Debug)]
struct Outgoing {
    frame: Frame,
    /// None for a request that the broker does not answer.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    /// When it was put in line, and then when it was written.
    written: Instant,
    reply: oneshot::Sender<Result<Bytes>>,
}

type Queue = Arc<Mutex<VecDeque<Waiting>>>;

impl Connection {
    /// Connects to `host:port`, learns what the broker speaks and says who this client is.
    pub async fn connect(address: &str, config: &ClientConfig) -> Result<Self> {
        let meters = Arc::new(NodeMeters::new(Windows::of(config)));
        Self::connect_counted(address, config, meters).await
    }

    pub(crate) async fn connect_counted(
        address: &str,
        config: &ClientConfig,
        meters: Arc<NodeMeters>,
    ) -> Result<Self> {
        let stream = transport::open(address, config).await?;
        let mut connection = Self::over(stream, address, config, meters);
        let answer = connection.negotiate().await?;
        let ranges = answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        connection.versions = Arc::new(ranges.collect());
        transport::authenticate(&connection, config).await?;
        Ok(connection)
    }

    fn over(stream: ByteStream, address: &str, config: &ClientConfig, meters: Arc<NodeMeters>) -> Self {
        let (outgoing, requests) = mpsc::channel(OUTGOING_MAX);
        let give_up = Arc::new(Notify::new());
        let idle_max = config.connections_max_idle;
        tokio::spawn(run(stream, requests, Arc::clone(&give_up), address.to_owned(), idle_max, meters));
        let shared = Shared {
            address: address.to_owned(),
            client_id: config.client_id.clone(),
            request_timeout: config.request_timeout,
            outgoing,
            next_correlation_id: AtomicI32::new(0),
            give_up,
        };
        Self { shared: Arc::new(shared), versions: Arc::default() }
    }

    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Whether requests can still be sent.
    pub fn is_open(&self) -> bool {
        !self.shared.outgoing.is_closed()
    }

    /// The versions of an API that the broker said it speaks.
    pub fn broker_versions(&self, key: ApiKey) -> Option<(i16, i16)> {
        self.versions.get(&(key as i16)).copied()
    }

    /// The newest version of `R` that both sides speak.
    pub fn version_of<R: Request>(&self) -> Result<i16> {
        let broker = self.broker_versions(R::KEY);
        let (low, high) = (R::MIN_VERSION, R::MAX_VERSION);
        match broker {
            Some((min, max)) if min <= high && low <= max => Ok(high.min(max)),
            _ => Err(Error::UnsupportedApi {
                address: self.address().to_owned(),
                api: R::NAME,
                client: (low, high),
                broker,
            }),
        }
    }

    /// Sends a request in the newest version that both sides speak.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response> {
        self.send(self.version_of::<R>()?, request).await
    }

    /// Sends a request in exactly this version, whatever the broker said it speaks.
    pub async fn send<R: Request>(&self, version: i16, request: &R) -> Result<R::Response> {
        self.begin(version, request).await?.await
    }

    /// As [`Connection::send`], for a request that the broker may take longer than `request.timeout.ms` to
    /// answer, or should be quicker with.
    pub(crate) async fn send_within<R: Request>(
        &self,
        limit: Duration,
        version: i16,
        request: &R,
    ) -> Result<R::Response> {
        self.begin_within(limit, version, request).await?.await
    }

    /// Puts a request in line; what comes back waits for its answer. Requests are written in the order in
    /// which they came into the line.
    pub(crate) async fn begin<R: Request>(
        &self,
        version: i16,
        request: &R,
    ) -> Result<impl Future<Output = Result<R::Response>> + use<R>> {
        self.begin_within(self.shared.request_timeout, version, request).await
    }

    async fn begin_within<R: Request>(
        &self,
        limit: Duration,
        version: i16,
        request: &R,
    ) -> Result<impl Future<Output = Result<R::Response>> + use<R>> {
        let answer = self.exchange(limit, version, request).await?;
        Ok(async move {
            let (_, response) = decode_response::<R>(answer.await?, version).map_err(|error| {
                Error::malformed(format!("the answer to {} version {version}", R::NAME), error)
            })?;
            Ok(response)
        })
    }

    /// Writes a request that is never answered: Produce with `acks=0`.
    pub async fn send_unanswered<R: Request>(&self, version: i16, request: &R) -> Result<()> {
        let (frame, _) = self.encode(version, request)?;
        self.enqueue(Outgoing { frame, waiting: None }).await
    }

    /// Puts a request in line; what comes back is the frame that answers it, from the correlation id on.
    async fn exchange<R: Request>(
        &self,
        limit: Duration,
        version: i16,
        request: &R,
    ) -> Result<impl Future<Output = Result<Bytes>> + use<R>> {
        let (frame, correlation_id) = self.encode(version, request)?;
        let (reply, answer) = oneshot::channel();
        let connection = self.clone();
        let deadline = Instant::now() + limit;
        let late = move |connection: &Self| {
            connection.shared.give_up.notify_one();
            let what = format!("{} to {}", R::NAME, connection.address());
            Error::Timeout { what, limit, last: None }
        };
        let waiting = Some(Waiting { correlation_id, written: Instant::now(), reply });
        timeout_at(deadline, self.enqueue(Outgoing { frame, waiting })).await.map_err(|_| late(self))??;
        Ok(async move {
            let answered = timeout_at(deadline, answer).await.map_err(|_| late(&connection))?;
            let frame = answered.unwrap_or_else(|_| Err(connection.lost("closed")))?;
            connection.tell::<R>(version, correlation_id, true, || frame.clone());
            Ok(frame)
        })
    }

    fn encode<R: Request>(&self, version: i16, request: &R) -> Result<(Frame, i32)> {
        let correlation_id = self.shared.next_correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let frame = encode_request(request, version, correlation_id, Some(&self.shared.client_id))
            .map_err(|error| Error::malformed(format!("{} version {version}", R::NAME), error))?;
        let body = || frame.iter().flatten().copied().skip(LENGTH_BYTES).collect();
        self.tell::<R>(version, correlation_id, false, body);
        Ok((frame, correlation_id))
    }

    /// Of a frame, to whoever listens to [`FRAMES`].
    fn tell<R: Request>(
        &self,
        version: i16,
        correlation_id: i32,
        is_answer: bool,
        frame: impl FnOnce() -> Bytes,
    ) {
        if tracing::enabled!(target: FRAMES, tracing::Level::TRACE) {
            tracing::trace!(
                target: FRAMES,
                address = self.address(),
                api = R::KEY as i16,
                version,
                correlation_id,
                is_answer,
                frame = &*frame()
            );
        }
    }

    async fn enqueue(&self, outgoing: Outgoing) -> Result<()> {
        self.shared.outgoing.send(outgoing).await.map_err(|_| self.lost("closed"))
    }

    fn lost(&self, reason: &str) -> Error {
        Error::Disconnected { address: self.address().to_owned(), reason: reason.to_owned() }
    }

    /// KIP-511: a broker that does not know our newest ApiVersions answers in version 0 with error 35 and
    /// the versions that it does know.
    async fn negotiate(&self) -> Result<ApiVersionsResponse> {
        let request = ApiVersionsRequest {
            client_software_name: "millstream".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ApiVersionsRequest::default()
        };
        let mut version = ApiVersionsRequest::MAX_VERSION;
        loop {
            let frame = self.exchange(self.shared.request_timeout, version, &request).await?.await?;
            let code = frame.get(CORRELATION_BYTES..).and_then(|body| body.first_chunk());
            let code = code.map_or(ErrorCode::None, |raw| ErrorCode::from_code(i16::from_be_bytes(*raw)));
            let refused = code == ErrorCode::UnsupportedVersion && version > 0;
            let (_, answer) = decode_response::<ApiVersionsRequest>(frame, if refused { 0 } else { version })
                .map_err(|error| Error::malformed("the answer to ApiVersions", error))?;
            match code {
                ErrorCode::None => return Ok(answer),
                _ if refused => {
                    let known = answer.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions as i16);
                    version = known.map_or(0, |api| api.max_version).clamp(0, version - 1);
                }
                code => return Err(Error::kafka(code, format!("ApiVersions to {}", self.address()), None)),
            }
        }
    }
}

/// Owns the stream until either side ends; then everyone who waits learns why.
async fn run(
    stream: ByteStream,
    mut requests: mpsc::Receiver<Outgoing>,
    give_up: Arc<Notify>,
    address: String,
    idle_max: Duration,
    meters: Arc<NodeMeters>,
) {
    meters.connections_created.count(1);
    let ByteStream { read, write } = stream;
    let waiting = Queue::default();
    let reason = tokio::select! {
        reason = write_requests(write, &mut requests, &waiting, idle_max, &meters) => reason,
        reason = read_answers(read, &waiting, &meters) => reason,
        () = give_up.notified() => "a request went unanswered for too long".to_owned(),
    };
    meters.connections_closed.count(1);
    requests.close();
    let mut left: Vec<Waiting> = std::mem::take(&mut *waiting.lock()).into();
    meters.in_flight.subtract(left.len());
    while let Ok(outgoing) = requests.try_recv() {
        left.extend(outgoing.waiting);
    }
    if !left.is_empty() {
        tracing::debug!(address, reason, requests = left.len(), "connection lost");
    }
    for waiting in left {
        let error = Error::Disconnected { address: address.clone(), reason: reason.clone() };
        // Nobody may be waiting any more.
        waiting.reply.send(Err(error)).ok();
    }
}

async fn write_requests(
    stream: impl AsyncWrite + Unpin,
    requests: &mut mpsc::Receiver<Outgoing>,
    waiting: &Queue,
    idle_max: Duration,
    meters: &NodeMeters,
) -> String {
    let mut stream = BufWriter::with_capacity(WRITE_BUFFER_BYTES, stream);
    loop {
        let outgoing = match timeout(idle_max, requests.recv()).await {
            Ok(Some(outgoing)) => outgoing,
            Ok(None) => return "closed by this client".to_owned(),
            Err(_) if waiting.lock().is_empty() => return "closed by this client, being idle".to_owned(),
            Err(_) => continue,
        };
        // Before the bytes, for the answer may be quicker than the next line.
        if let Some(mut unanswered) = outgoing.waiting {
            unanswered.written = Instant::now();
            meters.in_flight.add(1);
            waiting.lock().push_back(unanswered);
        }
        meters.requests.count(outgoing.frame.iter().map(|segment| segment.len()).sum());
        for segment in outgoing.frame {
            if let Err(error) = stream.write_all(&segment).await {
                return error.to_string();
            }
        }
        if requests.is_empty()
            && let Err(error) = stream.flush().await
        {
            return error.to_string();
        }
    }
}

async fn read_answers(mut stream: impl AsyncRead + Unpin, waiting: &Queue, meters: &NodeMeters) -> String {
    loop {
        let frame = match read_frame(&mut stream).await {
            Ok(frame) => frame,
            Err(reason) => return reason,
        };
        meters.responses.count(frame.len() + LENGTH_BYTES);
        let Some(head) = waiting.lock().pop_front() else {
            return "an answer that nobody asked for".to_owned();
        };
        let id = frame.first_chunk::<CORRELATION_BYTES>().map(|raw| i32::from_be_bytes(*raw));
        if id != Some(head.correlation_id) {
            waiting.lock().push_front(head);
            return format!("an answer with correlation id {id:?} out of turn");
        }
        meters.in_flight.subtract(1);
        meters.latency.took(head.written.elapsed());
        // The caller may have given up.
        head.reply.send(Ok(frame)).ok();
    }
}

/// A frame without its length. Memory grows with the bytes that arrive, not with the length announced.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, String> {
    let length = stream.read_i32().await.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "closed by the broker".to_owned(),
        _ => error.to_string(),
    })?;
    let length = usize::try_from(length).ok().filter(|&length| length <= RESPONSE_BYTES_MAX);
    let length = length.ok_or("an answer of impossible length")?;
    let mut frame = BytesMut::with_capacity(length.min(READ_BYTES_STEP));
    while frame.len() < length {
        let left = length - frame.len();
        frame.reserve(left.min(READ_BYTES_STEP));
        let mut limited = (&mut *stream).take(left as u64);
        match limited.read_buf(&mut frame).await {
            Ok(0) => return Err("closed by the broker in the middle of an answer".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(frame.freeze())
}
