//! What the engines say, in Kafka's codes. Each engine names the code of its own outcomes
//! (`error_code()`); here they become what a response carries.

use millstream_log::{AppendError, LogError, ReadError};
use millstream_types::ErrorCode;

/// Kafka's text where it says no more than the code.
pub(crate) const INVALID_REQUEST: &str = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";

/// A code, and the sentence that goes with it where the response has room for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        Self::new(error.error_code(), error.to_string())
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::new(error.error_code(), error.to_string())
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::new(error.error_code(), error.to_string())
    }
}

impl From<millstream_metadata::Failure> for Failure {
    fn from(failure: millstream_metadata::Failure) -> Self {
        Self { code: failure.code, message: failure.message }
    }
}
