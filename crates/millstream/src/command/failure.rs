//! From a failure to a message and an exit code.

use std::{fmt, process::ExitCode};

use anyhow::Result;
use millstream_client::Error;
use millstream_types::ErrorCode;

const NOT_FOUND: u8 = 3;

/// What was named does not exist; the text says what does, or how to make it.
#[derive(Debug)]
pub(super) struct NotFound(pub(super) String);

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFound {}

/// The exit code of a command that has ended, after saying why it failed.
pub(super) fn exit_code(outcome: Result<()>) -> Result<ExitCode> {
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if is_not_found(&error) => {
            eprintln!("millstream: {error:#}");
            Ok(ExitCode::from(NOT_FOUND))
        }
        Err(error) => Err(error),
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<Error>().and_then(Error::code);
    error.is::<NotFound>()
        || matches!(
            code,
            Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::GroupIdNotFound)
        )
}

pub(super) fn no_topic(name: &impl fmt::Display) -> NotFound {
    NotFound(format!(
        "topic {name} does not exist; `millstream topic ls` lists those that do, `millstream topic create {name}` makes it"
    ))
}

pub(super) fn no_group(name: &impl fmt::Display) -> NotFound {
    NotFound(format!("group {name} does not exist; `millstream group ls` lists those that do"))
}
