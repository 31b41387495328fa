//! The rows of a DescribeConfigs response. `kafka.server.ConfigHelper`.

use crate::{BrokerLayers, Definition, Properties, Scope, Source, Value, all, find, keys::known, topic};

/// One key of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: String,
    /// `None` for null and for what is secret.
    pub value: Option<String>,
    pub read_only: bool,
    pub source: Source,
    pub sensitive: bool,
    /// What is set for the key or stands in for it, the one that counts first.
    pub synonyms: Vec<EntrySynonym>,
    /// DescribeConfigs' `config_type`; 0 for a key that is not known.
    pub kind_code: i8,
    pub documentation: Option<&'static str>,
}

impl Entry {
    /// For versions of the response that have no source.
    pub fn is_default(&self) -> bool {
        self.source == Source::Default
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct EntrySynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

/// A topic: all its keys.
pub fn describe_topic(overrides: &Properties, layers: &BrokerLayers) -> Vec<Entry> {
    let shown = |d: &&Definition| !d.internal || overrides.contains_key(d.name);
    all(Scope::Topic).filter(shown).map(|d| topic_entry(d, overrides, layers)).collect()
}

fn topic_entry(definition: &'static Definition, overrides: &Properties, layers: &BrokerLayers) -> Entry {
    let value = topic::effective(definition.name, overrides, layers).ok().flatten();
    inherited_entry(definition, value, overrides, Source::DynamicTopic, layers)
}

/// A group: all its keys.
pub fn describe_group(overrides: &Properties, layers: &BrokerLayers) -> Vec<Entry> {
    let entry = |definition: &'static Definition| {
        let own = overrides.get(definition.name).map(|text| definition.parse(text));
        let value = own.or_else(|| layers.first_of(definition.synonyms).transpose());
        let value = value.or_else(|| definition.default.map(|text| definition.parse(text)));
        inherited_entry(definition, value.and_then(Result::ok), overrides, Source::DynamicGroup, layers)
    };
    all(Scope::Group).map(entry).collect()
}

/// A client metrics subscription: all its keys.
pub fn describe_client_metrics(overrides: &Properties) -> Vec<Entry> {
    let entry = |definition: &'static Definition| {
        let text = overrides.get(definition.name).map(String::as_str).or(definition.default);
        let value = text.and_then(|text| definition.parse(text).ok());
        let layers = BrokerLayers::default();
        inherited_entry(definition, value, overrides, Source::DynamicClientMetrics, &layers)
    };
    all(Scope::ClientMetrics).map(entry).collect()
}

/// A key of a topic, group or subscription: its own setting before those of the broker's keys.
fn inherited_entry(
    definition: &'static Definition,
    value: Option<Value>,
    overrides: &Properties,
    own_source: Source,
    layers: &BrokerLayers,
) -> Entry {
    let inherited = definition.synonyms.first();
    let mut synonyms = inherited
        .map_or_else(Vec::new, |first| layers.chain(first.name, known(Scope::Broker, first.name).synonyms));
    if inherited.is_none() && definition.scope == Scope::Group {
        let default = definition.default.map(str::to_owned);
        let (name, source) = (definition.name.to_owned(), Source::Default);
        synonyms.push(EntrySynonym { name, value: default, source });
    }
    if overrides.contains_key(definition.name) {
        let own = value.as_ref().map(ToString::to_string);
        synonyms.insert(0, EntrySynonym { name: definition.name.to_owned(), value: own, source: own_source });
    }
    Entry {
        name: definition.name.to_owned(),
        value: value.map(|value| value.to_string()),
        read_only: false,
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        sensitive: definition.is_sensitive(),
        synonyms,
        kind_code: definition.kind.code(),
        documentation: Some(definition.doc),
    }
}

/// This broker: every key that has an effect, and every other one that is set.
pub fn describe_broker(layers: &BrokerLayers) -> Vec<Entry> {
    let set = |name: &str| {
        [&layers.dynamic, &layers.dynamic_default, &layers.fixed]
            .into_iter()
            .any(|layer| layer.contains_key(name))
    };
    let shown = |d: &&Definition| d.is_honoured() && !d.internal || set(d.name);
    let mut entries: Vec<_> = all(Scope::Broker).filter(shown).map(|d| broker_entry(d, layers)).collect();
    for (layer, source) in [
        (&layers.dynamic, Source::DynamicBroker),
        (&layers.dynamic_default, Source::DynamicDefaultBroker),
        (&layers.fixed, Source::StaticBroker),
    ] {
        for name in layer.keys().filter(|name| find(Scope::Broker, name).is_none()) {
            if !entries.iter().any(|entry| entry.name == *name) {
                entries.push(unknown_entry(name, source));
            }
        }
    }
    entries
}

fn broker_entry(definition: &'static Definition, layers: &BrokerLayers) -> Entry {
    let text = layers.effective(definition).map(|(text, _)| text);
    let value = text.and_then(|text| definition.parse(text).ok());
    let synonyms = layers.chain(definition.name, definition.synonyms);
    Entry {
        name: definition.name.to_owned(),
        value: value.filter(|_| !definition.is_sensitive()).map(|value| value.to_string()),
        read_only: !definition.is_dynamic(),
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        sensitive: definition.is_sensitive(),
        synonyms,
        kind_code: definition.kind.code(),
        documentation: documentation(definition),
    }
}

/// The default of all brokers: only what is set.
pub fn describe_default_broker(layers: &BrokerLayers) -> Vec<Entry> {
    let entry = |(name, text): (&String, &String)| {
        let Some(definition) = find(Scope::Broker, name) else {
            return unknown_entry(name, Source::DynamicDefaultBroker);
        };
        let value = definition.parse(text).ok().filter(|_| !definition.is_sensitive());
        let value = value.map(|value| value.to_string());
        let source = Source::DynamicDefaultBroker;
        Entry {
            name: name.clone(),
            value: value.clone(),
            read_only: !definition.is_dynamic(),
            source,
            sensitive: definition.is_sensitive(),
            synonyms: vec![EntrySynonym { name: name.clone(), value, source }],
            kind_code: definition.kind.code(),
            documentation: documentation(definition),
        }
    };
    layers.dynamic_default.iter().map(entry).collect()
}

/// A key that nobody knows may be a plug-in's password, so its value is not shown.
fn unknown_entry(name: &str, source: Source) -> Entry {
    Entry {
        name: name.to_owned(),
        value: None,
        read_only: true,
        source,
        sensitive: true,
        synonyms: vec![EntrySynonym { name: name.to_owned(), value: None, source }],
        kind_code: 0,
        documentation: None,
    }
}

fn documentation(definition: &Definition) -> Option<&'static str> {
    match definition.effect {
        crate::Effect::None(why) | crate::Effect::Refused(why) if definition.doc.is_empty() => {
            Some(why.text())
        }
        _ => Some(definition.doc),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn find_entry(entries: Vec<Entry>, name: &str) -> Entry {
        entries.into_iter().find(|entry| entry.name == name).expect(name)
    }

    fn chain(entry: &Entry) -> Vec<(&str, &str, i8)> {
        let rows = entry.synonyms.iter();
        rows.map(|s| (s.name.as_str(), s.value.as_deref().unwrap_or(""), s.source.code())).collect()
    }

    /// The rows were given by Kafka 4.3.1 after the same changes.
    #[test]
    fn the_chain_of_synonyms_is_kafkas() {
        let mut layers = BrokerLayers::default();
        let own = properties(&[("retention.ms", "12345")]);
        let entry = find_entry(describe_topic(&Properties::new(), &layers), "retention.ms");
        assert_eq!((entry.value.as_deref(), entry.source), (Some("604800000"), Source::Default));
        assert_eq!(chain(&entry), []);
        layers.dynamic.insert("log.retention.ms".into(), "777777".into());
        layers.dynamic_default.insert("log.retention.ms".into(), "888888".into());
        let entry = find_entry(describe_topic(&own, &layers), "retention.ms");
        assert_eq!((entry.value.as_deref(), entry.source), (Some("12345"), Source::DynamicTopic));
        assert_eq!(
            chain(&entry),
            [
                ("retention.ms", "12345", 1),
                ("log.retention.ms", "777777", 2),
                ("log.retention.ms", "888888", 3),
                ("log.retention.hours", "168", 5)
            ]
        );
        let entry = find_entry(describe_broker(&layers), "log.retention.ms");
        assert_eq!((entry.value.as_deref(), entry.source.code()), (Some("777777"), 2));
        assert_eq!(entry.synonyms.len(), 3);
        let entry = find_entry(describe_broker(&layers), "log.retention.minutes");
        assert_eq!((entry.value, entry.read_only, entry.source.code()), (None, true, 5));
        assert_eq!(entry.synonyms, []);
    }

    #[test]
    fn an_unlimited_broker_retention_is_shown_as_minus_one_in_its_topics() {
        let mut layers = BrokerLayers::default();
        layers.dynamic.insert("log.retention.ms".into(), "-2".into());
        let entry = find_entry(describe_topic(&Properties::new(), &layers), "retention.ms");
        assert_eq!((entry.value.as_deref(), entry.source.code()), (Some("-1"), 2));
        assert_eq!(chain(&entry), [("log.retention.ms", "-2", 2), ("log.retention.hours", "168", 5)]);
    }

    #[test]
    fn a_groups_key_chains_to_the_brokers() {
        let own = properties(&[("consumer.session.timeout.ms", "50000")]);
        let entry = find_entry(describe_group(&own, &BrokerLayers::default()), "consumer.session.timeout.ms");
        assert_eq!(
            chain(&entry),
            [("consumer.session.timeout.ms", "50000", 8), ("group.consumer.session.timeout.ms", "45000", 5)]
        );
    }

    #[test]
    fn a_key_that_is_not_known_never_shows_its_value() {
        let mut layers = BrokerLayers::default();
        layers.dynamic.insert("my.custom".into(), "secret".into());
        let entry = find_entry(describe_broker(&layers), "my.custom");
        assert_eq!((entry.value, entry.sensitive, entry.read_only, entry.kind_code), (None, true, true, 0));
    }

    #[test]
    fn keys_without_effect_are_listed_only_where_they_are_set() {
        let names = |layers: &BrokerLayers| -> Vec<String> {
            describe_broker(layers).into_iter().map(|entry| entry.name).collect()
        };
        assert!(!names(&BrokerLayers::default()).contains(&"num.io.threads".to_owned()));
        let layers = BrokerLayers::fixed(properties(&[("num.io.threads", "4")]));
        assert!(names(&layers).contains(&"num.io.threads".to_owned()));
    }
}
