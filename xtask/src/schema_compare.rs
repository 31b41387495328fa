//! `cargo xtask compare-schemas`: reads the JSON schemas inside Kafka's jars as if they were tables of
//! ours, and prints every difference. Those in `xtask/schema_differences.toml` are explained; any other,
//! and an explanation without a difference, is an error.
//!
//! Not compared, because it changes nothing on the wire: prose (`about`), `entityType`, `mapKey`,
//! `zeroCopy`, and `bytes` against `records`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::codegen::{
    self,
    table::{Field, Message, Struct, Type, Versions},
};

/// A jar, without its version, and where its schemas lie in it.
const JARS: [(&str, &str); 7] = [
    ("kafka-clients", "common/message"),
    ("kafka-metadata", "common/metadata"),
    ("kafka-group-coordinator", "common/message"),
    ("kafka-transaction-coordinator", "common/message"),
    ("kafka-share-coordinator", "common/message"),
    ("kafka-storage", "message"),
    ("kafka-raft", "common/message"),
];

#[derive(Deserialize)]
struct Explanations {
    #[serde(default)]
    difference: Vec<Explanation>,
}

#[derive(Deserialize)]
struct Explanation {
    what: String,
    why: String,
}

pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let [jars] = arguments else { bail!("usage: cargo xtask compare-schemas JARS_DIRECTORY") };
    let kafka = kafka_messages(Path::new(jars))?;
    let tables = codegen::tables(root)?;
    let ours = by_name(tables.into_iter().flat_map(|t| t.messages).collect())?;
    let differences = compare(&ours, &kafka);

    let path = root.join("xtask/schema_differences.toml");
    let explanations: Explanations = toml::from_str(&fs::read_to_string(&path)?)?;
    let explained: BTreeMap<&str, &str> =
        explanations.difference.iter().map(|d| (d.what.as_str(), d.why.as_str())).collect();
    let mut unexplained = 0;
    for difference in &differences {
        match explained.get(difference.as_str()) {
            Some(why) => eprintln!("known: {difference}: {why}"),
            None => {
                unexplained += 1;
                eprintln!("DIFFERENT: {difference}");
            }
        }
    }
    let stale: Vec<&&str> = explained.keys().filter(|what| !differences.contains(**what)).collect();
    for what in &stale {
        eprintln!("STALE in {}: {what}", path.display());
    }
    eprintln!("{} messages in the jars, {} in the tables", kafka.len(), ours.len());
    ensure!(
        unexplained == 0 && stale.is_empty(),
        "{unexplained} unexplained differences, {} stale explanations",
        stale.len()
    );
    Ok(())
}

fn by_name(messages: Vec<Message>) -> Result<BTreeMap<String, Message>> {
    let mut map = BTreeMap::new();
    for message in messages {
        let name = message.name.clone();
        ensure!(map.insert(name.clone(), message).is_none(), "{name} is there twice");
    }
    Ok(map)
}

fn compare(ours: &BTreeMap<String, Message>, kafka: &BTreeMap<String, Message>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let names: BTreeSet<&String> = ours.keys().chain(kafka.keys()).collect();
    for name in names {
        match (ours.get(name), kafka.get(name)) {
            (Some(ours), Some(kafka)) => compare_messages(ours, kafka, &mut found),
            (Some(_), None) => drop(found.insert(format!("{name} is not in Kafka's jars"))),
            (None, Some(_)) => drop(found.insert(format!("{name} is not in the tables"))),
            (None, None) => unreachable!("the name came from one of the two"),
        }
    }
    found
}

fn compare_messages(ours: &Message, kafka: &Message, found: &mut BTreeSet<String>) {
    let name = &ours.name;
    let mut property = |what: &str, ours: String, kafka: String| {
        if ours != kafka {
            found.insert(format!("{name}: {what} {ours} in the tables, {kafka} in Kafka"));
        }
    };
    property("kind", ours.kind.clone(), kafka.kind.clone());
    property("key", format!("{:?}", ours.key), format!("{:?}", kafka.key));
    property("versions", ours.versions.to_string(), kafka.versions.to_string());
    property("flexible", format!("{:?}", ours.flexible), format!("{:?}", kafka.flexible));
    property("latest-unstable", ours.latest_unstable.to_string(), kafka.latest_unstable.to_string());
    property("listeners", ours.listeners.join(","), kafka.listeners.join(","));
    let names: BTreeSet<&str> = ours.structs.iter().chain(&kafka.structs).map(|s| s.name.as_str()).collect();
    for item in names {
        let find = |message: &Message| message.structs.iter().find(|s| s.name == item).cloned();
        match (find(ours), find(kafka)) {
            (Some(ours), Some(kafka)) => compare_structs(name, &ours, &kafka, found),
            (ours, _) => {
                let place = if ours.is_some() { "Kafka" } else { "the tables" };
                found.insert(format!("{name}: struct {item} is not in {place}"));
            }
        }
    }
}

fn compare_structs(message: &str, ours: &Struct, kafka: &Struct, found: &mut BTreeSet<String>) {
    let name = if ours.name == message { message.to_owned() } else { format!("{message}.{}", ours.name) };
    if ours.versions != kafka.versions {
        found
            .insert(format!("{name}: versions {} in the tables, {} in Kafka", ours.versions, kafka.versions));
    }
    let fields = |item: &Struct| item.fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
    if fields(ours) != fields(kafka) {
        found.insert(format!(
            "{name}: fields {:?} in the tables, {:?} in Kafka",
            fields(ours),
            fields(kafka)
        ));
        return;
    }
    for (ours, kafka) in ours.fields.iter().zip(&kafka.fields) {
        if ours != kafka {
            found.insert(format!("{name}.{}: {ours:?} in the tables, {kafka:?} in Kafka", ours.name));
        }
    }
}

fn kafka_messages(jars: &Path) -> Result<BTreeMap<String, Message>> {
    let mut messages = Vec::new();
    for (jar, directory) in JARS {
        let path = find_jar(jars, jar)?;
        let texts = extract(&path, directory)?;
        eprintln!("{}: {} schemas", path.display(), texts.len());
        for (file, text) in texts {
            let json = serde_json::from_str(&without_comments(&text)).with_context(|| file.clone())?;
            messages.push(message(&json).with_context(|| file)?);
        }
    }
    by_name(messages)
}

/// `NAME-4.3.1.jar`, whatever the version.
fn find_jar(jars: &Path, name: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(jars).with_context(|| jars.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let file = path.file_name().and_then(|f| f.to_str()).unwrap_or_default();
        let version = file.strip_prefix(name).and_then(|f| f.strip_prefix('-'));
        if version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()) && v.ends_with(".jar")) {
            return Ok(path);
        }
    }
    bail!("no {name}-VERSION.jar in {}", jars.display())
}

/// The schemas of a jar by their names. The JDK's own `jar` opens it: Kafka needs a JDK anyway.
fn extract(jar: &Path, directory: &str) -> Result<Vec<(String, String)>> {
    let scratch = std::env::temp_dir().join(format!("millstream-schemas-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let jar = jar.canonicalize()?;
    let status = Command::new("jar").arg("xf").arg(&jar).arg(directory).current_dir(&scratch).status();
    ensure!(status.context("running the JDK's jar")?.success(), "jar could not open {}", jar.display());
    let mut texts = Vec::new();
    for entry in fs::read_dir(scratch.join(directory))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json") {
            texts.push((path.display().to_string(), fs::read_to_string(&path)?));
        }
    }
    fs::remove_dir_all(&scratch)?;
    Ok(texts)
}

/// Kafka's schemas are JSON with `//` remarks.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => in_string = !in_string,
            '\\' if in_string => {
                out.push(letter);
                out.extend(letters.next());
                continue;
            }
            '/' if !in_string && letters.peek() == Some(&'/') => {
                letters.by_ref().find(|l| *l == '\n');
                out.push('\n');
                continue;
            }
            _ => {}
        }
        out.push(letter);
    }
    out
}

fn message(json: &Value) -> Result<Message> {
    let name = string(json, "name")?;
    let everything = Versions { first: 0, last: i16::MAX };
    // Messages whose versions were all removed have no fields either.
    let versions = parse_versions(string(json, "validVersions")?, everything)?;
    let scope = versions.unwrap_or(everything);
    let flexible = json["flexibleVersions"].as_str().unwrap_or("none");
    let list = |key: &str| json[key].as_array().cloned().unwrap_or_default();
    let mut message = Message {
        kind: string(json, "type")?.to_owned(),
        key: json["apiKey"].as_i64().map(i16::try_from).transpose()?,
        name: name.to_owned(),
        versions: scope,
        flexible: parse_versions(flexible, scope)?,
        latest_unstable: json["latestVersionUnstable"].as_bool().unwrap_or(false),
        listeners: list("listeners").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        structs: Vec::new(),
    };
    add_struct(&mut message.structs, name, scope, &list("fields"))?;
    for common in list("commonStructs") {
        let versions = parse_versions(string(&common, "versions")?, scope)?.context("no versions")?;
        let fields = common["fields"].as_array().context("a struct without fields")?;
        add_struct(&mut message.structs, string(&common, "name")?, versions, fields)?;
    }
    Ok(message)
}

fn add_struct(structs: &mut Vec<Struct>, name: &str, versions: Versions, fields: &[Value]) -> Result<()> {
    let index = structs.len();
    structs.push(Struct { name: name.to_owned(), versions, fields: Vec::new() });
    for json in fields {
        let Some(field) = field(json, versions).with_context(|| format!("{name}: {json}"))? else { continue };
        if let (Some(inner), Some(fields)) = (field.kind.struct_name(), json["fields"].as_array()) {
            add_struct(structs, inner, field.versions, fields)?;
        }
        structs[index].fields.push(field);
    }
    Ok(())
}

/// `None` when no version that is left has the field.
fn field(json: &Value, parent: Versions) -> Result<Option<Field>> {
    let kind = Type::parse(string(json, "type")?).map_err(|e| anyhow!("{e}"))?;
    // Without versions of its own a tagged field has those of its tag.
    let versions = json["versions"].as_str().or(json["taggedVersions"].as_str()).context("no versions")?;
    let Some(versions) = parse_versions(versions, parent)? else { return Ok(None) };
    let tag = json["tag"].as_u64().map(u32::try_from).transpose()?;
    if tag.is_some() {
        let tagged = parse_versions(string(json, "taggedVersions")?, parent)?;
        ensure!(tagged == Some(versions), "tagged in some versions only, which the tables cannot say");
    }
    Ok(Some(Field {
        name: string(json, "name")?.to_owned(),
        versions,
        nullable: parse_versions(json["nullableVersions"].as_str().unwrap_or("none"), versions)?,
        ignorable: json["ignorable"].as_bool().unwrap_or(false),
        tag,
        classic: json["flexibleVersions"].as_str() == Some("none"),
        default: default(&kind, &json["default"])?,
        kind,
    }))
}

/// As the tables say it: nothing for zero, empty and false, numbers in decimal. A JSON `null` is no
/// default at all; the word `"null"` is one.
fn default(kind: &Type, json: &Value) -> Result<Option<String>> {
    let text = match json {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Ok(match kind {
        Type::String | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_) => {
            Some(text).filter(|t| !t.is_empty())
        }
        Type::Bool => Some(text).filter(|t| t == "true"),
        _ => {
            let number: i64 = match text.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16)?,
                None => text.parse()?,
            };
            Some(number.to_string()).filter(|t| t != "0")
        }
    })
}

fn parse_versions(text: &str, bounds: Versions) -> Result<Option<Versions>> {
    Versions::parse(text, bounds).map_err(|e| anyhow!("versions {text}: {e}"))
}

fn string<'a>(json: &'a Value, key: &str) -> Result<&'a str> {
    json[key].as_str().with_context(|| format!("no {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> BTreeMap<String, Message> {
        by_name(codegen::table::parse(text).unwrap()).unwrap()
    }

    fn kafka(json: &str) -> BTreeMap<String, Message> {
        by_name(vec![message(&serde_json::from_str(&without_comments(json)).unwrap()).unwrap()]).unwrap()
    }

    const JSON: &str = r#"{
        // a remark
        "apiKey": 3, "type": "request", "name": "FooRequest", "listeners": ["broker"],
        "validVersions": "1-4", "flexibleVersions": "2+",
        "fields": [
            { "name": "A", "type": "int32", "versions": "0+", "default": "0x7f", "about": "see // here" },
            { "name": "Gone", "type": "int32", "versions": "0" },
            { "name": "Bs", "type": "[]B", "versions": "3+", "nullableVersions": "4+", "fields": [
                { "name": "Name", "type": "string", "versions": "0+", "default": "null" }
            ]},
            { "name": "T", "type": "int64", "taggedVersions": "2+", "tag": 0, "default": -1, "ignorable": true }
        ]}"#;

    const TABLE: &str = "\
request 3 FooRequest versions 1-4 flexible 2+ listeners broker
  A int32 default 127
  Bs []B 3+ nullable 4+
    Name string default null
  T int64 2+ ignorable tag 0 default -1
";

    #[test]
    fn a_table_that_says_what_the_schema_says_does_not_differ() {
        assert_eq!(compare(&messages(TABLE), &kafka(JSON)), BTreeSet::new());
    }

    #[test]
    fn every_kind_of_difference_is_seen() {
        for (ours, theirs, expected) in [
            ("versions 1-4", "versions 1-3", "FooRequest: versions"),
            ("flexible 2+", "flexible 3+", "FooRequest: flexible"),
            ("listeners broker", "listeners controller", "FooRequest: listeners"),
            ("FooRequest", "BarRequest", "FooRequest is not in the tables"),
            ("A int32", "A int64", "FooRequest.A:"),
            ("A int32", "B int32", "FooRequest: fields"),
            ("default 127", "default 126", "FooRequest.A:"),
            ("nullable 4+", "nullable", "FooRequest.Bs:"),
            ("default null", "", "FooRequest.B.Name:"),
            ("ignorable", "", "FooRequest.T:"),
            ("tag 0", "tag 1", "FooRequest.T:"),
        ] {
            let found = compare(&messages(&TABLE.replacen(ours, theirs, 1)), &kafka(JSON));
            assert!(found.iter().any(|d| d.starts_with(expected)), "{ours} → {theirs}: {found:?}");
        }
    }
}
