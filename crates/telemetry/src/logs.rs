//! Logs by `tracing`, to stderr: quiet unless asked, and at levels that may change at run time.

use std::{collections::BTreeMap, io::IsTerminal};

use parking_lot::Mutex;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

/// Of everything that no more special logger has a level for.
pub const ROOT_LOGGER: &str = "root";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The process's one filter.
static LEVELS: Mutex<LogLevels> = Mutex::new(LogLevels::new());

/// Which levels were asked for at the start and since.
struct LogLevels {
    /// tracing's syntax; empty before [`init_logs`].
    base: String,
    /// By logger; the empty name is the root.
    changed: BTreeMap<String, Level>,
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

/// `filter` is tracing's syntax (`info`, `millstream_broker=debug,warn`). Does nothing when a logger is
/// already set, as in tests.
pub fn init_logs(filter: &str, format: LogFormat) {
    let base = if EnvFilter::try_new(filter).is_ok() { filter } else { "warn" };
    let (filter, handle) = reload::Layer::new(EnvFilter::new(base));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let outcome = match format {
        LogFormat::Text => registry.with(layer.with_target(false).compact()).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    match outcome {
        Ok(()) => {
            let changed = BTreeMap::new();
            *LEVELS.lock() = LogLevels { base: base.to_owned(), changed, filter: Some(handle) };
        }
        Err(error) => tracing::debug!(%error, "a logger was set before"),
    }
}

/// The level that counts for a logger (a module path, or [`ROOT_LOGGER`]); `None` when it is off.
pub fn log_level(logger: &str) -> Option<Level> {
    LEVELS.lock().effective(logger)
}

/// Sets a logger's level, or takes back what was set; it counts for what is logged from now on.
pub fn set_log_level(logger: &str, level: Option<Level>) {
    let mut levels = LEVELS.lock();
    levels.change(logger, level);
    if let Some(filter) = &levels.filter
        && let Err(error) = filter.reload(EnvFilter::new(levels.directives()))
    {
        tracing::warn!(%error, logger, "the log level could not be changed");
    }
}

impl LogLevels {
    const fn new() -> Self {
        Self { base: String::new(), changed: BTreeMap::new(), filter: None }
    }

    fn change(&mut self, logger: &str, level: Option<Level>) {
        let name = if logger == ROOT_LOGGER { "" } else { logger };
        match level {
            Some(level) => drop(self.changed.insert(name.to_owned(), level)),
            None => drop(self.changed.remove(name)),
        }
    }

    /// The later of two that say something of the same logger counts.
    fn directives(&self) -> String {
        let changed = self.changed.iter().map(|(name, level)| match name.as_str() {
            "" => level.to_string(),
            name => format!("{name}={level}"),
        });
        let base = Some(self.base.clone()).filter(|base| !base.is_empty());
        base.into_iter().chain(changed).collect::<Vec<_>>().join(",")
    }

    fn effective(&self, logger: &str) -> Option<Level> {
        let targets: Targets = self.directives().parse().unwrap_or_default();
        if logger == ROOT_LOGGER {
            return targets.default_level().and_then(LevelFilter::into_level);
        }
        let falling = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        falling.into_iter().find(|level| targets.would_enable(logger, level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_level_goes_before_the_first_one_until_it_is_taken_back() {
        let base = "warn,engine=info".to_owned();
        let mut levels = LogLevels { base, ..LogLevels::new() };
        let seen = |levels: &LogLevels| ["root", "engine::part", "other"].map(|l| levels.effective(l));
        let (warn, info, debug) = (Some(Level::WARN), Some(Level::INFO), Some(Level::DEBUG));
        assert_eq!(seen(&levels), [warn, info, warn]);
        levels.change("engine", debug);
        levels.change(ROOT_LOGGER, Some(Level::ERROR));
        assert_eq!(seen(&levels), [Some(Level::ERROR), debug, Some(Level::ERROR)]);
        assert!(EnvFilter::try_new(levels.directives()).is_ok());
        levels.change("engine", None);
        levels.change(ROOT_LOGGER, None);
        assert_eq!(seen(&levels), [warn, info, warn]);
    }
}
