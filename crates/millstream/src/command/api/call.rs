//! `api call`: one request out of JSON, on a connection of its own.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use millstream_protocol::{
    ApiKey, RequestHeader, ResponseHeader, request_header_version, response_header_version,
};
use millstream_types::{
    BrokerId, ErrorCode,
    codec::{Reader, Writer},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    json,
    schema::{self, Api},
};
use crate::command::{
    connect::ConnectArguments,
    failure::{Failure, usage},
    output::{Answer, Output, OutputArguments, say},
};

const CORRELATION_ID: i32 = 1;
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// A larger answer is not believed.
const ANSWER_BYTES_MAX: usize = 1 << 30;
const READ_BYTES_STEP: usize = 1 << 20;
/// Error codes that are named below an answer.
const CODES_MAX: usize = 20;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The API, by name or key: Metadata, 3
    api: String,
    /// The request as JSON; @FILE reads a file, - standard input [default: {}, all fields at their defaults]
    request: Option<String>,
    /// The version [default: the newest that broker and program speak]
    #[arg(short = 'v', long = "version")]
    version: Option<i16>,
    /// To this broker [default: to one that answers]
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    /// Only print the request's bytes, in hexadecimal
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if !matches!(arguments.output.output, Output::Table | Output::Json | Output::Yaml) {
        return Err(usage("an answer is no table: expected --output json or yaml"));
    }
    let api = schema::find(&arguments.api)?;
    let request = request(arguments.request.as_deref())?;
    arguments.connect.clone().run(call(arguments, &api, &request))
}

fn request(given: Option<&str>) -> Result<Value> {
    let text = match given {
        None => return Ok(serde_json::json!({})),
        Some("-") => {
            if io::stdin().is_terminal() {
                say("the request as JSON; ctrl-D ends");
            }
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text).context("standard input")?;
            text
        }
        Some(text) => match text.strip_prefix('@') {
            Some(path) => fs::read_to_string(path).with_context(|| path.to_owned())?,
            None => text.to_owned(),
        },
    };
    serde_json::from_str(&text).map_err(|error| usage(format!("the request is not JSON: {error}")))
}

async fn call(arguments: &Arguments, api: &Api, request: &Value) -> Result<()> {
    let connected = arguments.connect.connect().await?;
    let connection = connected.client.any_broker().await?;
    let address = match arguments.broker.map(BrokerId) {
        None => connection.address().to_owned(),
        Some(id) => {
            let brokers = connected.client.admin().describe_cluster().await?.brokers;
            let broker = brokers.into_iter().find(|broker| broker.id == id);
            let text =
                || format!("there is no broker {id}; `millstream broker ls` lists those that there are");
            broker.ok_or_else(|| Failure::NotFound(text()))?.address()
        }
    };
    let version = match arguments.version {
        Some(version) if !api.request.versions.contains(&version) => {
            let (first, last) = (api.request.versions.start(), api.request.versions.end());
            return Err(usage(format!("{} has versions {first} to {last}", api.key.name())));
        }
        Some(version) => version,
        None => {
            let client = api.key.versions();
            let both =
                super::both(connection.broker_versions(api.key), Some((*client.start(), *client.end())));
            both.ok_or_else(|| {
                anyhow!("{address} does not speak {}; --version asks all the same", api.key.name())
            })?
        }
    };
    let frame = frame(api, request, version, &connected.client.config().client_id)
        .map_err(|error| usage(format!("{error:#}")))?;
    if arguments.dry_run {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        say(&format!("{} version {version}, {} bytes; nothing was sent", api.key.name(), frame.len()));
        crate::command::output::write(format!("{hex}\n").as_bytes())?;
        return Ok(());
    }
    let sent = Instant::now();
    let answer = exchange(&address, &frame, is_answered(api.key, request)).await?;
    let Some(answer) = answer else {
        say(&format!("{} version {version} sent to {address}; with acks=0 nobody answers", api.key.name()));
        return Ok(());
    };
    let took = sent.elapsed().as_secs_f64() * 1000.0;
    say(&format!(
        "{} version {version} to {address}: {} bytes sent, {} received, {took:.1} ms",
        api.key.name(),
        frame.len(),
        answer.len() + 4
    ));
    let mut r = Reader::new(answer);
    let header = ResponseHeader::read(&mut r, response_header_version(api.key, version))?;
    if header.correlation_id != CORRELATION_ID {
        bail!("the answer is one to request {}, not to {CORRELATION_ID}", header.correlation_id);
    }
    let value = json::decode(&api.response, version, &mut r)
        .map_err(|error| anyhow!("the answer is not one of version {version}: {error}"))?;
    if !r.is_empty() {
        say(&format!("{} bytes behind the answer are not part of it", r.remaining()));
    }
    let mut codes = Vec::new();
    error_codes("", &value, &mut codes);
    codes.iter().take(CODES_MAX).for_each(|line| say(line));
    let output = if arguments.output.output == Output::Yaml { Output::Yaml } else { Output::Json };
    Answer::new(value, Vec::new()).print(output)
}

fn is_answered(key: ApiKey, request: &Value) -> bool {
    key != ApiKey::Produce || request.get("acks").and_then(Value::as_i64).unwrap_or(0) != 0
}

/// The whole frame, its length in front.
fn frame(api: &Api, request: &Value, version: i16, client_id: &str) -> Result<Vec<u8>> {
    let header = RequestHeader {
        request_api_key: api.key as i16,
        request_api_version: version,
        correlation_id: CORRELATION_ID,
        client_id: Some(client_id.to_owned()),
        unknown_tagged_fields: Vec::new(),
    };
    let mut w = Writer::new();
    header.write(&mut w, request_header_version(api.key, version))?;
    json::encode(&api.request, request, version, &mut w)?;
    let body = w.into_bytes();
    let length = i32::try_from(body.len())?;
    Ok([&length.to_be_bytes()[..], &body].concat())
}

async fn exchange(address: &str, frame: &[u8], is_answered: bool) -> Result<Option<Bytes>> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(frame).await?;
        stream.flush().await?;
        if !is_answered {
            stream.shutdown().await?;
            // Until the broker has taken it all.
            stream.read_to_end(&mut Vec::new()).await?;
            return Ok(None);
        }
        let length = usize::try_from(stream.read_i32().await?).ok();
        let length = length.filter(|length| *length <= ANSWER_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("an answer of impossible length"))?;
        let mut answer = BytesMut::with_capacity(length.min(READ_BYTES_STEP));
        while answer.len() < length {
            let left = (length - answer.len()).min(READ_BYTES_STEP) as u64;
            answer.reserve(left as usize);
            if (&mut stream).take(left).read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok::<_, io::Error>(Some(answer.freeze()))
    };
    match tokio::time::timeout(ANSWER_LIMIT, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            bail!("{address} closed the connection, as brokers do when they cannot make sense of a request")
        }
        Ok(Err(error)) => Err(error).with_context(|| address.to_owned()),
        Err(_) => {
            Err(Failure::TimedOut(format!("{address}: no answer in {} s", ANSWER_LIMIT.as_secs())).into())
        }
    }
}

/// `topics[0].errorCode: UNKNOWN_TOPIC_OR_PARTITION` for each code that is not 0.
fn error_codes(path: &str, value: &Value, codes: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match value.as_i64().and_then(|code| i16::try_from(code).ok()) {
                    Some(code) if name.ends_with("rrorCode") && code != 0 => {
                        codes.push(format!("{path}: {}", ErrorCode::from_code(code).name()));
                    }
                    _ => error_codes(&path, value, codes),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                error_codes(&format!("{path}[{index}]"), item, codes);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn error_codes_are_named_with_their_places() {
        let mut codes = Vec::new();
        let value = json!({"errorCode": 0, "topics": [{"errorCode": 3, "x": [1]}]});
        error_codes("", &value, &mut codes);
        assert_eq!(codes, ["topics[0].errorCode: UNKNOWN_TOPIC_OR_PARTITION"]);
    }

    #[test]
    fn produce_without_acks_has_no_answer() {
        assert!(!is_answered(ApiKey::Produce, &json!({})));
        assert!(is_answered(ApiKey::Produce, &json!({"acks": -1})));
        assert!(is_answered(ApiKey::Metadata, &json!({})));
    }
}
