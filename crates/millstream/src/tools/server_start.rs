//! `kafka-server-start`: `millstream up` with a server.properties, as Kafka's script is called (`kafka.Kafka`).

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use super::{
    KAFKA_VERSION,
    exit::{Exit, Outcome},
    finish,
    options::{Flag, HELP, Spec, VERSION},
    output,
    properties::Properties,
    storage::LOG_DIR_DEFAULT,
};
use crate::up;

const NAME: &str = "kafka-server-start";

pub(super) const SPEC: Spec = Spec {
    name: NAME,
    summary: "Starts the broker: kafka-server-start [-daemon] server.properties [--override KEY=VALUE]…",
    flags: &[
        Flag::new(
            "daemon",
            "Only in front of the file: start in the background; what the broker says goes to kafkaServer.out in $LOG_DIR.",
        ),
        Flag::new("override", "A configuration key, instead of what the file says; may be repeated.")
            .takes("KEY=VALUE"),
        HELP,
        VERSION,
    ],
    examples: &[
        "config/server.properties",
        "-daemon config/server.properties --override log.retention.hours=24",
    ],
};

/// Set in the environment of a process that is to have no terminal.
const DETACHED: &str = "MILLSTREAM_DETACHED";

pub(super) fn run(arguments: &[String]) -> ExitCode {
    let (in_background, arguments) = match arguments.split_first() {
        Some((first, rest)) if first == "-daemon" => (true, rest),
        _ => (false, arguments),
    };
    let asked = |name: &str| arguments.iter().any(|argument| argument == name);
    if asked("--version") {
        output::line(KAFKA_VERSION);
        output::flush();
        return ExitCode::SUCCESS;
    }
    let outcome = match arguments.split_first() {
        None => Err(asked_for_help()),
        Some(_) if asked("--help") => Err(asked_for_help()),
        Some((file, rest)) => Start::of(file, rest),
    };
    match outcome {
        Err(exit) => finish(Err(exit), || SPEC.help()),
        Ok(_) if in_background => finish(detach(arguments), String::new),
        Ok(start) => start.run(),
    }
}

fn asked_for_help() -> Exit {
    output::say_part(&SPEC.help());
    Exit::silent(1)
}

struct Start {
    file: String,
    overrides: Properties,
    data: PathBuf,
}

impl Start {
    fn of(file: &str, rest: &[String]) -> Outcome<Self> {
        // Kafka logs it.
        let logged = |exit: Exit| exit.map(|sentence| format!("ERROR {sentence}"));
        let config = Properties::read(file).map_err(logged)?;
        let given = SPEC.parse(rest).map_err(logged)?;
        if !given.rest.is_empty() {
            return Err(Exit::usage(format!("Found non argument parameters: {}", given.rest.join(","))));
        }
        let mut overrides = Properties::parse(given.all("override"));
        let log_dirs = |properties: &Properties| {
            let list = properties.get("log.dirs").or_else(|| properties.get("log.dir"))?;
            Some(list.split(',').next().unwrap_or_default().trim().to_owned())
        };
        let log_dir = log_dirs(&overrides).or_else(|| log_dirs(&config));
        if log_dir.is_none() {
            overrides.set("log.dirs", LOG_DIR_DEFAULT);
        }
        let data = private_beside(&log_dir.unwrap_or_else(|| LOG_DIR_DEFAULT.to_owned()));
        Ok(Self { file: file.to_owned(), overrides, data })
    }

    fn run(self) -> ExitCode {
        if env::var_os(DETACHED).is_some()
            && let Err(error) = rustix::process::setsid()
        {
            output::say(&format!("WARN still tied to the terminal: {error}"));
        }
        let pairs = self.overrides.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let arguments = up::Arguments::of_file(self.file.into(), self.data, pairs.collect());
        up::run(arguments).unwrap_or_else(|error| {
            output::say(&format!("ERROR {error:#}"));
            ExitCode::FAILURE
        })
    }
}

/// Where a broker keeps what is not Kafka's, unless MILLSTREAM_DATA says otherwise: beside the log directory,
/// since two brokers of one user must not share it.
fn private_beside(log_dir: &str) -> PathBuf {
    if let Some(data) = env::var_os("MILLSTREAM_DATA").filter(|data| !data.is_empty()) {
        return data.into();
    }
    let log_dir = Path::new(log_dir);
    // The log directory of a `millstream up --data`.
    if let Some(data) =
        log_dir.parent().filter(|data| data.join("kafka") == log_dir && data.join("millstream").is_dir())
    {
        return data.to_owned();
    }
    let mut beside = log_dir.components().collect::<PathBuf>().into_os_string();
    beside.push(".millstream");
    beside.into()
}

/// Starts this very command line again, in a session of its own.
fn detach(arguments: &[String]) -> Outcome {
    let directory = match env::var_os("LOG_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => state_directory()?,
    };
    let log = directory.join("kafkaServer.out");
    let failed = |error: std::io::Error| Exit::failure(format!("{}: {error}", log.display()));
    fs::create_dir_all(&directory).map_err(failed)?;
    let out = File::create(&log).map_err(failed)?;
    let mut command = Command::new(env::current_exe()?);
    command.arg(NAME).args(arguments).env(DETACHED, "1");
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let child = command.spawn()?;
    output::say(&format!("broker {} is starting; what it says is in {}", child.id(), log.display()));
    Ok(())
}

fn state_directory() -> Outcome<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    match (set("XDG_STATE_HOME"), set("HOME")) {
        (Some(state), _) => Ok(Path::new(&state).join("millstream")),
        (None, Some(home)) => Ok(Path::new(&home).join(".local/state/millstream")),
        (None, None) => Err(Exit::failure("neither LOG_DIR nor HOME is set; say with LOG_DIR where to log")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_lies_beside_the_log_directory_or_where_it_was() {
        assert_eq!(private_beside("/tmp/kafka-logs/"), Path::new("/tmp/kafka-logs.millstream"));
        let data = tempfile::tempdir().expect("a directory");
        let kafka = data.path().join("kafka");
        assert_eq!(private_beside(&kafka.display().to_string()), data.path().join("kafka.millstream"));
        fs::create_dir(data.path().join("millstream")).expect("made");
        assert_eq!(private_beside(&kafka.display().to_string()), data.path());
    }
}
