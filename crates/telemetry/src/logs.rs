//! Logs by `tracing`, to stderr: quiet unless asked.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `filter` is tracing's syntax (`info`, `millstream_broker=debug,warn`). Does nothing when a logger is
/// already set, as in tests.
pub fn init_logs(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let outcome = match format {
        LogFormat::Text => registry.with(layer.with_target(false).compact()).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a logger was set before");
    }
}
