//! `kafka-delegation-tokens`: credentials to be given to others (`DelegationTokenCommand`).

use std::{process::ExitCode, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use millstream_client::{Admin, DelegationToken, Principal};
use millstream_types::TimestampMs;

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    kafka_error,
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output, run_options,
};
use crate::command::time;

pub(super) const SPEC: Spec = Spec {
    name: "kafka-delegation-tokens",
    summary: "Makes, renews, ends and shows delegation tokens. Brokers hand them out on secured listeners only.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new("create", "Make a token."),
        Flag::new("renew", "Make a token last longer."),
        Flag::new("expire", "Make a token end sooner."),
        Flag::new("describe", "Show tokens."),
        Flag::new("owner-principal", "Whose tokens, or for whom: User:NAME; may be repeated.")
            .may_take("PRINCIPAL"),
        Flag::new("renewer-principal", "Who else may renew it: User:NAME; may be repeated.")
            .may_take("PRINCIPAL"),
        Flag::new("max-life-time-period", "How long it lives at the most; -1 for the broker's default.")
            .may_take("MS")
            .number("Long"),
        Flag::new("renew-time-period", "How much longer it lasts; -1 for the broker's default.")
            .may_take("MS")
            .number("Long"),
        Flag::new("expiry-time-period", "When it ends; -1 for at once.").may_take("MS").number("Long"),
        Flag::new("hmac", "The token's HMAC, in base64.").may_take("HMAC"),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --command-config sasl.properties --create --max-life-time-period -1 --renewer-principal User:alice",
        "--bootstrap-server localhost:9092 --command-config sasl.properties --describe",
    ],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            check(given)?;
            block_on(act(given))
        },
    )
}

fn check(given: &Given) -> Outcome {
    if ["create", "renew", "expire", "describe"].iter().filter(|action| given.has(action)).count() != 1 {
        return Err(Exit::usage(
            "Command must include exactly one action: --create, --renew, --expire or --describe",
        ));
    }
    given.require(&["bootstrap-server", "command-config"])?;
    for (action, required) in [
        ("create", &["max-life-time-period"][..]),
        ("renew", &["hmac", "renew-time-period"]),
        ("expire", &["hmac", "expiry-time-period"]),
    ] {
        if given.has(action) {
            given.require(required)?;
        }
    }
    given.forbid("create", &["hmac", "renew-time-period", "expiry-time-period"])?;
    given.forbid(
        "renew",
        &["renewer-principal", "max-life-time-period", "expiry-time-period", "owner-principal"],
    )?;
    given.forbid("expire", &["renew", "max-life-time-period", "renew-time-period", "owner-principal"])?;
    given.forbid("describe", &["renew-time-period", "max-life-time-period", "hmac", "expiry-time-period"])
}

async fn act(given: &Given) -> Outcome {
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let call = match () {
        () if given.has("create") => "createDelegationToken",
        () if given.has("renew") => "renewDelegationToken",
        () if given.has("expire") => "expireDelegationToken",
        () => "describeDelegationToken",
    };
    let config = given.one("command-config")?;
    // Kafka's tool says what it is about to do before it looks for a broker.
    let late = |exit: Exit| exit.map(super::get_offsets::timed_out);
    let connect = async || -> Outcome<Admin> {
        Ok(Cluster::admin(bootstrap, config, call).await.map_err(late)?.admin_client())
    };
    if given.has("create") {
        create(given, connect).await
    } else if given.has("describe") {
        describe(given, connect).await
    } else {
        prolong(given, connect).await
    }
}

fn future(error: &millstream_client::Error) -> Exit {
    Exit::failure(kafka_error::exception(error))
}

fn principals(given: &Given, name: &str) -> Outcome<Vec<Principal>> {
    let parse = |text: &str| {
        let malformed = || {
            Exit::failure(format!("expected a string in format principalType:principalName but got {text}"))
        };
        Principal::parse(text).ok_or_else(malformed)
    };
    given.all(name).map(str::trim).map(parse).collect()
}

fn shown(principals: &[Principal]) -> String {
    format!("[{}]", principals.iter().map(Principal::to_string).collect::<Vec<_>>().join(", "))
}

/// A number of milliseconds, and the period that it means; -1 leaves it to the broker.
fn period(given: &Given, name: &'static str) -> Outcome<(i64, Option<Duration>)> {
    let missing = || Exit::failure(format!("Option {name} needs a number of milliseconds"));
    let ms: i64 = given.number(name)?.ok_or_else(missing)?;
    Ok((ms, u64::try_from(ms).ok().map(Duration::from_millis)))
}

async fn create(given: &Given, connect: impl AsyncFn() -> Outcome<Admin>) -> Outcome {
    let renewers = principals(given, "renewer-principal")?;
    let (ms, life_time) = period(given, "max-life-time-period")?;
    output::line(&format!(
        "Calling create token operation with renewers :{} , max-life-time-period :{ms}",
        shown(&renewers)
    ));
    let owners = principals(given, "owner-principal")?;
    let created = connect().await?.create_delegation_token(owners.first(), &renewers, life_time).await;
    let token = created.map_err(|error| future(&error))?;
    output::line(&format!("Created delegation token with tokenId : {}", token.id));
    print(&[token]);
    Ok(())
}

async fn prolong(given: &Given, connect: impl AsyncFn() -> Outcome<Admin>) -> Outcome {
    let hmac = given.one("hmac")?.unwrap_or_default();
    let renews = given.has("renew");
    let (verb, name) = match renews {
        true => ("renew", "renew-time-period"),
        false => ("expire", "expiry-time-period"),
    };
    let (ms, period) = period(given, name)?;
    let label = if renews { name } else { "expire-time-period" };
    output::line(&format!("Calling {verb} token operation with hmac :{hmac} , {label} :{ms}"));
    let bytes = STANDARD.decode(hmac).map(Bytes::from);
    let bytes = bytes.map_err(|error| Exit::failure(format!("the HMAC is not base64: {error}")))?;
    let admin = connect().await?;
    let until = match renews {
        true => admin.renew_delegation_token(bytes, period).await,
        false => admin.expire_delegation_token(bytes, period).await,
    };
    let until = minute(until.map_err(|error| future(&error))?);
    output::bytes(format!("Completed {verb} operation. New expiry date : {until}").as_bytes());
    Ok(())
}

async fn describe(given: &Given, connect: impl AsyncFn() -> Outcome<Admin>) -> Outcome {
    let owners = principals(given, "owner-principal")?;
    output::line(&match owners.is_empty() {
        true => "Calling describe token operation for current user.".to_owned(),
        false => format!("Calling describe token operation for owners: {}", shown(&owners)),
    });
    let tokens = connect().await?.describe_delegation_tokens(&owners).await;
    let tokens = tokens.map_err(|error| future(&error))?;
    output::bytes(format!("Total number of tokens : {}", tokens.len()).as_bytes());
    print(&tokens);
    Ok(())
}

fn print(tokens: &[DelegationToken]) {
    let row = |[id, hmac, owner, requester, renewers, issued, expires, max]: [&str; 8]| {
        output::line(&format!(
            "\n{id:<15} {hmac:<30} {owner:<15} {requester:<15} {renewers:<25} {issued:<15} {expires:<15} {max:<15}"
        ));
    };
    row(["TOKENID", "HMAC", "OWNER", "REQUESTER", "RENEWERS", "ISSUEDATE", "EXPIRYDATE", "MAXDATE"]);
    for token in tokens {
        row([
            &token.id,
            &STANDARD.encode(&token.hmac),
            &token.owner.to_string(),
            &token.requester.to_string(),
            &shown(&token.renewers),
            &minute(token.issued),
            &minute(token.expires),
            &minute(token.expires_at_the_latest),
        ]);
    }
}

/// To the minute, in UTC.
fn minute(at: TimestampMs) -> String {
    time::format(at).chars().take("2013-01-01T05:00".len()).collect()
}
