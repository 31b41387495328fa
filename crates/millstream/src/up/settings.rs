//! Where the settings of `up` come from, weakest first: defaults, the configuration file, flags,
//! `--set`. A file that ends in `.toml` is a millstream.toml, any other a `server.properties`.

use std::{env, fs, path::PathBuf, str::FromStr, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use millstream_broker::{BrokerOptions, Durability, FlushWith, ListenerOptions, Progress};
use millstream_config::{Loaded, ProgramOptions, from_millstream_toml, from_server_properties, from_set};

use super::{Arguments, DurabilityArgument, FlushWithArgument};

const CONSOLE_PORT: u16 = 8080;

pub(super) struct Settings {
    pub(super) data: PathBuf,
    pub(super) broker: BrokerOptions,
    pub(super) durability: DurabilityArgument,
    pub(super) console_port: u16,
    pub(super) ready_file: Option<PathBuf>,
    /// To be told once, on stderr.
    pub(super) notices: Vec<String>,
}

pub(super) fn resolve(arguments: &Arguments) -> Result<Settings> {
    let (options, mut loaded) = match &arguments.config {
        Some(path) => read(path)?,
        None => Default::default(),
    };
    loaded.merge(from_server_properties(&overriding(&arguments.overrides)).context("--override")?);
    let listen = chosen(&arguments.listen, options.list("listen"));
    let advertise = chosen(&arguments.advertise, options.list("advertise"));
    let mut flags = Vec::new();
    if !listen.is_empty() {
        flags.push(format!("listeners={}", listen.join(",")));
    }
    if !advertise.is_empty() {
        flags.push(format!("advertised.listeners={}", advertise.join(",")));
    }
    loaded.merge(from_set(flags.iter().map(String::as_str))?);
    loaded.merge(from_set(arguments.set.iter().map(String::as_str)).context("--set")?);

    let data = match arguments.data.clone().or_else(|| options.get("data").map(PathBuf::from)) {
        Some(data) => data,
        None => default_data()?,
    };
    let durability = value(arguments.durability, options.get("durability"))?;
    let flush_with = value(arguments.flush_with, options.get("flush-with"))?;
    let console_port = match (arguments.console_port, options.get("console-port")) {
        (Some(port), _) => port,
        (None, Some(text)) => text.parse().context("console-port")?,
        (None, None) if listens_on_free_port(&listen) => 0,
        (None, None) => CONSOLE_PORT,
    };
    let mut notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
    if in_container() && advertise.is_empty() && !loaded.settings.contains_key("advertised.listeners") {
        notices.push(CONTAINER_NOTICE.to_owned());
    }
    Ok(Settings {
        broker: BrokerOptions {
            settings: loaded.settings,
            data: data.clone(),
            progress: Arc::new(show),
            durability: match durability {
                DurabilityArgument::Disk => Durability::Disk,
                DurabilityArgument::Os => Durability::Os,
            },
            flush_with: match flush_with {
                FlushWithArgument::Auto => FlushWith::Auto,
                FlushWithArgument::Fdatasync => FlushWith::Fdatasync,
            },
        },
        data,
        durability,
        console_port,
        ready_file: arguments.ready_file.clone().or_else(|| options.get("ready-file").map(PathBuf::from)),
        notices,
    })
}

/// Pairs in the syntax of a properties file.
fn overriding(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={}\n", value.replace('\\', "\\\\"))).collect()
}

/// A line each time another tenth of the partitions has been scanned; nothing where there is little to do.
fn show(progress: Progress) {
    let tenth = (progress.total / 10).max(100);
    if progress.done.is_multiple_of(tenth) && progress.done > 0 {
        let (done, total) = (progress.done, progress.total);
        eprintln!("millstream: recovering partitions: {done} of {total} ({})", progress.partition);
    }
}

const CONTAINER_NOTICE: &str = "running in a container: clients outside reach it only if it listens beyond \
    loopback and tells them an address of theirs, such as --listen PLAINTEXT://:9092 --advertise \
    PLAINTEXT://localhost:9092 with port 9092 published";

fn read(path: &std::path::Path) -> Result<(ProgramOptions, Loaded)> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let read = if is_toml {
        from_millstream_toml(&text)
    } else {
        from_server_properties(&text).map(|loaded| (ProgramOptions::default(), loaded))
    };
    read.with_context(|| path.display().to_string())
}

/// Flags go before the file.
fn chosen(flags: &[String], file: Vec<String>) -> Vec<String> {
    if flags.is_empty() { file } else { flags.to_vec() }
}

fn value<T: ValueEnum + Default>(flag: Option<T>, file: Option<&str>) -> Result<T> {
    match (flag, file) {
        (Some(flag), _) => Ok(flag),
        (None, Some(text)) => T::from_str(text, true).map_err(anyhow::Error::msg),
        (None, None) => Ok(T::default()),
    }
}

fn default_data() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (set("XDG_DATA_HOME"), set("HOME")) {
        (Some(data), _) => Ok(data.join("millstream")),
        (None, Some(home)) => Ok(home.join(".local/share/millstream")),
        (None, None) => {
            bail!("neither XDG_DATA_HOME nor HOME is set; say where to keep the data with --data DIR")
        }
    }
}

fn listens_on_free_port(listen: &[String]) -> bool {
    let free = |text: &String| ListenerOptions::from_str(text).is_ok_and(|l| l.endpoint.port == 0);
    listen.iter().any(free)
}

fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|marker| std::path::Path::new(marker).exists())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn resolved(words: &[&str]) -> Result<Settings> {
        let line = Line::parse_from(["up"].iter().chain(words));
        resolve(&line.arguments)
    }

    #[test]
    fn port_zero_frees_the_other_ports_too() {
        let settings = resolved(&["--listen", "PLAINTEXT://127.0.0.1:0"]).unwrap();
        assert_eq!(settings.console_port, 0);
        let settings = resolved(&["--listen", "PLAINTEXT://127.0.0.1:0", "--console-port", "7"]).unwrap();
        assert_eq!(settings.console_port, 7);
        assert_eq!(resolved(&[]).unwrap().console_port, CONSOLE_PORT);
    }

    #[test]
    fn a_wrong_key_is_refused_with_the_nearest_name() {
        let error = format!("{:#}", resolved(&["--set", "num.partition=3"]).err().unwrap());
        assert!(error.contains("num.partitions"), "{error}");
    }

    #[test]
    fn flags_go_before_the_file_and_set_before_flags() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("millstream.toml");
        fs::write(
            &file,
            "durability = \"os\"\nlisten = [\"A://localhost:1\"]\n[broker]\nnum.partitions = 3\n",
        )
        .unwrap();
        let config = ["--config", file.to_str().unwrap()];
        let settings = resolved(&config).unwrap();
        assert_eq!(settings.durability, DurabilityArgument::Os);
        assert_eq!(settings.broker.settings["listeners"], "A://localhost:1");
        let settings =
            resolved(&[&config[..], &["--durability", "disk", "--set", "num.partitions=4"]].concat())
                .unwrap();
        assert_eq!(settings.durability, DurabilityArgument::Disk);
        assert_eq!(settings.broker.settings["num.partitions"], "4");
    }
}
