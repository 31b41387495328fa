//! `add-controller` and `remove-controller` (KIP-853).

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use millstream_client::VoterEndpoint;
use millstream_types::{BrokerId, Uuid};

use super::connect;
use crate::tools::{
    exit::{Exit, Outcome},
    kafka_error,
    options::Given,
    output,
    properties::Properties,
};

const META_PROPERTIES: &str = "meta.properties";

/// A controller as its own configuration and its metadata directory describe it.
#[derive(Debug, PartialEq, Eq)]
struct Controller {
    id: BrokerId,
    directory: Uuid,
    endpoints: Vec<VoterEndpoint>,
}

pub(super) async fn add(given: &Given) -> Outcome {
    let Some(path) = given.last("command-config") else {
        return Err(Exit::failure(
            "You must supply the configuration file of the controller you are adding when using add-controller.",
        ));
    };
    if !Path::new(path).exists() {
        return Err(Exit::failure(format!("Properties file {path} does not exists!")));
    }
    let Controller { id, directory, endpoints } = Controller::of(&Properties::read(path)?)?;
    let shown: Vec<String> =
        endpoints.iter().map(|one| format!("{}://{}:{}", one.listener, one.host, one.port)).collect();
    let shown = format!("controller {id} with directory id {directory} and endpoints: {}", shown.join(", "));
    if given.has("dry-run") {
        output::line(&format!("DRY RUN of adding {shown}"));
        return Ok(());
    }
    let admin = connect(given, "addRaftVoter").await?;
    let added = admin.add_voter(id, directory, &endpoints).await;
    added.map_err(|error| Exit::failure(kafka_error::exception(&error)))?;
    output::line(&format!("Added {shown}"));
    Ok(())
}

pub(super) async fn remove(given: &Given) -> Outcome {
    // The grammar has seen to it that it is a number.
    let id: i32 = given.last("controller-id").and_then(|text| text.parse().ok()).unwrap_or_default();
    if id < 0 {
        return Err(Exit::failure(format!("Invalid negative --controller-id: {id}")));
    }
    let directory = directory_id(given.last("controller-directory-id").unwrap_or_default())
        .map_err(|exit| exit.map(|why| format!("Failed to parse --controller-directory-id: {why}")))?;
    // Two blanks, as in Kafka.
    let shown = format!(" KRaft controller {id} with directory id {directory}");
    if given.has("dry-run") {
        output::line(&format!("DRY RUN of removing {shown}"));
        return Ok(());
    }
    let admin = connect(given, "removeRaftVoter").await?;
    let removed = admin.remove_voter(BrokerId(id), directory).await;
    removed.map_err(|error| Exit::failure(kafka_error::exception(&error)))?;
    output::line(&format!("Removed {shown}"));
    Ok(())
}

/// As Kafka's `Uuid.fromString` refuses it.
fn directory_id(text: &str) -> Outcome<Uuid> {
    const TEXT_LENGTH_MAX: usize = 24;
    if text.len() > TEXT_LENGTH_MAX {
        let prefix: String = text.chars().take(TEXT_LENGTH_MAX).collect();
        return Err(Exit::failure(format!(
            "Input string with prefix `{prefix}` is too long to be decoded as a base64 UUID"
        )));
    }
    if text.len() < 2 {
        return Err(Exit::failure("Input byte[] should at least have 2 bytes for base64 bytes"));
    }
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    let bytes = bytes.map_err(|error| Exit::failure(format!("`{text}` is not base64: {error}")))?;
    let exactly: [u8; 16] = bytes.as_slice().try_into().map_err(|_| {
        Exit::failure(format!(
            "Input string `{text}` decoded as {} bytes, which is not equal to the expected 16 bytes of a base64-encoded UUID",
            bytes.len()
        ))
    })?;
    Ok(Uuid(u128::from_be_bytes(exactly)))
}

impl Controller {
    fn of(config: &Properties) -> Outcome<Self> {
        let doubt =
            |what: &str| Exit::failure(format!("{what}. Is this a valid controller configuration file?"));
        let in_file = |what: &str| doubt(&format!("{what} in configuration file"));
        let text = config.get("node.id").ok_or_else(|| in_file("node.id not found"))?;
        let id: i32 = text.parse().map_err(|_| Exit::failure(format!("For input string: \"{text}\"")))?;
        if id < 0 {
            return Err(in_file("node.id was negative"));
        }
        if !elements(config.get("process.roles")).contains(&"controller") {
            return Err(in_file("process.roles did not contain 'controller'"));
        }
        let metadata = config.get("metadata.log.dir").map(str::trim);
        let directory = metadata.or_else(|| elements(config.get("log.dirs")).into_iter().next());
        let directory = directory.ok_or_else(|| doubt("Neither metadata.log.dir nor log.dirs were found"))?;
        let directory = id_of(directory)?;
        Ok(Self { id: BrokerId(id), directory, endpoints: endpoints(config)? })
    }
}

/// The id that a formatted directory has.
fn id_of(directory: &str) -> Outcome<Uuid> {
    let unreadable = || Exit::failure(format!("Unable to read {META_PROPERTIES} from {directory}"));
    let path = Path::new(directory).join(META_PROPERTIES);
    let meta = Properties::read(&path.display().to_string())
        .map_err(|exit| unreadable().because(exit.sentence()))?;
    let missing = || Exit::failure(format!("No directory id found in {META_PROPERTIES} of {directory}"));
    directory_id(meta.get("directory.id").ok_or_else(missing)?)
}

/// Where others reach the controller: each of its listeners, as advertised or else as it listens.
fn endpoints(config: &Properties) -> Outcome<Vec<VoterEndpoint>> {
    let names = elements(config.get("controller.listener.names"));
    if names.is_empty() {
        return Err(Exit::failure(
            "controller.listener.names was not found. Is this a valid controller configuration file?",
        ));
    }
    let mut listed: Vec<VoterEndpoint> = elements(config.get("advertised.listeners"))
        .into_iter()
        .chain(elements(config.get("listeners")))
        .map(|listener| {
            let malformed = || Exit::failure(format!("Unable to parse {listener} to a broker endpoint"));
            endpoint(listener).ok_or_else(malformed)
        })
        .collect::<Outcome<_>>()?;
    let find = |name: &str| {
        let place = listed.iter().position(|one| one.listener.eq_ignore_ascii_case(name));
        let missing =
            || Exit::failure(format!("Cannot find information about controller listener name: {name}"));
        place.map(|place| listed.remove(place)).ok_or_else(missing)
    };
    names.into_iter().map(find).collect()
}

/// `NAME://HOST:PORT`; without a host it is this machine.
fn endpoint(text: &str) -> Option<VoterEndpoint> {
    let (name, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.is_empty() { "localhost" } else { host.trim_matches(['[', ']']) };
    Some(VoterEndpoint { listener: name.to_owned(), host: host.to_owned(), port: port.parse().ok()? })
}

fn elements(list: Option<&str>) -> Vec<&str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|one| !one.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(lines: &[&str]) -> String {
        Controller::of(&Properties::parse(lines.iter().copied())).unwrap_err().sentence().to_owned()
    }

    #[test]
    fn a_controller_is_what_its_configuration_and_its_directory_say() {
        let directory = tempfile::tempdir().expect("a directory");
        let meta = directory.path().join(META_PROPERTIES);
        let dirs = format!("log.dirs={},/elsewhere", directory.path().display());
        let lines = [
            "node.id=7",
            "process.roles=controller",
            &dirs,
            "controller.listener.names=C1,C2",
            "listeners=C1://:5,C2://h:6",
            "advertised.listeners=C1://a:7",
        ];
        assert_eq!(
            refusal(&lines[..1]),
            "process.roles did not contain 'controller' in configuration file. Is this a valid controller configuration file?"
        );
        assert_eq!(
            refusal(&lines[..2]),
            "Neither metadata.log.dir nor log.dirs were found. Is this a valid controller configuration file?"
        );
        assert!(refusal(&lines).starts_with("Unable to read meta.properties from "));
        std::fs::write(&meta, "directory.id=AAAAAAAAAAAAAAAAAAAAFw\n").expect("written");
        let found = Controller::of(&Properties::parse(lines.into_iter())).expect("a controller");
        assert_eq!((found.id, found.directory.to_string().as_str()), (BrokerId(7), "AAAAAAAAAAAAAAAAAAAAFw"));
        let shown: Vec<String> =
            found.endpoints.iter().map(|one| format!("{}:{}", one.host, one.port)).collect();
        assert_eq!(shown, ["a:7", "h:6"]);
    }

    #[test]
    fn directory_ids_are_sixteen_bytes_of_base64() {
        let refusal = |text: &str| directory_id(text).unwrap_err().sentence().to_owned();
        assert!(refusal("abcd").contains("decoded as 3 bytes"));
        assert!(refusal("!!").contains("not base64") && refusal("").contains("at least"));
        assert!(refusal(&"a".repeat(30)).contains("too long"));
        assert!(directory_id("JEXY6aqzQY-32P5TStzaFg").is_ok());
    }
}
