//! The reference documentation, as Markdown.

use std::fmt::Write;

use crate::{Definition, Effect, Importance, Scope, Unit, UpdateMode, Why, all};

const HEAD: &str = "\
<!-- Generated from the definitions in crates/config; do not edit. -->
# Configuration

Settings come, the earlier going before the later, from: what clients have set for a topic, group or broker
(`kafka-configs`, IncrementalAlterConfigs); `--set KEY=VALUE`; the table `[broker]` of `millstream.toml`, or a
`server.properties` of Kafka's; the defaults below. Keys, types, ranges and meanings are those of Apache Kafka
4.3.1. In `millstream.toml` and `--set` a key that is not known is an error that names the nearest one; in a
`server.properties` it is a warning.
";

const CLIENT_HEAD: &str = "\
<!-- Generated from the definitions in crates/config; do not edit. -->
# Configuration of clients

Of the client library, and with it of Kafka's tools and our own verbs: from code, a map of texts, or a properties
file of Java's. Keys, types, ranges and meanings are those of Apache Kafka 4.3.1's Java clients. A key that no client
knows is a warning.
";

const CLIENTS: [Scope; 3] = [Scope::Client, Scope::Producer, Scope::Consumer];

/// `docs/reference/configuration.md`.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    section(
        &mut out,
        Scope::Program,
        "Options of millstream.toml",
        "They stand at the top of the file and have the names of the command line's flags.",
    );
    section(
        &mut out,
        Scope::Broker,
        "Broker",
        "*Read-only* keys need a restart. The others can be altered while the broker runs: for this broker alone, or as the default of all where it says *cluster-wide*.",
    );
    section(
        &mut out,
        Scope::Topic,
        "Topic",
        "Set when a topic is created or altered. Each key's default is the value of the broker key beside it.",
    );
    section(
        &mut out,
        Scope::Group,
        "Group",
        "Stored and shown as Kafka does; nothing reads them until these kinds of groups are there.",
    );
    section(
        &mut out,
        Scope::ClientMetrics,
        "Client metrics",
        "Subscriptions of KIP-714, stored and shown; nothing is pushed yet.",
    );
    let intro = "One command without set-up: a single node replicates nothing, and a first rebalance waits for nobody.";
    differences(&mut out, intro, &[Scope::Broker, Scope::Group]);
    let intro = "They are read, checked and kept, so that a configuration of Kafka's can be used as it is. One that is set to anything but its default is named once at the start. None of them can be altered while the broker runs.";
    without_effect(&mut out, intro, &[Scope::Broker]);
    out
}

/// `docs/reference/client-configuration.md`.
pub fn client_reference() -> String {
    let mut out = CLIENT_HEAD.to_owned();
    section(
        &mut out,
        Scope::Client,
        "Every client",
        "Connections, retries and what is known of the cluster.",
    );
    section(&mut out, Scope::Producer, "Producer", "Beside those of every client.");
    section(&mut out, Scope::Consumer, "Consumer", "Beside those of every client.");
    let intro =
        "What the operating system or this library does better by itself, and names that are another's.";
    differences(&mut out, intro, &CLIENTS);
    let intro = "They are read and checked, so that a configuration of Kafka's can be used as it is. Those that are *refused* may only be set to their defaults, since it would be unsafe to go on without them.";
    without_effect(&mut out, intro, &CLIENTS);
    out
}

fn section(out: &mut String, scope: Scope, title: &str, intro: &str) {
    let shown = |d: &&Definition| {
        let listed = (scope != Scope::Broker && !CLIENTS.contains(&scope)) || d.is_honoured();
        listed && !d.internal
    };
    line(out, &format!("\n## {title}\n\n{intro}\n"));
    for definition in all(scope).filter(shown) {
        key(out, definition);
    }
}

fn key(out: &mut String, definition: &Definition) {
    line(out, &format!("### `{}`\n", definition.name));
    line(out, definition.doc);
    let mut facts =
        vec![definition.kind.name().to_lowercase(), format!("default {}", default(definition.default))];
    if let Some(kafka) = definition.kafka_default {
        facts.push(format!("in Kafka {}", default(Some(kafka))));
    }
    let valid = definition.valid_values();
    if !valid.is_empty() {
        facts.push(format!("valid {valid}"));
    }
    if definition.scope == Scope::Broker || CLIENTS.contains(&definition.scope) {
        facts.push(format!("importance {}", importance(definition.importance)));
    }
    if definition.scope == Scope::Broker {
        facts.push(update(definition.update).to_owned());
    } else if !definition.synonyms.is_empty() {
        let names = definition.synonyms.iter().map(|synonym| match synonym.unit {
            Unit::Same => format!("`{}`", synonym.name),
            Unit::Minutes => format!("`{}` (minutes)", synonym.name),
            Unit::Hours => format!("`{}` (hours)", synonym.name),
        });
        facts.push(format!("from the broker's {}", names.collect::<Vec<_>>().join(", else ")));
    }
    if let Effect::None(why) = definition.effect {
        facts.push(format!("no effect: {}", why.text()));
    }
    line(out, &format!("\n*{}*\n", facts.join(" · ")));
}

fn differences(out: &mut String, intro: &str, scopes: &[Scope]) {
    line(out, "## Defaults that differ from Kafka's\n");
    line(out, &format!("{intro}\n"));
    line(out, "| key | here | Kafka |\n|---|---|---|");
    for scope in scopes {
        for definition in all(*scope) {
            if let Some(kafka) = definition.kafka_default {
                let (here, kafka) = (default(definition.default), default(Some(kafka)));
                line(out, &format!("| `{}` | {here} | {kafka} |", definition.name));
            }
        }
    }
}

fn without_effect(out: &mut String, intro: &str, scopes: &[Scope]) {
    line(out, "\n## Kafka's keys without effect\n");
    line(out, intro);
    for why in Why::ALL {
        let named = |d: &&Definition| matches!(d.effect, Effect::None(w) | Effect::Refused(w) if w == why);
        let mut names = Vec::new();
        for definition in scopes.iter().flat_map(|s| all(*s)).filter(named).filter(|d| !d.internal) {
            let refused = if matches!(definition.effect, Effect::Refused(_)) { " (refused)" } else { "" };
            names.push(format!("`{}`{refused}", definition.name));
        }
        if !names.is_empty() {
            line(out, &format!("\nBecause {}: {}.", why.text(), names.join(", ")));
        }
    }
}

fn default(text: Option<&str>) -> String {
    match text {
        None => "none".into(),
        Some("") => "empty".into(),
        Some(text) => format!("`{text}`"),
    }
}

fn importance(importance: Importance) -> &'static str {
    match importance {
        Importance::High => "high",
        Importance::Medium => "medium",
        Importance::Low => "low",
    }
}

fn update(mode: UpdateMode) -> &'static str {
    match mode {
        UpdateMode::ReadOnly => "read-only",
        UpdateMode::PerBroker => "per broker",
        UpdateMode::ClusterWide => "cluster-wide",
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_REFERENCE=1 cargo test -p millstream-config` writes the files anew.
    #[test]
    fn the_reference_documentation_is_fresh() {
        let directory = std::path::Path::new("../../docs/reference");
        for (name, text) in
            [("configuration.md", reference()), ("client-configuration.md", client_reference())]
        {
            let path = directory.join(name);
            if std::env::var_os("UPDATE_REFERENCE").is_some() {
                std::fs::create_dir_all(directory).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            let written = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(written == text, "{name}: run UPDATE_REFERENCE=1 cargo test -p millstream-config");
        }
    }
}
