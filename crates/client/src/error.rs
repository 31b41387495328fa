//! The one error of this crate, and whether trying again can help.

use std::time::Duration;

use millstream_types::{ErrorCode, Offset, TopicPartition};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did not do what it was asked. Cheap to clone: one failure may concern many records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The broker answered with an error code.
    #[error("{what}: {code}{}", dash(.message))]
    Kafka {
        code: ErrorCode,
        /// What was asked for: `topic orders`, `group billing`, `orders-3`.
        what: String,
        /// The broker's own words, where the API carries them.
        message: Option<String>,
    },
    #[error("cannot connect to {address}: {reason}")]
    Connect { address: String, reason: String },
    /// The connection ended before the answer; whether the broker acted on the request is unknown.
    #[error("connection to {address} lost: {reason}")]
    Disconnected { address: String, reason: String },
    #[error("{what} took longer than {} ms{}", .limit.as_millis(), semicolon(.last))]
    Timeout {
        what: String,
        limit: Duration,
        /// The failure that was being retried when the time was up.
        last: Option<Box<Error>>,
    },
    /// The broker does not speak any version of the API that this client does.
    #[error("the broker at {address} does not support {api} {}", versions(.client, .broker))]
    UnsupportedApi { address: String, api: &'static str, client: (i16, i16), broker: Option<(i16, i16)> },
    /// Bytes that are not what the protocol says they must be.
    #[error("{what} is malformed: {reason}")]
    Malformed { what: String, reason: String },
    #[error("{}", misconfigured(.key, .value, .reason))]
    Config {
        key: String,
        /// What was found, if it is one value that is wrong, and no secret.
        value: Option<String>,
        reason: String,
    },
    #[error("a record of {bytes} bytes is larger than max.request.size, {limit}")]
    RecordTooLarge { bytes: usize, limit: usize },
    /// Neither a position nor a committed offset, and `auto.offset.reset` is `none`.
    #[error("no offset is committed for {}, and auto.offset.reset is none", names(.partitions))]
    NoOffset { partitions: Vec<TopicPartition> },
    /// The log no longer has what was read before this position: a leader without it was elected, or the topic
    /// was made anew. Told if `auto.offset.reset` is `none`, or the caller chose the offset.
    #[error("the log of {partition} no longer has what was read before offset {position}{}", up_to(.common))]
    Truncated {
        partition: TopicPartition,
        position: Offset,
        /// Up to here the log still is what was read, if that is known.
        common: Option<Offset>,
    },
    /// A wait was ended from elsewhere, with a `ConsumerWaker`.
    #[error("woken up")]
    WokenUp,
    /// The call does not fit what was called before it.
    #[error("{0}")]
    IllegalState(&'static str),
    /// The producer or client was closed before the call could finish.
    #[error("{0} is closed")]
    Closed(&'static str),
}

/// Of a single value in the words of Kafka's clients.
fn misconfigured(key: &str, value: &Option<String>, reason: &str) -> String {
    match value {
        Some(value) => format!("Invalid value {value} for configuration {key}: {reason}"),
        None => format!("{key}: {reason}"),
    }
}

fn dash(message: &Option<String>) -> String {
    message.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}

fn semicolon(last: &Option<Box<Error>>) -> String {
    last.as_ref().map(|error| format!("; the last attempt failed: {error}")).unwrap_or_default()
}

fn versions(client: &(i16, i16), broker: &Option<(i16, i16)>) -> String {
    let (low, high) = client;
    match broker {
        None => "at all".to_owned(),
        Some((min, max)) => format!("in a version of this client's ({low}-{high}), but {min}-{max}"),
    }
}

fn up_to(common: &Option<Offset>) -> String {
    common.map(|offset| format!("; up to offset {offset} it does")).unwrap_or_default()
}

fn names(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>().join(", ")
}

impl Error {
    pub(crate) fn kafka(code: ErrorCode, what: impl Into<String>, message: Option<String>) -> Self {
        Self::Kafka { code, what: what.into(), message: message.filter(|text| !text.is_empty()) }
    }

    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn config(key: &str, reason: impl ToString) -> Self {
        Self::Config { key: key.to_owned(), value: None, reason: reason.to_string() }
    }

    /// The broker's code, if it was the broker that refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Kafka { code, .. } => Some(*code),
            Self::Timeout { last: Some(last), .. } => last.code(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Kafka { code, .. } => code.is_retriable(),
            Self::Connect { .. } | Self::Disconnected { .. } | Self::Timeout { .. } => true,
            Self::UnsupportedApi { .. }
            | Self::Malformed { .. }
            | Self::Config { .. }
            | Self::RecordTooLarge { .. }
            | Self::NoOffset { .. }
            | Self::Truncated { .. }
            | Self::WokenUp
            | Self::IllegalState(_)
            | Self::Closed(_) => false,
        }
    }

    /// Whether a transactional producer is of no use any more: another has taken its id, or the coordinator
    /// and it do not agree on what was done. After any other error its transaction can be aborted.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ErrorCode::ProducerFenced
                    | ErrorCode::InvalidProducerEpoch
                    | ErrorCode::InvalidTxnState
                    | ErrorCode::InvalidProducerIdMapping
                    | ErrorCode::TransactionalIdAuthorizationFailed
            )
        )
    }

    /// Whether what this client knows of the cluster may be out of date.
    pub(crate) fn is_stale_metadata(&self) -> bool {
        match self {
            Self::Kafka { code, .. } => matches!(
                code,
                ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::InconsistentTopicId
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::NotLeaderOrFollower
                    | ErrorCode::ReplicaNotAvailable
                    | ErrorCode::ListenerNotFound
                    | ErrorCode::KafkaStorageError
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::UnknownLeaderEpoch
                    | ErrorCode::OffsetNotAvailable
                    | ErrorCode::NotController
            ),
            Self::Connect { .. } | Self::Disconnected { .. } => true,
            _ => false,
        }
    }
}
