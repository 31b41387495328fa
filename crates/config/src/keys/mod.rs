//! All definitions, found by scope and name.

mod broker;
mod client;
mod foreign;
mod group;
mod program;
mod topic;

use std::sync::LazyLock;

use crate::{Definition, Scope};

static ALL: LazyLock<Vec<&'static Definition>> = LazyLock::new(|| {
    let tables: [&'static [Definition]; 13] = [
        topic::KEYS,
        broker::IDENTITY,
        broker::NETWORK,
        broker::TOPICS,
        broker::LOG,
        broker::GROUPS,
        foreign::KEYS,
        group::GROUP,
        group::CLIENT_METRICS,
        program::KEYS,
        client::CLIENT,
        client::PRODUCER,
        client::CONSUMER,
    ];
    let mut all: Vec<_> = tables.into_iter().flatten().collect();
    all.sort_by_key(|definition| (definition.scope, definition.name));
    all
});

/// The definitions of a scope, by name.
pub fn all(scope: Scope) -> impl Iterator<Item = &'static Definition> {
    ALL.iter().copied().filter(move |definition| definition.scope == scope)
}

pub fn find(scope: Scope, name: &str) -> Option<&'static Definition> {
    let place = ALL.binary_search_by(|definition| (definition.scope, definition.name).cmp(&(scope, name)));
    place.ok().map(|index| ALL[index])
}

/// A key that the code itself names.
pub(crate) fn known(scope: Scope, name: &str) -> &'static Definition {
    find(scope, name).unwrap_or_else(|| panic!("no definition of {scope:?} key {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;

    #[test]
    fn every_key_stands_once() {
        let mut names: Vec<_> = ALL.iter().map(|d| (d.scope, d.name)).collect();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(all(Scope::Topic).count(), 34);
        assert_eq!(all(Scope::Group).count(), 17);
    }

    #[test]
    fn every_default_is_a_valid_value_in_its_canonical_form() {
        for definition in ALL.iter() {
            for default in [definition.default, definition.kafka_default].into_iter().flatten() {
                let value = definition.parse(default);
                let text = value.as_ref().map(ToString::to_string);
                assert_eq!(text.as_deref(), Ok(default), "{}", definition.name);
            }
        }
    }

    #[test]
    fn every_synonym_is_a_broker_key() {
        for definition in ALL.iter() {
            for synonym in definition.synonyms {
                let broker = find(Scope::Broker, synonym.name).expect(synonym.name);
                let converts = synonym.unit != Unit::Same;
                assert_eq!(converts, broker.name.ends_with("hours") || broker.name.ends_with("minutes"));
            }
        }
    }

    #[test]
    fn every_honoured_key_is_documented() {
        for definition in ALL.iter().filter(|d| d.is_honoured()) {
            assert!(!definition.doc.is_empty(), "{}", definition.name);
        }
    }
}
