//! How a tool ends when it does not end well: a code, a first line on standard error that is Kafka's, and
//! what helps whoever reads on.

use std::process::ExitCode;

use millstream_client::Error;

use super::kafka_error;

/// An end other than success. Kafka's tools exit with 1 for nearly everything.
#[derive(Debug)]
pub(super) struct Exit {
    code: u8,
    text: String,
    /// What helps further and is no part of what Kafka's tool says: always on standard error.
    pub(super) more: String,
    /// Whether the tool's options are listed below the sentence.
    pub(super) with_help: bool,
    /// Whether the sentence goes to standard output, where some of Kafka's tools put it.
    pub(super) on_stdout: bool,
}

pub(super) type Outcome<T = ()> = Result<T, Exit>;

impl Exit {
    /// Exit code 1, and this on standard error.
    pub(super) fn failure(sentence: impl Into<String>) -> Self {
        Self { code: 1, text: sentence.into(), more: String::new(), with_help: false, on_stdout: false }
    }

    /// Exit code 1, with what was wrong with the command line, and the tool's options.
    pub(super) fn usage(sentence: impl Into<String>) -> Self {
        Self { with_help: true, ..Self::failure(sentence) }
    }

    /// A code with nothing more to say.
    pub(super) fn silent(code: u8) -> Self {
        Self { code, text: String::new(), more: String::new(), with_help: false, on_stdout: false }
    }

    pub(super) fn into_stdout(self) -> Self {
        Self { on_stdout: true, ..self }
    }

    pub(super) fn because(self, reason: impl ToString) -> Self {
        Self { more: reason.to_string(), ..self }
    }

    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    pub(super) fn sentence(&self) -> &str {
        &self.text
    }

    /// The sentence put into the words in which a tool reports all its failures.
    pub(super) fn map(self, words: impl FnOnce(&str) -> String) -> Self {
        if self.text.is_empty() {
            return self;
        }
        Self { text: words(&self.text), ..self }
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self::failure(kafka_error::message(&error))
    }
}

impl From<std::io::Error> for Exit {
    fn from(error: std::io::Error) -> Self {
        Self::failure(error.to_string())
    }
}
