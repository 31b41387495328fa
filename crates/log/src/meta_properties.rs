//! `meta.properties`: to which cluster and node a log directory belongs, and its own id. Java properties,
//! version 1 (`MetaProperties`).

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use millstream_types::{BrokerId, Uuid};

use crate::{
    checkpoint::replace_file,
    error::{At, OpenError},
    fs::{Fs, read_file},
};

pub(crate) const META_PROPERTIES: &str = "meta.properties";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetaProperties {
    pub(crate) cluster_id: String,
    pub(crate) node_id: BrokerId,
    /// Kafka adds it when it is missing, and so do we.
    pub(crate) directory_id: Option<Uuid>,
}

impl MetaProperties {
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(META_PROPERTIES);
        let Some(bytes) = read_file(fs, &path).at("read", &path)? else { return Ok(None) };
        let parsed = Self::parse(&String::from_utf8_lossy(&bytes));
        parsed.map(Some).map_err(|reason| OpenError::MetaProperties { path, reason })
    }

    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), OpenError> {
        let mut text = String::from("#\n");
        writeln!(text, "cluster.id={}", escape(&self.cluster_id)).expect("a String takes any text");
        if let Some(id) = self.directory_id {
            writeln!(text, "directory.id={id}").expect("a String takes any text");
        }
        writeln!(text, "node.id={}\nversion=1", self.node_id).expect("a String takes any text");
        Ok(replace_file(fs, &dir.join(META_PROPERTIES), text.as_bytes())?)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let properties = parse_properties(text);
        let get = |key: &str| properties.get(key).map(String::as_str);
        match get("version") {
            Some("1") => {}
            other => return Err(format!("version=1 expected, found {other:?}")),
        }
        let cluster_id = get("cluster.id").ok_or("cluster.id is missing")?.to_owned();
        let node_id = get("node.id").ok_or("node.id is missing")?;
        let node_id = node_id.parse().map_err(|_| format!("node.id={node_id} is not a number"))?;
        let directory_id = match get("directory.id") {
            None => None,
            Some(id) => Some(id.parse().map_err(|_| format!("directory.id={id} is not a uuid"))?),
        };
        Ok(Self { cluster_id, node_id: BrokerId(node_id), directory_id })
    }
}

/// As much of Java's format as `Properties.store` writes: comments, `key=value`, backslash escapes.
fn parse_properties(text: &str) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with(['#', '!'])) {
        if let Some((key, value)) = line.split_once('=') {
            properties.insert(key.trim_end().to_owned(), unescape(value.trim_start()));
        }
    }
    properties
}

fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, ':' | '=' | '#' | '!' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    #[test]
    fn a_file_of_kafkas_is_understood() {
        let text = "#\n#Mon Nov 24 10:00:00 UTC 2026\ncluster.id=abc\\=d\ndirectory.id=AAAAAAAAAAAAAAAAAAAABQ\nnode.id=1\nversion=1\n";
        let expected = MetaProperties {
            cluster_id: "abc=d".to_owned(),
            node_id: BrokerId(1),
            directory_id: Some(Uuid(5)),
        };
        assert_eq!(MetaProperties::parse(text), Ok(expected));
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let written = MetaProperties {
            cluster_id: "x:y".to_owned(),
            node_id: BrokerId(7),
            directory_id: Some(Uuid(9)),
        };
        written.write(&RealFs, dir.path()).unwrap();
        assert_eq!(MetaProperties::read(&RealFs, dir.path()).unwrap(), Some(written));
    }

    #[test]
    fn missing_keys_and_other_versions_are_named() {
        for (text, reason) in [
            ("version=0\ncluster.id=a\nbroker.id=1\n", "version=1 expected"),
            ("version=1\nnode.id=1\n", "cluster.id"),
            ("version=1\ncluster.id=a\n", "node.id"),
            ("version=1\ncluster.id=a\nnode.id=x\n", "node.id=x"),
            ("version=1\ncluster.id=a\nnode.id=1\ndirectory.id=?\n", "directory.id=?"),
        ] {
            assert!(MetaProperties::parse(text).unwrap_err().contains(reason), "{text}");
        }
    }
}
