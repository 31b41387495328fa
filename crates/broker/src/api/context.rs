//! From a frame to a handler and back: header, version check, encoding of the response.

use std::{future::Future, sync::Arc, time::Instant};

use millstream_protocol::{ApiKey, RequestHeader, ResponseFrame, encode_response};
use millstream_telemetry::Metrics;
use millstream_types::codec::Message;
use tracing::error;

use crate::server::{ConnectionContext, response::Reply};

/// What a handler knows of its request beside the message itself.
#[derive(Clone)]
pub(super) struct RequestContext {
    pub(super) key: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) client_id: Option<String>,
    pub(super) connection: Arc<ConnectionContext>,
    /// Of the whole request, as it came.
    pub(super) frame_bytes: usize,
    metrics: Arc<Metrics>,
    received: Instant,
}

impl RequestContext {
    pub(super) fn new(
        header: RequestHeader,
        key: ApiKey,
        frame_bytes: usize,
        connection: &Arc<ConnectionContext>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self {
            key,
            version: header.request_api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            connection: Arc::clone(connection),
            frame_bytes,
            metrics: Arc::clone(metrics),
            received: Instant::now(),
        }
    }

    pub(super) fn now<R: Message>(self, response: &R) -> Reply {
        self.encode(response, self.version).map_or(Reply::Close, Reply::Now)
    }

    /// In a version other than the request's.
    pub(super) fn now_in_version<R: Message>(self, response: &R, version: i16) -> Reply {
        self.encode(response, version).map_or(Reply::Close, Reply::Now)
    }

    /// Keeps its place in the order; the next requests of the connection run meanwhile.
    pub(super) fn overlapping<R: Message>(self, response: impl Future<Output = R> + Send + 'static) -> Reply {
        Reply::Overlapping(Box::pin(async move {
            let response = response.await;
            self.encode(&response, self.version)
        }))
    }

    pub(super) fn later<R: Message>(self, response: impl Future<Output = R> + Send + 'static) -> Reply {
        Reply::Exclusive(Box::pin(async move {
            let response = response.await;
            self.encode(&response, self.version)
        }))
    }

    /// The whole frame. A response that its own version cannot carry is a bug of ours: it is logged and
    /// the connection closed, rather than the client left with half a truth.
    fn encode<R: Message>(&self, response: &R, version: i16) -> Option<ResponseFrame> {
        let frame = encode_response(response, self.key, version, self.correlation_id)
            .inspect_err(|error| error!(api = ?self.key, version, %error, "a response could not be written"))
            .ok()?;
        self.metrics.observe_request(self.key.name(), self.received.elapsed().as_secs_f64() * 1000.0);
        Some(frame)
    }
}

/// Runs work that reads files off the threads that serve connections.
pub(super) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only at shutdown; the connection ends with this task.
            Err(_) => std::future::pending().await,
        },
    }
}
