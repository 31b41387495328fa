//! Our own profiles, a TOML file:
//!
//! ```toml
//! current = "local"
//!
//! [profiles.local]
//! bootstrap = "localhost:9092"
//! properties = { "client.id" = "me" }
//!
//! [profiles.prod]
//! file = "/etc/kafka/client.properties"
//! ```

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::{Profile, config_home, foreign};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    /// The profile in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, Own>,
    #[serde(skip)]
    pub(super) path: PathBuf,
}

/// A profile of ours. What it says itself comes before what its file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Own {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bootstrap: Option<String>,
    /// Somebody else's file, with `#NAME` behind it for one of several profiles in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) properties: BTreeMap<String, String>,
}

impl Own {
    pub(super) fn resolve(&self) -> Result<Profile> {
        let mut profile = match &self.file {
            Some(file) => {
                let (path, section) =
                    file.rsplit_once('#').map_or((file.as_str(), None), |(path, name)| (path, Some(name)));
                foreign::read(Path::new(path), section)?
            }
            None => Profile::default(),
        };
        profile.bootstrap = self.bootstrap.clone().or(profile.bootstrap);
        profile.properties.retain(|(key, _)| !self.properties.contains_key(key));
        profile.properties.extend(self.properties.clone());
        Ok(profile)
    }
}

impl Store {
    pub(super) fn load() -> Result<Self> {
        // Without a home there are no profiles, and nothing to complain of.
        let Some(path) = config_home().map(|home| home.join("millstream/profiles.toml")) else {
            return Ok(Self::default());
        };
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self { path, ..Self::default() }),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    fn parse(text: &str, path: PathBuf) -> Result<Self> {
        let parsed: Result<Self, toml::de::Error> = toml::from_str(text);
        let mut store =
            parsed.map_err(|error| anyhow!("{}: {}", path.display(), on_one_line(&error, text)))?;
        store.path = path;
        Ok(store)
    }

    /// Replaces the file, which a reader sees either as it was or as it is now. Passwords may be in it.
    pub(super) fn save(&self) -> Result<()> {
        let dir = self.path.parent().filter(|_| !self.path.as_os_str().is_empty());
        let dir =
            dir.ok_or_else(|| anyhow!("no place for profiles: neither HOME nor XDG_CONFIG_HOME is set"))?;
        let saved = || -> Result<()> {
            fs::create_dir_all(dir)?;
            let beside = self.path.with_extension(format!("toml.{}", std::process::id()));
            let mut options = fs::File::options();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&beside)?.write_all(toml::to_string(self)?.as_bytes())?;
            Ok(fs::rename(&beside, &self.path)?)
        };
        saved().with_context(|| self.path.display().to_string())
    }
}

/// `line 3: expected ...`
fn on_one_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    line.unwrap_or_default() + &error.message().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let own = Own {
            bootstrap: Some("h:1".to_owned()),
            file: None,
            properties: [("client.id".to_owned(), "a \"b\"".to_owned())].into(),
        };
        let store = Store {
            current: Some("a b".to_owned()),
            profiles: [("a b".to_owned(), own.clone())].into(),
            path: PathBuf::new(),
        };
        let read = Store::parse(&toml::to_string(&store).unwrap(), PathBuf::new()).unwrap();
        assert_eq!((read.current, read.profiles), (store.current, [("a b".to_owned(), own)].into()));
    }

    #[test]
    fn a_malformed_file_is_refused_with_its_line() {
        let refused = |text: &str| Store::parse(text, PathBuf::from("p.toml")).unwrap_err().to_string();
        assert!(refused("current = \"a\"\n[profiles.a\n").starts_with("p.toml: line 2: "));
        assert!(refused("[profiles.a]\nbootstap = \"h:1\"\n").contains("bootstap"));
        assert!(refused("[profiles.a]\nbootstrap = 1\n").starts_with("p.toml: line 2: "));
    }
}
