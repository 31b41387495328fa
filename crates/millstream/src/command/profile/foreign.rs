//! What other tools' files say of their clusters: a Java client's properties, kcat.conf (librdkafka's keys),
//! rpk.yaml.

use std::{
    env,
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::{Profile, config_home};
use crate::command::failure::Failure;

/// A file that says where a cluster is fits into this.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// `kcat`, `rpk`, `rpk:NAME`; None for any other name, and if the tool has no file.
pub(super) fn by_name(name: &str) -> Result<Option<Profile>> {
    let (path, section) = match name.split_once(':') {
        Some(("rpk", section)) => (rpk_yaml(), Some(section)),
        None if name == "rpk" => (rpk_yaml(), None),
        None if name == "kcat" => (kcat_conf(), None),
        _ => return Ok(None),
    };
    path.filter(|path| path.is_file()).map(|path| read(&path, section)).transpose()
}

/// The names that [`by_name`] knows here.
pub(super) fn names() -> Vec<(String, PathBuf)> {
    let mut names = Vec::new();
    if let Some(path) = kcat_conf().filter(|path| path.is_file()) {
        names.push(("kcat".to_owned(), path));
    }
    if let Some(path) = rpk_yaml().filter(|path| path.is_file())
        && let Ok(file) = text(&path).and_then(|text| parse_rpk(&text))
    {
        names.extend(file.profiles.into_iter().map(|one| (format!("rpk:{}", one.name), path.clone())));
    }
    names
}

/// Where kcat looks.
fn kcat_conf() -> Option<PathBuf> {
    let set = env::var_os("KCAT_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    set.or_else(|| config_home().map(|home| home.join("kcat.conf")))
}

fn rpk_yaml() -> Option<PathBuf> {
    config_home().map(|home| home.join("rpk/rpk.yaml"))
}

/// A file by its kind; `section` is which of several profiles in it.
pub(super) fn read(path: &Path, section: Option<&str>) -> Result<Profile> {
    let read = || match path.extension().and_then(|end| end.to_str()) {
        Some("yaml" | "yml") => rpk(&text(path)?, section),
        _ if section.is_some() => bail!("there are no several profiles in it"),
        Some("conf") => librdkafka(&text(path)?),
        _ => java(path),
    };
    read().with_context(|| path.display().to_string())
}

fn text(path: &Path) -> Result<String> {
    let missing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let file = match File::open(path) {
        Err(error) if missing(&error) => {
            return Err(Failure::NotFound("there is no such file".to_owned()).into());
        }
        file => file?,
    };
    if fs::metadata(path)?.is_dir() {
        bail!("it is a directory");
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("it is larger than {FILE_BYTES_MAX} bytes");
    }
    String::from_utf8(bytes).map_err(|_| anyhow!("it is not text"))
}

/// `java.util.Properties`.
fn java(path: &Path) -> Result<Profile> {
    // For what is wrong with the file as such.
    let text = text(path)?;
    let pairs = java_properties::read(BufReader::new(text.as_bytes()))?;
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort();
    Ok(of_pairs(pairs))
}

/// `key=value` lines, as kcat reads them.
fn librdkafka(text: &str) -> Result<Profile> {
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| anyhow!("line {}: expected KEY=VALUE, found {line:?}", index + 1))?;
        pairs.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(of_pairs(pairs))
}

fn of_pairs(pairs: Vec<(String, String)>) -> Profile {
    let mut profile = Profile::default();
    for (key, value) in pairs {
        match key.as_str() {
            "bootstrap.servers" | "metadata.broker.list" => profile.bootstrap = Some(value),
            _ => profile.properties.push((key, value)),
        }
    }
    profile
}

#[derive(Debug, Deserialize)]
struct Rpk {
    #[serde(default)]
    current_profile: String,
    #[serde(default)]
    profiles: Vec<RpkProfile>,
}

#[derive(Debug, Deserialize)]
struct RpkProfile {
    name: String,
    kafka_api: Option<RpkKafka>,
}

#[derive(Debug, Deserialize)]
struct RpkKafka {
    #[serde(default)]
    brokers: Vec<String>,
    tls: Option<RpkTls>,
    sasl: Option<RpkSasl>,
}

#[derive(Debug, Deserialize)]
struct RpkTls {
    ca_file: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RpkSasl {
    user: Option<String>,
    password: Option<String>,
    mechanism: Option<String>,
}

fn parse_rpk(text: &str) -> Result<Rpk> {
    serde_saphyr::from_str(text)
        .map_err(|error| anyhow!("{}", error.to_string().lines().next().unwrap_or("not YAML")))
}

fn rpk(text: &str, section: Option<&str>) -> Result<Profile> {
    let file = parse_rpk(text)?;
    let name = section.unwrap_or(&file.current_profile);
    let names = file.profiles.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = file.profiles.iter().find(|one| one.name == name);
    let missing = || Failure::NotFound(format!("there is no profile {name:?} in it; those in it: {names}"));
    let kafka = found.ok_or_else(missing)?.kafka_api.as_ref();
    let Some(kafka) = kafka else { return Ok(Profile::default()) };
    let mut properties = Vec::new();
    let mut set = |key: &str, value: &str| properties.push((key.to_owned(), value.to_owned()));
    match (&kafka.tls, &kafka.sasl) {
        (None, None) => {}
        (Some(_), None) => set("security.protocol", "SSL"),
        (None, Some(_)) => set("security.protocol", "SASL_PLAINTEXT"),
        (Some(_), Some(_)) => set("security.protocol", "SASL_SSL"),
    }
    if let Some(ca) = kafka.tls.as_ref().and_then(|tls| tls.ca_file.as_ref()) {
        set("ssl.truststore.location", ca);
        set("ssl.truststore.type", "PEM");
    }
    if let Some(sasl) = &kafka.sasl {
        set("sasl.mechanism", sasl.mechanism.as_deref().unwrap_or("SCRAM-SHA-256"));
        if let Some(user) = &sasl.user {
            set("sasl.username", user);
        }
        if let Some(password) = &sasl.password {
            set("sasl.password", password);
        }
    }
    let bootstrap = Some(kafka.brokers.join(",")).filter(|text| !text.is_empty());
    Ok(Profile { bootstrap, properties })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RPK: &str = "\
version: 7
current_profile: local
globals:
    prompt: \"\"
profiles:
    - name: local
      kafka_api:
        brokers:
            - 127.0.0.1:9092
            - 127.0.0.1:9093
    - name: prod
      description: 'the real one'
      kafka_api:
        brokers: [b:1]
        tls: {}
        sasl:
            user: me
            password: secret
            mechanism: SCRAM-SHA-512
";

    #[test]
    fn rpk_profiles_are_read_the_current_one_or_one_by_name() {
        let local = rpk(RPK, None).unwrap();
        assert_eq!(local.bootstrap.as_deref(), Some("127.0.0.1:9092,127.0.0.1:9093"));
        let prod = rpk(RPK, Some("prod")).unwrap();
        assert_eq!(prod.bootstrap.as_deref(), Some("b:1"));
        assert!(prod.properties.contains(&("security.protocol".to_owned(), "SASL_SSL".to_owned())));
        let missing = format!("{:#}", rpk(RPK, Some("x")).unwrap_err());
        assert!(missing.contains("local, prod"), "{missing}");
        assert!(rpk("a: [", None).is_err() && rpk("profiles: 7", None).is_err());
    }

    #[test]
    fn librdkafkas_keys_and_comments_are_understood() {
        let read = librdkafka("# mine\nmetadata.broker.list = a:1,b:2\nclient.id=x=y\n\n").unwrap();
        assert_eq!(read.bootstrap.as_deref(), Some("a:1,b:2"));
        assert_eq!(read.properties, [("client.id".to_owned(), "x=y".to_owned())]);
        assert!(format!("{}", librdkafka("\nnonsense\n").unwrap_err()).starts_with("line 2: "));
    }
}
