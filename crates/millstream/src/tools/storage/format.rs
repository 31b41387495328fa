//! `kafka-storage format`: what makes a directory the log directory of a node (`Formatter`): its identity in
//! `meta.properties`, what the cluster's metadata begins with in `bootstrap.checkpoint`, and, where the
//! metadata says who votes, the voters in a first snapshot.
//!
//! Millstream formats an empty directory by itself when it starts; a directory formatted here may be started
//! by either.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use bytes::Bytes;
use millstream_metadata::{
    Voters, features,
    snapshot::{self, Contents, SnapshotId},
};
use millstream_record::{
    kraft::MetadataRecord,
    messages::{FeatureLevelRecord, VotersRecord, voters_record},
};
use millstream_types::{LeaderEpoch, Uuid};

use super::{META_PROPERTIES, directories};
use crate::{
    command::time,
    tools::{
        exit::{Exit, Outcome},
        options::Given,
        output,
        properties::Properties,
        releases,
    },
};

const BOOTSTRAP: &str = "bootstrap.checkpoint";
const METADATA_LOG: &str = "__cluster_metadata-0";

pub(super) fn run(given: &Given) -> Outcome {
    let plan = Plan::of(given)?;
    let found = plan.look()?;
    if let Some((first, _)) = found.first()
        && !given.has("ignore-formatted")
    {
        return Err(Exit::failure(format!(
            "Log directory {first} is already formatted. Use --ignore-formatted to ignore this directory and format the others."
        )));
    }
    let is_found = |directory: &String| found.iter().any(|(formatted, _)| formatted == directory);
    let empty: Vec<&String> = plan.directories.iter().filter(|directory| !is_found(directory)).collect();
    if empty.is_empty() {
        output::line("All of the log directories are already formatted.");
        return Ok(());
    }
    let records: Vec<String> = plan
        .finalized()
        .map(|(name, level)| {
            format!(
                "ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at version 0)"
            )
        })
        .collect();
    output::line(&format!(
        "Bootstrap metadata: BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)",
        records.join(", "),
        plan.release
    ));
    for directory in empty {
        plan.format(directory)?;
    }
    Ok(())
}

struct Plan {
    cluster_id: String,
    node_id: i32,
    directories: BTreeSet<String>,
    /// The one with the metadata log.
    metadata: String,
    release: i16,
    features: BTreeMap<String, i16>,
    /// Where the metadata itself says who votes.
    voters: Option<Vec<Voter>>,
    listener: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Voter {
    id: i32,
    host: String,
    port: u16,
    directory: Uuid,
}

impl Plan {
    fn of(given: &Given) -> Outcome<Self> {
        let config = super::config(given.last("config").unwrap_or_default())?;
        if given.has("add-scram") {
            return Err(Exit::failure("credentials (--add-scram) are not supported by this tool yet"));
        }
        let required = |key: &str| {
            config.get(key).ok_or_else(|| {
                Exit::failure(format!("Missing required configuration \"{key}\" which has no default value."))
            })
        };
        let node_id = required("node.id")?;
        let invalid = || {
            Exit::failure(format!(
                "Invalid value {node_id} for configuration node.id: Not a number of type INT"
            ))
        };
        let node_id: i32 = node_id.parse().map_err(|_| invalid())?;
        let controllers = config.get("controller.listener.names").unwrap_or_default();
        let listener = controllers.split(',').next().unwrap_or_default().trim().to_owned();
        if listener.is_empty() {
            return Err(Exit::failure(
                "controller.listener.names must contain at least one value when running KRaft",
            ));
        }
        let (directories, metadata) = directories(&config);
        let release = release(given)?;
        let is_static = config.get("controller.quorum.voters").is_some_and(|voters| !voters.is_empty());
        Ok(Self {
            cluster_id: given.last("cluster-id").unwrap_or_default().to_owned(),
            voters: voters(given, &config, node_id, is_static)?,
            features: levels(given, release, is_static)?,
            node_id,
            directories,
            metadata,
            release,
            listener,
        })
    }

    /// The directories that are formatted, and what they say; it must be of this node.
    fn look(&self) -> Outcome<Vec<(String, Properties)>> {
        let mut found = Vec::new();
        for directory in &self.directories {
            let file = Path::new(directory).join(META_PROPERTIES);
            if !file.exists() {
                continue;
            }
            let file = file.display().to_string();
            let read = Properties::read(&file)?;
            for (key, expected) in [("cluster.id", &self.cluster_id), ("node.id", &self.node_id.to_string())]
            {
                if let Some(other) = read.get(key).filter(|value| value != expected) {
                    return Err(Exit::failure(format!(
                        "Invalid {key} in: {file}. Expected {expected}, but read {other}"
                    )));
                }
            }
            found.push((directory.clone(), read));
        }
        Ok(found)
    }

    fn format(&self, directory: &str) -> Outcome {
        let is_metadata = *directory == self.metadata;
        let own = |voters: &Vec<Voter>| voters.iter().find(|voter| voter.id == self.node_id).cloned();
        let own = self.voters.as_ref().filter(|_| is_metadata).and_then(own);
        let kind = match (is_metadata, &self.voters, &own) {
            (false, ..) => "data directory",
            (true, None, _) => "metadata directory",
            (true, Some(_), None) => "dynamic metadata directory",
            (true, Some(_), Some(_)) => "dynamic metadata voter directory",
        };
        let name = releases::metadata_name(self.release).unwrap_or_default();
        output::line(&format!("Formatting {kind} {directory} with metadata.version {name}."));
        let path = Path::new(directory);
        let failed = |error: io::Error| {
            Exit::failure(format!("Error while writing {META_PROPERTIES} file {directory}: {error}"))
        };
        fs::create_dir_all(path).map_err(failed)?;
        write_whole(path, BOOTSTRAP, &self.bootstrap()?).map_err(failed)?;
        if let Some(voters) = self.voters.as_ref().filter(|_| is_metadata) {
            let log = path.join(METADATA_LOG);
            fs::create_dir_all(&log).map_err(failed)?;
            let snapshot = self.snapshot(voters)?;
            write_whole(&log, &SnapshotId::default().file_name(), &snapshot).map_err(failed)?;
        }
        // Last: with it the directory is formatted.
        let id = own.map_or_else(Uuid::random, |voter| voter.directory);
        write_whole(path, META_PROPERTIES, &self.identity(id)?).map_err(failed)
    }

    fn identity(&self, directory: Uuid) -> Outcome<Vec<u8>> {
        let mut text = b"#\n".to_vec();
        let mut writer = java_properties::PropertiesWriter::new(&mut text);
        let wrong = |error: java_properties::PropertiesError| Exit::failure(error.to_string());
        for (key, value) in [
            ("cluster.id", self.cluster_id.clone()),
            ("directory.id", directory.to_string()),
            ("node.id", self.node_id.to_string()),
            ("version", "1".to_owned()),
        ] {
            writer.write(key, &value).map_err(wrong)?;
        }
        writer.flush().map_err(wrong)?;
        Ok(text)
    }

    /// The features with which the metadata begins; what follows is read by the first.
    fn finalized(&self) -> impl Iterator<Item = (&str, i16)> {
        let elsewhere = [features::METADATA_VERSION, features::KRAFT_VERSION];
        let others = self.features.iter().map(|(name, level)| (name.as_str(), *level));
        let others = others.filter(move |(name, level)| *level > 0 && !elsewhere.contains(name));
        std::iter::once((features::METADATA_VERSION, self.release)).chain(others)
    }

    fn bootstrap(&self) -> Outcome<Bytes> {
        let record = |(name, level): (&str, i16)| -> MetadataRecord {
            let name = name.to_owned();
            FeatureLevelRecord { name, feature_level: level, ..FeatureLevelRecord::default() }.into()
        };
        self.encode(self.finalized().map(record).collect(), Voters::default())
    }

    fn snapshot(&self, voters: &[Voter]) -> Outcome<Bytes> {
        let voter = |voter: &Voter| voters_record::Voter {
            voter_id: voter.id,
            voter_directory_id: voter.directory,
            endpoints: vec![voters_record::Endpoint {
                name: self.listener.clone(),
                host: voter.host.clone(),
                port: voter.port,
                ..Default::default()
            }],
            kraft_version_feature: voters_record::KRaftVersionFeature {
                max_supported_version: 1,
                ..Default::default()
            },
            ..Default::default()
        };
        let record = VotersRecord { voters: voters.iter().map(voter).collect(), ..Default::default() };
        self.encode(Vec::new(), Voters { kraft_version: 1, record: Some(record) })
    }

    fn encode(&self, records: Vec<MetadataRecord>, voters: Voters) -> Outcome<Bytes> {
        let now = time::now();
        let contents = Contents { records, voters, last_contained_log_timestamp: now };
        snapshot::encode(&contents, LeaderEpoch(0), now, self.release)
            .map_err(|error| Exit::failure(error.to_string()))
    }
}

/// The `metadata.version`, by the name of a release or by its level.
fn release(given: &Given) -> Outcome<i16> {
    let mut level = None;
    for text in given.all("feature") {
        let (name, wanted) = releases::parse_feature(text)?;
        if name == features::METADATA_VERSION {
            level = Some(wanted);
        }
    }
    match (given.last("release-version"), level) {
        (Some(_), Some(_)) => Err(Exit::failure(
            "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.",
        )),
        (Some(name), None) => releases::stable_level(name),
        (None, Some(level)) => match releases::metadata_name(level) {
            Some(_) if level <= features::METADATA_VERSION_MAX => Ok(level),
            _ => Err(Exit::failure(format!(
                "No MetadataVersion with feature level {level}. Valid feature levels are from 7 to 31."
            ))),
        },
        (None, None) => Ok(features::METADATA_VERSION_MAX),
    }
}

/// The level of each feature: those of the release, unless said otherwise.
fn levels(given: &Given, release: i16, is_static: bool) -> Outcome<BTreeMap<String, i16>> {
    let mut levels: BTreeMap<String, i16> =
        releases::features_of(release).into_iter().map(|(name, level)| (name.to_owned(), level)).collect();
    levels.insert(features::KRAFT_VERSION.to_owned(), i16::from(!is_static));
    for text in given.all("feature") {
        let (name, level) = releases::parse_feature(text)?;
        if name == features::METADATA_VERSION {
            continue;
        }
        if !levels.contains_key(name) {
            let known: Vec<&str> = levels
                .keys()
                .map(String::as_str)
                .filter(|known| *known != features::METADATA_VERSION)
                .collect();
            return Err(Exit::failure(format!(
                "Unsupported feature: {name}. Supported features are: {}",
                known.join(", ")
            )));
        }
        if !releases::has_level(name, level) {
            return Err(Exit::failure(format!("No feature:{name} with feature level {level}")));
        }
        levels.insert(name.to_owned(), level);
    }
    check_kraft_version(levels[features::KRAFT_VERSION], is_static)?;
    Ok(levels)
}

fn check_kraft_version(level: i16, is_static: bool) -> Outcome {
    let sentence = match (level, is_static) {
        (0, false) => {
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags --standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try removing the --feature flag for kraft.version."
        }
        (1.., true) => {
            "Cannot set kraft.version to 1 unless controller.quorum.voters is empty and one of the flags --standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try using one of --standalone, --initial-controllers, or --no-initial-controllers and removing controller.quorum.voters."
        }
        _ => return Ok(()),
    };
    Err(Exit::failure(sentence))
}

fn voters(given: &Given, config: &Properties, node_id: i32, is_static: bool) -> Outcome<Option<Vec<Voter>>> {
    let has_controller = config
        .get("process.roles")
        .is_some_and(|roles| roles.split(',').any(|role| role.trim() == "controller"));
    let named = given.last("initial-controllers");
    if is_static && (named.is_some() || given.has("standalone")) {
        return Err(Exit::failure(
            "You cannot specify controller.quorum.voters and format the node with --initial-controllers or --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify controller.quorum.bootstrap.servers instead.",
        ));
    }
    if given.has("standalone") {
        if !has_controller {
            return Err(Exit::failure("You can only use --standalone on a controller."));
        }
        return standalone(config, node_id).map(|voter| Some(vec![voter]));
    }
    if let Some(list) = named {
        return list.split(',').map(parse_voter).collect::<Outcome<Vec<_>>>().map(Some);
    }
    if has_controller && !is_static && !given.has("no-initial-controllers") {
        return Err(Exit::failure(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: --standalone, --initial-controllers, or --no-initial-controllers.",
        ));
    }
    Ok(None)
}

/// This node alone, where its controller listens.
fn standalone(config: &Properties, node_id: i32) -> Outcome<Voter> {
    let names: Vec<&str> =
        config.get("controller.listener.names").unwrap_or_default().split(',').map(str::trim).collect();
    let listeners = [config.get("advertised.listeners"), config.get("listeners")];
    let endpoint = listeners.into_iter().flatten().flat_map(|list| list.split(',')).find_map(|listener| {
        let (name, address) = listener.trim().split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let is_controllers = names.iter().any(|controller| controller.eq_ignore_ascii_case(name));
        Some((host, port.parse().ok()?)).filter(|_| is_controllers)
    });
    let (host, port) = endpoint.ok_or_else(|| Exit::failure("No controller listeners found."))?;
    let host = if host.is_empty() { "localhost" } else { host.trim_matches(['[', ']']) };
    Ok(Voter { id: node_id, host: host.to_owned(), port, directory: Uuid::random() })
}

/// `ID@HOST:PORT:DIRECTORY`
fn parse_voter(text: &str) -> Outcome<Voter> {
    let parse = || {
        let (id, rest) = text.trim().split_once('@')?;
        let (address, directory) = rest.rsplit_once(':')?;
        let (host, port) = address.rsplit_once(':')?;
        Some(Voter {
            id: id.parse().ok()?,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().ok()?,
            directory: directory.parse().ok()?,
        })
    };
    parse().ok_or_else(|| {
        Exit::failure(format!("{text:?} is not a voter: id@host:port:directory is expected, as in 1@localhost:9093:JEXY6aqzQY-32P5TStzaFg"))
    })
}

/// Whoever looks sees the file whole or not at all, also after a crash.
fn write_whole(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(name))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_read_as_they_are_written_down() {
        let voter = parse_voter("3@localhost:9093:JEXY6aqzQY-32P5TStzaFg").unwrap();
        assert_eq!((voter.id, voter.host.as_str(), voter.port), (3, "localhost", 9093));
        assert_eq!(parse_voter("3@[::1]:9093:JEXY6aqzQY-32P5TStzaFg").unwrap().host, "::1");
        for wrong in
            ["", "3", "3@localhost:9093", "x@localhost:9093:JEXY6aqzQY-32P5TStzaFg", "3@h:9093:short"]
        {
            assert!(parse_voter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_node_alone_votes_where_its_controller_listens() {
        let config = Properties::parse(
            ["controller.listener.names=CONTROLLER", "listeners=PLAINTEXT://:9092,CONTROLLER://:9093"]
                .into_iter(),
        );
        let voter = standalone(&config, 7).unwrap();
        assert_eq!((voter.id, voter.host.as_str(), voter.port), (7, "localhost", 9093));
        assert!(standalone(&Properties::default(), 7).is_err());
    }
}
