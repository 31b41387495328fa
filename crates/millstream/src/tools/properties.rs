//! Client configuration from Java properties files and `key=value` options, and the clients that come of it.

use std::{collections::BTreeMap, fs::File, io::BufReader};

use millstream_client::Configuration;

use super::exit::{Exit, Outcome};

/// Properties by name; later ones replace earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Reads a file as `java.util.Properties` does. In failures first the path, as the JVM says it.
    pub(super) fn read(path: &str) -> Outcome<Self> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Exit::failure(unreadable(path, &error)).because("there is no such file")
            }
            _ => Exit::failure(unreadable(path, &error)),
        };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(Exit::failure("Is a directory"));
        }
        let read = java_properties::read(BufReader::new(file));
        // The only thing that Java finds wrong with such a file.
        let malformed = |error| Exit::failure(format!("Malformed \\uxxxx encoding.\n{path}: {error}"));
        let read = read.map_err(malformed)?;
        Ok(Self(read.into_iter().collect()))
    }

    /// The file behind an option, if it was given.
    pub(super) fn read_if_given(path: Option<&str>) -> Outcome<Self> {
        path.map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// `key=value` of an option that may be repeated; a name alone has the empty value, as in Kafka's
    /// `CommandLineUtils.parseKeyValueArgs`.
    pub(super) fn parse<'a>(pairs: impl Iterator<Item = &'a str>) -> Self {
        let pair = |text: &'a str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        };
        Self(pairs.filter(|text| !text.is_empty()).map(pair).collect())
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(super) fn set(&mut self, key: &str, value: impl ToString) {
        self.0.insert(key.to_owned(), value.to_string());
    }

    pub(super) fn set_default(&mut self, key: &str, value: impl ToString) {
        self.0.entry(key.to_owned()).or_insert_with(|| value.to_string());
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The configuration of a client. Keys that no client of ours knows have no effect, as with Kafka's.
    pub(super) fn configure(&self) -> Outcome<Configuration> {
        let (mut configuration, _) =
            Configuration::read(self.iter()).map_err(|error| Exit::failure(error.to_string()))?;
        // A tool names its client itself, unless it is told to.
        configuration.client.client_id = self.get("client.id").unwrap_or_default().to_owned();
        Ok(configuration)
    }
}

/// How the JVM reports a file that it cannot read.
pub(super) fn unreadable(path: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => path.to_owned(),
        _ => format!("{path}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn files_are_read_as_java_reads_them() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"# comment\n! another\na=1\nb : two\\\n   lines\nc\\ d=\\u00e9\nempty\n")
            .expect("written");
        let read = Properties::read(&file.path().display().to_string()).unwrap();
        let all: Vec<(&str, &str)> = read.iter().collect();
        assert_eq!(all, [("a", "1"), ("b", "twolines"), ("c d", "é"), ("empty", "")]);
        file.write_all(b"x=\\u12").expect("written");
        assert!(Properties::read(&file.path().display().to_string()).is_err());
        assert_eq!(Properties::read("/nowhere").unwrap_err().sentence(), "/nowhere");
    }

    #[test]
    fn values_are_refused_in_kafkas_words_and_unknown_keys_are_not() {
        let configure = |pair: &str| Properties::parse([pair].into_iter()).configure();
        assert!(configure("some.plugin.key=x").is_ok());
        let refusal =
            |pair: &str| configure(pair).err().map(|exit| exit.sentence().to_owned()).unwrap_or_default();
        assert_eq!(
            refusal("linger.ms=soon"),
            "Invalid value soon for configuration linger.ms: Not a number of type LONG"
        );
        assert_eq!(
            refusal("acks=7"),
            "Invalid value 7 for configuration acks: String must be one of: all, -1, 0, 1"
        );
        assert!(refusal("security.protocol=SASL_SSL").contains("not supported"));
    }
}
