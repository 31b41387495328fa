//! Telling that the platform is ready: a short panel for people, one line of JSON for programs.

use std::{fs, io, path::Path};

use serde::Serialize;

/// The one line; roles that do not run are absent.
#[derive(Serialize, Clone, Debug)]
pub(super) struct Ready {
    pub(super) ready: bool,
    pub(super) bootstrap: String,
    pub(super) console: String,
    pub(super) data: String,
    pub(super) durability: &'static str,
    pub(super) pid: u32,
}

impl Ready {
    pub(super) fn line(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }

    /// Whoever waits for the file sees it whole or not at all.
    pub(super) fn write_file(&self, path: &Path) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        fs::write(&temporary, self.line() + "\n")?;
        fs::rename(&temporary, path)
    }

    pub(super) fn panel(&self, demo: bool) -> String {
        let Ready { bootstrap, console, data, durability, .. } = self;
        let meaning = match *durability {
            "disk" => "acknowledged means on disk",
            _ => "NOT FLUSHED: a power cut can lose acknowledged records (--durability=disk flushes)",
        };
        let topic = if demo { "flights.departures" } else { "hello" };
        let first = if demo { "watch the demo stream" } else { "write a record" };
        let first_command = if demo {
            format!("millstream topic cat {topic} --bootstrap-server {bootstrap}")
        } else {
            format!("echo hello | millstream topic produce {topic} --bootstrap-server {bootstrap}")
        };
        format!(
            "\n  Millstream is ready (ctrl-C stops it)\n\n    \
             Kafka       {bootstrap}\n    \
             HTTP        {console}/metrics  {console}/healthz\n    \
             data        {data}\n    \
             durability  {durability}: {meaning}\n\n  \
             Try, in another terminal:\n    \
             {first_command}   # {first}\n    \
             millstream topic ls --bootstrap-server {bootstrap}\n    \
             any Kafka client, with bootstrap.servers={bootstrap}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Ready {
        Ready {
            ready: true,
            bootstrap: "127.0.0.1:9092".into(),
            console: "http://127.0.0.1:8080".into(),
            data: "/d".into(),
            durability: "disk",
            pid: 7,
        }
    }

    #[test]
    fn the_ready_line_is_one_line_of_json() {
        let line = ready().line();
        assert!(line.starts_with(r#"{"ready":true,"bootstrap":"127.0.0.1:9092""#), "{line}");
        assert!(!line.contains('\n'));
    }

    #[test]
    fn the_ready_file_appears_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        ready().write_file(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), ready().line() + "\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
