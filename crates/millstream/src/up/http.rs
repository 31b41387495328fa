//! The HTTP side that exists so far: `/metrics` for Prometheus and `/healthz` for whoever waits.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use millstream_broker::Broker;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// As `prometheus-client` writes it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn bind(port: u16) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| {
        format!("cannot listen on port {port} for /metrics and /healthz; choose another with --console-port")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

pub(super) async fn serve(listener: TcpListener, broker: Arc<Broker>, stop: CancellationToken) {
    let router =
        Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).with_state(broker);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP listener ended");
    }
}

async fn metrics(State(broker): State<Arc<Broker>>) -> Response {
    match broker.metrics().render() {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// 200 while every log directory takes writes, 503 with the reason otherwise.
async fn health(State(broker): State<Arc<Broker>>) -> Response {
    let offline = broker.offline_log_dirs();
    let (status, word) = if offline.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    };
    (status, Json(json!({ "status": word, "offline_log_dirs": offline }))).into_response()
}
