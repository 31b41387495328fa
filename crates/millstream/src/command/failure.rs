//! From a failure to a message and an exit code: 0 well, 1 failed, 2 wrong usage, 3 what was named does not
//! exist, 4 a check did not pass, 124 no answer in time (as `timeout` has it), 130 interrupted, 143 terminated.

use std::{fmt, process::ExitCode};

use anyhow::{Result, anyhow};
use millstream_client::Error;
use millstream_types::ErrorCode;

use super::output::say;

/// How a command ended that did not end well, where it is not simply an error. The text says what to do.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line asks for something that makes no sense.
    Usage(String),
    /// What was named does not exist; the text says what does, or how to make it.
    NotFound(String),
    /// What was looked at is not as it should be.
    CheckFailed(String),
    TimedOut(String),
    /// By ctrl-C; there is nothing to say.
    Interrupted,
    /// By SIGTERM or a terminal that is gone, where something had to be put in order first.
    Terminated,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::NotFound(text) | Self::CheckFailed(text) | Self::TimedOut(text) => {
                f.write_str(text)
            }
            Self::Interrupted => f.write_str("interrupted"),
            Self::Terminated => f.write_str("terminated"),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::CheckFailed(_) => 4,
            Self::TimedOut(_) => 124,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

pub(super) fn usage(text: impl Into<String>) -> anyhow::Error {
    Failure::Usage(text.into()).into()
}

/// The exit code of a command that has ended, after saying why it failed.
pub(super) fn exit_code(outcome: Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if !matches!(error.downcast_ref(), Some(Failure::Interrupted | Failure::Terminated)) {
        say(&format!("millstream: {error:#}"));
    }
    ExitCode::from(code_of(&error))
}

fn code_of(error: &anyhow::Error) -> u8 {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit_code();
    }
    let code = match error.downcast_ref::<Error>() {
        Some(Error::Timeout { .. }) => return 124,
        Some(error) => error.code(),
        None => None,
    };
    match code {
        Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::GroupIdNotFound) => {
            3
        }
        _ => 1,
    }
}

pub(super) fn is_not_found(error: &anyhow::Error) -> bool {
    code_of(error) == 3
}

pub(super) fn no_topic(name: &impl fmt::Display) -> anyhow::Error {
    anyhow!(Failure::NotFound(format!(
        "topic {name} does not exist; `millstream topic ls` lists those that do, `millstream topic create {name}` makes it"
    )))
}

pub(super) fn no_group(name: &impl fmt::Display) -> anyhow::Error {
    let text = format!("group {name} does not exist; `millstream group ls` lists those that do");
    anyhow!(Failure::NotFound(text))
}

/// The first failure, after saying the others.
pub(super) fn all_of(failures: Vec<anyhow::Error>) -> Result<()> {
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(()) };
    for other in failures {
        say(&format!("millstream: {other:#}"));
    }
    Err(first)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_failure_keeps_its_exit_code_under_what_is_said_above_it() {
        let failed = |error: anyhow::Error| code_of(&Err::<(), _>(error).context("above").unwrap_err());
        assert_eq!(failed(usage("x")), 2);
        assert_eq!(failed(no_topic(&"t")), 3);
        assert_eq!(failed(Failure::CheckFailed("x".to_owned()).into()), 4);
        assert_eq!(failed(Failure::Interrupted.into()), 130);
        assert_eq!(failed(anyhow!("x")), 1);
        let limit = std::time::Duration::from_secs(1);
        let late = Error::Timeout { what: "x".to_owned(), limit, last: None };
        assert_eq!(failed(late.into()), 124);
        let gone =
            Error::Kafka { code: ErrorCode::GroupIdNotFound, what: "group g".to_owned(), message: None };
        assert_eq!(failed(gone.into()), 3);
    }
}
