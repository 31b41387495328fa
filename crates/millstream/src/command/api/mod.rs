//! `millstream api`: Kafka's protocol, one request at a time.

mod call;
mod json;
mod schema;

use anyhow::Result;
use bytes::Bytes;
use millstream_protocol::{
    ApiKey, RequestHeader, ResponseHeader, request_header_version, response_header_version,
};
use millstream_types::{BrokerId, codec::Reader};
use serde_json::{Value, json};

use super::{
    connect::ConnectArguments,
    failure::Failure,
    output::{Answer, OutputArguments, Section, ShowArguments, or_dash},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List the APIs that a broker and this program speak, and in which versions
    #[command(alias = "ls")]
    Versions(VersionsArguments),
    /// Show the fields of a request and of its answer
    Show(ShowApiArguments),
    /// Send a request as JSON and print the answer as JSON
    Call(call::Arguments),
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    match arguments.verb {
        Verb::Versions(arguments) => arguments.connect.clone().run(versions(arguments)),
        Verb::Show(arguments) => show(&arguments),
        Verb::Call(arguments) => call::run(&arguments),
    }
}

#[derive(clap::Args)]
struct VersionsArguments {
    /// Only APIs whose names contain this
    contains: Option<String>,
    /// Of this broker [default: of one that answers]
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn versions(arguments: VersionsArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let brokers = admin.describe_cluster().await?.brokers;
    let broker = match arguments.broker.map(BrokerId) {
        Some(id) if !brokers.iter().any(|broker| broker.id == id) => {
            let text = format!("there is no broker {id}; `millstream broker ls` lists those that there are");
            return Err(Failure::NotFound(text).into());
        }
        Some(id) => id,
        None => brokers.first().map_or(BrokerId(0), |broker| broker.id),
    };
    let contains = arguments.contains.map(|text| text.to_lowercase());
    arguments
        .show
        .show(async || {
            let mut apis = admin.api_versions(broker).await?;
            apis.retain(|api| {
                let name = api.name.unwrap_or_default().to_lowercase();
                contains.as_ref().is_none_or(|part| name.contains(part))
            });
            let columns = ["API", "KEY", "BROKER", "CLIENT", "USED"];
            let mut section = Section::new("api", &columns);
            let mut values = Vec::new();
            for api in apis {
                let range = |versions: Option<(i16, i16)>| versions.map(|(min, max)| format!("{min}-{max}"));
                let used = both(api.broker, api.client);
                let name = api.name.map_or_else(|| format!("unknown {}", api.key), str::to_owned);
                section.row([
                    name.clone(),
                    api.key.to_string(),
                    or_dash(range(api.broker)),
                    or_dash(range(api.client)),
                    or_dash(used),
                ]);
                values.push(json!({
                    "api": name,
                    "key": api.key,
                    "broker": api.broker.map(|(min, max)| json!({ "min": min, "max": max })),
                    "client": api.client.map(|(min, max)| json!({ "min": min, "max": max })),
                    "used": used,
                }));
            }
            Ok(Answer::new(values, vec![section]))
        })
        .await
}

/// What is in a frame without its length, behind its header.
pub(super) fn body(key: ApiKey, version: i16, is_answer: bool, frame: Bytes) -> Result<Value> {
    let api = schema::find(key.name())?;
    let mut r = Reader::new(frame);
    let message = if is_answer {
        ResponseHeader::read(&mut r, response_header_version(key, version))?;
        &api.response
    } else {
        RequestHeader::read(&mut r, request_header_version(key, version))?;
        &api.request
    };
    Ok(json::decode(message, version, &mut r)?)
}

/// The newest version that both speak.
fn both(one: Option<(i16, i16)>, other: Option<(i16, i16)>) -> Option<i16> {
    let ((min, max), (other_min, other_max)) = (one?, other?);
    let newest = max.min(other_max);
    (newest >= min.max(other_min)).then_some(newest)
}

#[derive(clap::Args)]
struct ShowApiArguments {
    /// The API, by name or key: Metadata, 3
    api: String,
    /// Only the fields of this version
    #[arg(short = 'v', long = "version")]
    version: Option<i16>,
    #[command(flatten)]
    output: OutputArguments,
}

fn show(arguments: &ShowApiArguments) -> Result<()> {
    let api = schema::find(&arguments.api)?;
    let mut section = Section::new("field", &["MESSAGE", "FIELD", "TYPE", "VERSIONS"]);
    let mut values = Vec::new();
    for message in [&api.request, &api.response] {
        for (path, field) in message.walk() {
            if arguments.version.is_some_and(|version| !field.versions.contains(&version)) {
                continue;
            }
            let (first, last) = (field.versions.start(), field.versions.end());
            section.row([message.name.clone(), path.clone(), field.kind_text(), format!("{first}-{last}")]);
            values.push(json!({
                "message": message.name,
                "field": path,
                "type": field.kind_text(),
                "versions": { "min": first, "max": last },
                "tag": field.tag,
            }));
        }
    }
    arguments.output.print(&Answer::new(Value::from(values), vec![section]))
}
