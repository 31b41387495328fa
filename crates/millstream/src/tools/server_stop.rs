//! `kafka-server-stop`: SIGTERM to the brokers that run on this machine, Millstream's and Kafka's, as
//! Kafka's script does.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    exit::{Exit, Outcome},
    options::{Flag, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-server-stop",
    summary: "Stops the brokers that run on this machine.",
    flags: &[
        Flag::new("node-id", "Only the broker of this number.").takes("NUMBER"),
        Flag::new("process-role", "Only nodes with these roles: broker, controller or broker,controller.")
            .takes("ROLES"),
        HELP,
        VERSION,
    ],
    examples: &["", "--node-id=1"],
};

const PROC: &str = "/proc";

pub(super) fn run(arguments: &[String]) -> ExitCode {
    // Kafka's script takes everything, and nothing at all.
    let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if given.iter().any(|argument| ["--help", "--version"].contains(argument)) {
        return run_options(&SPEC, arguments, |exit| exit, |_| Ok(()));
    }
    let value = |name: &str| {
        let joined = format!("--{name}=");
        given.iter().find_map(|argument| argument.strip_prefix(joined.as_str())).map(str::to_owned).or_else(
            || {
                let at = given.iter().position(|argument| argument.strip_prefix("--") == Some(name))?;
                given.get(at + 1).map(|value| (*value).to_owned())
            },
        )
    };
    let (node_id, roles) = (value("node-id"), value("process-role"));
    if node_id.is_some() && roles.is_some() {
        output::line(
            "When both node-id and process-role are provided, the value for node-id will take precedence",
        );
    }
    let wanted = match (node_id, roles) {
        (Some(id), _) => Some(("node.id", id)),
        (None, Some(roles)) => Some(("process.roles", roles)),
        (None, None) => None,
    };
    super::finish(stop(wanted), String::new)
}

fn stop(wanted: Option<(&str, String)>) -> Outcome {
    let servers = servers()?;
    if servers.is_empty() {
        return Err(Exit::failure("No kafka server to stop").into_stdout());
    }
    let signal = signal()?;
    for server in servers {
        let fits = wanted.as_ref().is_none_or(|(key, value)| server.says(key, value));
        if !fits {
            continue;
        }
        match Pid::from_raw(server.pid).map(|pid| kill_process(pid, signal)) {
            // One that has ended meanwhile has been stopped.
            Some(Ok(()) | Err(rustix::io::Errno::SRCH)) | None => {}
            Some(Err(error)) => return Err(Exit::failure(format!("kill: ({}) - {error}", server.pid))),
        }
    }
    Ok(())
}

/// `SIGNAL`, as in Kafka's script.
fn signal() -> Outcome<Signal> {
    let name = env::var("SIGNAL").unwrap_or_else(|_| "TERM".to_owned());
    Ok(match name.trim_start_matches("SIG") {
        "TERM" | "15" => Signal::TERM,
        "INT" | "2" => Signal::INT,
        "HUP" | "1" => Signal::HUP,
        "QUIT" | "3" => Signal::QUIT,
        "KILL" | "9" => Signal::KILL,
        other => {
            return Err(Exit::failure(format!("SIGNAL={other} is none of TERM, INT, HUP, QUIT and KILL")));
        }
    })
}

struct Server {
    pid: i32,
    /// Where relative paths of its command line begin.
    directory: PathBuf,
    words: Vec<String>,
}

/// The processes on this machine that are brokers, by their command lines.
fn servers() -> Outcome<Vec<Server>> {
    let entries = fs::read_dir(PROC)
        .map_err(|error| Exit::failure(format!("cannot look for brokers in {PROC}: {error}")))?;
    let server = |name: &str| {
        let pid: i32 = name.parse().ok()?;
        let of_process = Path::new(PROC).join(name);
        let line = fs::read(of_process.join("cmdline")).ok()?;
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let directory = fs::read_link(of_process.join("cwd")).unwrap_or_default();
        Some(Server { pid, directory, words }).filter(|server| is_server(&server.words))
    };
    Ok(entries.flatten().filter_map(|entry| server(&entry.file_name().to_string_lossy())).collect())
}

fn is_server(words: &[String]) -> bool {
    let Some((program, rest)) = words.split_first() else { return false };
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    let verb = rest.first().map(String::as_str).unwrap_or_default();
    match name.as_ref() {
        "java" => rest.iter().any(|word| word == "kafka.Kafka"),
        "kafka-server-start" | "kafka-server-start.sh" => verb != "-daemon",
        // Whatever the binary is called.
        _ => match verb {
            "up" => name == "millstream",
            "kafka-server-start" | "kafka-server-start.sh" => {
                rest.get(1).is_some_and(|word| word != "-daemon")
            }
            _ => false,
        },
    }
}

impl Server {
    /// Whether its configuration has this value: what its command line says, or the file that it names.
    fn says(&self, key: &str, value: &str) -> bool {
        let prefix = format!("{key}=");
        let said = self.words.iter().find_map(|word| {
            let word =
                ["--override=", "--set="].iter().find_map(|option| word.strip_prefix(option)).unwrap_or(word);
            word.strip_prefix(prefix.as_str())
        });
        match said {
            Some(said) => said == value,
            None => self.configured().get(key).is_some_and(|configured| configured == value),
        }
    }

    /// The first of its arguments that is a properties file.
    fn configured(&self) -> BTreeMap<String, String> {
        let files = self.words.iter().skip(1).map(|word| self.directory.join(word));
        let file = files
            .filter(|path| path.extension().is_some_and(|end| end == "properties"))
            .find(|path| path.is_file());
        let read =
            file.and_then(|path| Properties::read(&path.display().to_string()).ok()).unwrap_or_default();
        read.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn brokers_are_known_by_their_command_lines() {
        for server in [
            "/usr/bin/java -Xmx1G -cp /opt/kafka/libs/* kafka.Kafka config/server.properties",
            "bin/kafka-server-start.sh config/server.properties",
            "/usr/local/bin/millstream kafka-server-start config/server.properties --override node.id=2",
            "millstream up --data /d",
        ] {
            assert!(is_server(&words(server)), "{server}");
        }
        for other in [
            "bin/kafka-server-stop.sh",
            "bin/kafka-server-start.sh -daemon config/server.properties",
            "vi kafka-server-start.sh.txt",
            "grep kafka.Kafka",
            "docker-compose up",
            "millstream topic ls",
            "",
        ] {
            assert!(!is_server(&words(other)), "{other}");
        }
    }

    #[test]
    fn a_broker_is_told_by_its_number_from_its_command_line_or_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("server.properties"), "node.id=1\nprocess.roles=broker,controller\n")
            .expect("written");
        let server =
            |line: &str| Server { pid: 0, directory: directory.path().to_owned(), words: words(line) };
        let plain = server("millstream kafka-server-start server.properties");
        assert!(plain.says("node.id", "1") && !plain.says("node.id", "2"));
        assert!(plain.says("process.roles", "broker,controller"));
        let other = server("kafka-server-start.sh server.properties --override node.id=2");
        assert!(other.says("node.id", "2") && !other.says("node.id", "1"));
    }
}
