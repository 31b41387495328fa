//! Profiles: clusters by name, so that nobody types addresses. Our own are kept in
//! `~/.config/millstream/profiles.toml`; those of kcat and rpk, and a Java client's properties, are read
//! where they are.

mod foreign;
mod store;
mod verbs;

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow};

use self::store::Store;
pub(super) use self::verbs::{Arguments, run};
use super::failure::Failure;

const BOOTSTRAP_DEFAULT: &str = "localhost:9092";

/// Where a cluster is and how a client reaches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) bootstrap: String,
    /// By Kafka's names, without `bootstrap.servers`.
    pub(super) properties: Vec<(String, String)>,
    /// Where this is said, for messages; empty for the command line and the default.
    pub(super) origin: String,
}

/// What somebody's file says of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Profile {
    bootstrap: Option<String>,
    properties: Vec<(String, String)>,
}

impl Cluster {
    /// What was named on the command line comes before the environment, that before the profile in use, and
    /// that before what other tools' variables say.
    pub(super) fn resolve(bootstrap: Option<&str>, profile: Option<&str>) -> Result<Self> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let at = |bootstrap: String, origin: &str| Self {
            bootstrap,
            properties: Vec::new(),
            origin: origin.to_owned(),
        };
        if let Some(name) = profile {
            let mut cluster = Self::of_profile(name)?;
            cluster.bootstrap = bootstrap.map_or(cluster.bootstrap, str::to_owned);
            return Ok(cluster);
        }
        if let Some(bootstrap) = bootstrap {
            return Ok(at(bootstrap.to_owned(), ""));
        }
        if let Some(bootstrap) = set("MILLSTREAM_BOOTSTRAP") {
            return Ok(at(bootstrap, "$MILLSTREAM_BOOTSTRAP"));
        }
        let named = match set("MILLSTREAM_PROFILE") {
            Some(name) => Some(name),
            None => Store::load()?.current,
        };
        if let Some(name) = named {
            return Self::of_profile(&name);
        }
        for variable in ["KAFKA_BOOTSTRAP", "BOOTSTRAP_SERVERS"] {
            if let Some(bootstrap) = set(variable) {
                return Ok(at(bootstrap, &format!("${variable}")));
            }
        }
        Ok(at(BOOTSTRAP_DEFAULT.to_owned(), ""))
    }

    fn of_profile(name: &str) -> Result<Self> {
        let profile = find(name)?;
        let origin = format!("profile {name}");
        let missing = || anyhow!("{origin} names no bootstrap.servers");
        let bootstrap = profile.bootstrap.ok_or_else(missing)?;
        Ok(Self { bootstrap, properties: profile.properties, origin })
    }
}

/// One of ours, `kcat`, `rpk` or `rpk:NAME`, or a file's path.
fn find(name: &str) -> Result<Profile> {
    let store = Store::load()?;
    if let Some(own) = store.profiles.get(name) {
        return own.resolve();
    }
    if let Some(foreign) = foreign::by_name(name)? {
        return Ok(foreign);
    }
    let path = Path::new(name);
    if name.contains(['/', '\\']) || path.is_file() {
        return foreign::read(path, None);
    }
    let known: Vec<String> = names(&store).into_iter().map(|(name, _)| name).collect();
    let known = if known.is_empty() { "there is none yet".to_owned() } else { known.join(", ") };
    let text = format!(
        "there is no profile {name:?}; known: {known}. `millstream profile add {name} -b HOST:PORT` makes it"
    );
    Err(Failure::NotFound(text).into())
}

/// All profiles that can be named, and where they come from. Files of others that cannot be read are left
/// out here, and refused when they are named.
fn names(store: &Store) -> Vec<(String, PathBuf)> {
    let own = store.profiles.keys().map(|name| (name.clone(), store.path.clone()));
    own.chain(foreign::names()).collect()
}

/// `$XDG_CONFIG_HOME`, or `~/.config`.
fn config_home() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))
}
