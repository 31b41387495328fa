//! The layers that a broker's value comes from: set for this broker, set for all brokers, the static
//! configuration, the default. `kafka.server.ConfigHelper`, `DynamicBrokerConfig`.

use crate::{
    ConfigError, Definition, EntrySynonym, Properties, Scope, Synonym, UpdateMode, Value, find, keys::known,
};

/// Where a value comes from; the number is DescribeConfigs' `config_source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    Unknown = 0,
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicBrokerLogger = 6,
    DynamicClientMetrics = 7,
    DynamicGroup = 8,
}

impl Source {
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// What is set for the broker, by layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerLayers {
    /// From the metadata log, for this broker.
    pub dynamic: Properties,
    /// From the metadata log, for every broker.
    pub dynamic_default: Properties,
    /// The configuration file and the command line.
    pub fixed: Properties,
}

impl BrokerLayers {
    pub fn fixed(fixed: Properties) -> Self {
        Self { fixed, ..Self::default() }
    }

    /// The text that counts for a broker key, and where it comes from; `None` when it is null.
    /// A dynamic layer counts only for keys that may change at run time.
    pub fn effective(&self, definition: &'static Definition) -> Option<(&str, Source)> {
        let dynamic = definition.update != UpdateMode::ReadOnly;
        let layers = [
            (dynamic.then_some(&self.dynamic), Source::DynamicBroker),
            (dynamic.then_some(&self.dynamic_default), Source::DynamicDefaultBroker),
            (Some(&self.fixed), Source::StaticBroker),
        ];
        let set = layers.into_iter().find_map(|(layer, source)| {
            let text = layer?.get(definition.name)?;
            Some((text.as_str(), source))
        });
        set.or(definition.default.map(|text| (text, Source::Default)))
    }

    /// The parsed value of a broker key; `None` when it is null.
    pub(crate) fn value(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        let definition = known(Scope::Broker, name);
        self.effective(definition).map(|(text, _)| definition.parse(text)).transpose()
    }

    /// The first of the synonyms that has a value, in the key's own unit.
    pub(crate) fn first_of(&self, synonyms: &[Synonym]) -> Result<Option<Value>, ConfigError> {
        for synonym in synonyms {
            match self.value(synonym.name)? {
                Some(Value::Number(n)) => return Ok(Some(Value::Number(synonym.unit.millis(n)))),
                Some(value) => return Ok(Some(value)),
                None => {}
            }
        }
        Ok(None)
    }

    /// All that is set for a broker key and its synonyms, the first one counting. As Kafka does, what
    /// stands before the first mention of the key's own name is left out.
    pub(crate) fn chain(&self, name: &str, synonyms: &[Synonym]) -> Vec<EntrySynonym> {
        let own = [crate::definition::same(known(Scope::Broker, name).name)];
        let synonyms = if synonyms.is_empty() { &own } else { synonyms };
        let layers = [
            (Some(&self.dynamic), Source::DynamicBroker),
            (Some(&self.dynamic_default), Source::DynamicDefaultBroker),
            (Some(&self.fixed), Source::StaticBroker),
            (None, Source::Default),
        ];
        let mut chain = Vec::new();
        for (layer, source) in layers {
            for synonym in synonyms {
                let definition = known(Scope::Broker, synonym.name);
                let text = match layer {
                    Some(layer) => layer.get(synonym.name).map(String::as_str),
                    None => definition.default,
                };
                let Some(text) = text else { continue };
                let value = (!definition.is_sensitive()).then(|| text.to_owned());
                chain.push(EntrySynonym { name: synonym.name.to_owned(), value, source });
            }
        }
        chain.into_iter().skip_while(|entry| entry.name != name).collect()
    }

    /// Takes dynamic settings out that are not valid (an older version may have stored them), and
    /// returns why, so that they are reported instead of keeping the broker from starting.
    pub fn drop_invalid_dynamic(&mut self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for layer in [&mut self.dynamic, &mut self.dynamic_default] {
            layer.retain(|name, text| {
                let verdict = find(Scope::Broker, name).map(|definition| definition.parse(text));
                match verdict {
                    Some(Err(error)) => {
                        errors.push(error);
                        false
                    }
                    Some(Ok(_)) | None => true,
                }
            });
        }
        errors
    }
}
