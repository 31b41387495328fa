//! The process's loggers as Kafka's BROKER_LOGGER resources: their levels are read and changed while the
//! broker runs, and are as they were at the next start. `kafka.server.RuntimeLoggerManager`.

use millstream_config::{AlterOp, ConfigError, Entry, Source};
use millstream_metadata::ConfigOp;
use millstream_telemetry::{Level, ROOT_LOGGER, log_level, set_log_level};
use millstream_types::{BrokerId, ErrorCode};

use crate::error_map::Failure;

const LOGGERS: [&str; 9] = [
    ROOT_LOGGER,
    "millstream",
    "millstream_broker",
    "millstream_client",
    "millstream_config",
    "millstream_coordinator",
    "millstream_log",
    "millstream_metadata",
    "millstream_telemetry",
];

const LEVELS: [(&str, Level); 6] = [
    ("DEBUG", Level::DEBUG),
    ("ERROR", Level::ERROR),
    // Nothing here is logged as fatal.
    ("FATAL", Level::ERROR),
    ("INFO", Level::INFO),
    ("TRACE", Level::TRACE),
    ("WARN", Level::WARN),
];

pub(crate) fn describe() -> Vec<Entry> {
    let entry = |name: &str| Entry {
        name: name.to_owned(),
        value: Some(log_level(name).map_or("OFF", |level| level.as_str()).to_owned()),
        read_only: false,
        source: Source::DynamicBrokerLogger,
        sensitive: false,
        synonyms: Vec::new(),
        kind_code: 0,
        documentation: Some(""),
    };
    LOGGERS.map(entry).into()
}

/// All of the changes or none.
pub(crate) fn alter(node: BrokerId, broker: &str, ops: &[ConfigOp], dry_run: bool) -> Result<(), Failure> {
    let nulls: Vec<&str> = ops.iter().filter(|op| is_null(op)).map(|op| op.name.as_str()).collect();
    if !nulls.is_empty() {
        return Err(invalid(ConfigError::NullValue(nulls.join(",")).to_string()));
    }
    match broker.parse::<i32>() {
        Ok(id) if id == node.0 => {}
        Ok(id) => return Err(invalid(format!("Unexpected node id. Expected {node}, but received {id}"))),
        Err(_) => return Err(invalid(format!("Node id must be an integer, but it is: {broker}"))),
    }
    let changes: Vec<_> = ops.iter().map(change).collect::<Result<_, _>>()?;
    for (logger, level) in changes.into_iter().filter(|_| !dry_run) {
        set_log_level(logger, level);
    }
    Ok(())
}

fn is_null(op: &ConfigOp) -> bool {
    op.value.is_none() && op.op != Some(AlterOp::Delete)
}

fn change(op: &ConfigOp) -> Result<(&'static str, Option<Level>), Failure> {
    let logger = LOGGERS.into_iter().find(|name| *name == op.name);
    let no_logger = || invalid_config(format!("Logger {} does not exist!", op.name));
    match op.op {
        Some(AlterOp::Set) => {
            let logger = logger.ok_or_else(no_logger)?;
            Ok((logger, Some(level(logger, op.value.as_deref().unwrap_or_default())?)))
        }
        Some(AlterOp::Delete) => match logger.ok_or_else(no_logger)? {
            ROOT_LOGGER => Err(invalid("Removing the log level of the root logger is not allowed")),
            logger => Ok((logger, None)),
        },
        Some(AlterOp::Append) => {
            Err(invalid("APPEND operation is not allowed for the BROKER_LOGGER resource"))
        }
        Some(AlterOp::Subtract) => {
            Err(invalid("SUBTRACT operation is not allowed for the BROKER_LOGGER resource"))
        }
        None => Err(invalid("Unknown operation type")),
    }
}

fn level(logger: &str, text: &str) -> Result<Level, Failure> {
    let named = LEVELS.into_iter().find(|(name, _)| *name == text);
    named.map(|(_, level)| level).ok_or_else(|| {
        let valid = LEVELS.map(|(name, _)| name).join(", ");
        invalid_config(format!(
            "Cannot set the log level of {logger} to {text} as it is not a supported log level. Valid log levels are {valid}"
        ))
    })
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}

fn invalid_config(message: String) -> Failure {
    Failure::new(ErrorCode::InvalidConfig, message)
}
