//! What users, clients and addresses may take, and users' passwords.

use std::collections::BTreeMap;

use millstream_client::{Admin, QuotaEntity, QuotaMatch, ScramMechanism};
use millstream_types::ErrorCode;

use super::{
    Failed, completed,
    entity::{Entity, Kind},
    requested, scram,
};
use crate::tools::{exit::Exit, kafka_error, options::Given, output};

const USER_KEYS: [&str; 4] =
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
const IP_KEYS: [&str; 1] = ["connection_creation_rate"];

/// The types as brokers know them, with how they are shown.
const TYPES: [(Kind, &str, &str); 3] = [
    (Kind::Users, "user", "user-principal"),
    (Kind::Clients, "client-id", "client-id"),
    (Kind::Ips, "ip", "ip"),
];

fn type_of(kind: Kind) -> &'static str {
    TYPES.iter().find(|row| row.0 == kind).map_or("", |row| row.1)
}

fn refused(sentence: impl Into<String>) -> Failed {
    Failed::Refused(Exit::failure(sentence))
}

fn is_scram(key: &str) -> bool {
    scram::mechanism(key).is_some()
}

pub(super) async fn describe(entity: &Entity, admin: &Admin) -> Result<(), Failed> {
    if entity.names.len() > entity.kinds.len() {
        return Err(refused("More entity names specified than entity types"));
    }
    for (whose, quotas) in admin.describe_quotas(&filter(entity), true).await? {
        let values: Vec<String> =
            quotas.iter().map(|(key, value)| format!("{key}={}", java_double(*value))).collect();
        output::line(&format!("Quota configs for {} are {}", shown(&whose), values.join(", ")));
    }
    // Passwords are those of users by name.
    if entity.kind != Kind::Users || entity.kinds.len() > 1 || entity.names.iter().any(String::is_empty) {
        return Ok(());
    }
    let users = (!entity.names.is_empty()).then_some(&entity.names[..]);
    for (user, result) in admin.describe_scram_credentials(users).await? {
        output::line(&match result {
            // Kafka's client does not even tell of those.
            Err(error) if error.code() == Some(ErrorCode::ResourceNotFound) => continue,
            Ok(infos) => {
                let infos: Vec<String> = infos
                    .iter()
                    .map(|info| format!("{}=iterations={}", info.mechanism.name(), info.iterations))
                    .collect();
                format!("SCRAM credential configs for user-principal '{user}' are {}", infos.join(", "))
            }
            Err(error) => {
                let class = kafka_error::class(&error);
                format!(
                    "Error retrieving SCRAM credential configs for user-principal '{user}': {}: {}",
                    class.rsplit('.').next().unwrap_or_default(),
                    kafka_error::message(&error)
                )
            }
        });
    }
    Ok(())
}

fn filter(entity: &Entity) -> Vec<(String, QuotaMatch)> {
    let one = |(index, kind): (usize, &Kind)| {
        let wanted = match entity.names.get(index).map(String::as_str) {
            None => QuotaMatch::Any,
            Some("") => QuotaMatch::Default,
            Some(name) => QuotaMatch::Exact(name.to_owned()),
        };
        (type_of(*kind).to_owned(), wanted)
    };
    entity.kinds.iter().enumerate().map(one).collect()
}

/// `user-principal 'alice', the default client-id`
fn shown(entity: &QuotaEntity) -> String {
    let one = |(_, name, label): &(Kind, &str, &str)| {
        Some(match entity.get(*name)? {
            Some(name) => format!("{label} '{name}'"),
            None => format!("the default {label}"),
        })
    };
    TYPES.iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

pub(super) async fn alter(given: &Given, entity: &Entity, admin: &Admin) -> Result<(), Failed> {
    let (added, deleted) = requested(given)?;
    let credentials = check(entity, &added, &deleted)?;
    if credentials {
        let set = added.iter().map(|(key, value)| scram::parse(key, value).map_err(Failed::Refused));
        let set = set.collect::<Result<Vec<_>, Failed>>()?;
        let remove: Vec<ScramMechanism> = deleted.iter().filter_map(|key| scram::mechanism(key)).collect();
        let user = entity.name.as_deref().unwrap_or_default();
        admin.alter_scram_credentials(user, &set, &remove).await?;
    } else {
        alter_quotas(entity, admin, added, deleted).await?;
    }
    completed(entity);
    Ok(())
}

/// Refuses keys that an entity does not have; whether they are those of passwords.
fn check(entity: &Entity, added: &BTreeMap<String, String>, deleted: &[String]) -> Result<bool, Failed> {
    let own: &[&str] = if entity.kind == Kind::Ips { &IP_KEYS } else { &USER_KEYS };
    let may_be_scram = entity.kinds == [Kind::Users];
    let unknown = |key: &str| !(own.contains(&key) || may_be_scram && is_scram(key));
    let strange_added: Vec<&str> = added.keys().map(String::as_str).filter(|key| unknown(key)).collect();
    let strange_deleted: Vec<&str> = deleted.iter().map(String::as_str).filter(|key| unknown(key)).collect();
    if entity.kind == Kind::Ips {
        let all: Vec<&str> = strange_added.into_iter().chain(strange_deleted).collect();
        return match all.is_empty() {
            true => Ok(false),
            false => Err(refused(format!(
                "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: {}",
                all.join(",")
            ))),
        };
    }
    let (what, whose) = match may_be_scram {
        true => ("quota and SCRAM credential", "users"),
        false => ("quota", "clients"),
    };
    let strange = |done: &str, list: String| {
        refused(format!(
            "Only {what} configs can be {done} for '{whose}' using --bootstrap-server. Unexpected config names: {list}"
        ))
    };
    if !strange_added.is_empty() {
        return Err(strange("added", format!("Set({})", strange_added.join(", "))));
    }
    if !strange_deleted.is_empty() {
        return Err(strange("deleted", format!("ArrayBuffer({})", strange_deleted.join(", "))));
    }
    let mut keys = added.keys().chain(deleted);
    if !(may_be_scram && keys.clone().any(|key| is_scram(key))) {
        return Ok(false);
    }
    if entity.names.iter().any(String::is_empty) {
        return Err(refused(
            "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using --bootstrap-server.",
        ));
    }
    match keys.all(|key| is_scram(key)) {
        true => Ok(true),
        false => Err(refused(
            "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using --bootstrap-server.",
        )),
    }
}

async fn alter_quotas(
    entity: &Entity,
    admin: &Admin,
    added: BTreeMap<String, String>,
    deleted: Vec<String>,
) -> Result<(), Failed> {
    let known = admin.describe_quotas(&filter(entity), true).await?.into_values().next().unwrap_or_default();
    let missing: Vec<&str> =
        deleted.iter().map(String::as_str).filter(|key| !known.contains_key(*key)).collect();
    if !missing.is_empty() {
        return Err(refused(format!("Invalid config(s): {}", missing.join(","))));
    }
    let mut changes: BTreeMap<String, Option<f64>> = BTreeMap::new();
    for (key, value) in added {
        let number = value.trim().parse::<f64>();
        let malformed = |_| refused(format!("Cannot parse quota configuration value for {key}: {value}"));
        changes.insert(key.clone(), Some(number.map_err(malformed)?));
    }
    changes.extend(deleted.into_iter().map(|key| (key, None)));
    let named =
        entity.kinds.iter().zip(&entity.names).map(|(kind, name)| {
            (type_of(*kind).to_owned(), Some(name.clone()).filter(|name| !name.is_empty()))
        });
    Ok(admin.alter_quotas(&named.collect(), &changes, false).await?)
}

/// As `Double.toString`: a decimal point always, powers of ten outside of 0.001 to 10 million.
fn java_double(value: f64) -> String {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    if !value.is_finite() {
        return if value.is_nan() { "NaN".to_owned() } else { format!("{value}").replace("inf", "Infinity") };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

#[test]
fn numbers_look_as_in_java() {
    for (value, text) in [
        (1024.0, "1024.0"),
        (0.5, "0.5"),
        (10_485_760.0, "1.048576E7"),
        (1e7, "1.0E7"),
        (9_999_999.0, "9999999.0"),
        (0.0001, "1.0E-4"),
        (0.0, "0.0"),
        (-2e9, "-2.0E9"),
    ] {
        assert_eq!(java_double(value), text);
    }
}
