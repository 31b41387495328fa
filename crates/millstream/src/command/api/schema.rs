//! The tables from which the codec is generated (`xtask/schemas/client`), read when they are needed: what a
//! request says by its names, where the generated code knows only its types.
//!
//! The words of a line are explained in `xtask/src/codegen/table.rs`. The tables are ours and have been read by
//! the code generator: what it would refuse is not here.

use std::ops::RangeInclusive;

use anyhow::Result;
use millstream_protocol::ApiKey;

use crate::command::failure::Failure;

/// Every table, an API each.
static TABLES: &[&str] = &include!("tables.in");

#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) key: ApiKey,
    pub(super) request: Message,
    pub(super) response: Message,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) versions: RangeInclusive<i16>,
    flexible_from: Option<i16>,
    pub(super) fields: Vec<Field>,
    /// Structs that more than one field has.
    shared: Vec<(String, Vec<Field>)>,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    /// As JSON has it: `topicData`.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) versions: RangeInclusive<i16>,
    pub(super) nullable: Option<RangeInclusive<i16>>,
    pub(super) tag: Option<u32>,
    /// Never in the compact form.
    pub(super) is_classic: bool,
    pub(super) default: Option<String>,
    /// Of a struct, or an array of structs, unless it is a shared one.
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    /// Bytes, or records, which are bytes on the wire.
    Bytes,
    Struct(String),
    Array(Box<Kind>),
}

/// An API by its name, in whatever case, or by its key.
pub(super) fn find(name: &str) -> Result<Api> {
    let is_it = |key: &&ApiKey| key.name().eq_ignore_ascii_case(name) || name.parse() == Ok(**key as i16);
    let tables = TABLES.iter().map(|table| parse(table));
    let key = ApiKey::ALL.iter().find(is_it).copied();
    let api = key.and_then(|key| tables.flatten().find(|api| api.key == key));
    let missing = || {
        let text = format!("there is no API {name}; `millstream api versions` lists those that there are");
        Failure::NotFound(text).into()
    };
    api.ok_or_else(missing)
}

fn parse(table: &str) -> Option<Api> {
    let mut messages = Vec::new();
    let lines: Vec<(usize, &str)> = table
        .lines()
        .map(|line| ((line.len() - line.trim_start_matches(' ').len()) / 2, line.trim_start_matches(' ')))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let mut rest = lines.as_slice();
    while let Some(((0, head), below)) = rest.split_first() {
        let count = below.iter().take_while(|(level, _)| *level > 0).count();
        messages.push(message(head, &below[..count]));
        rest = &below[count..];
    }
    let key = lines.first()?.1.split_whitespace().nth(1)?.parse::<i16>().ok()?;
    let mut messages = messages.into_iter();
    Some(Api { key: ApiKey::try_from(key).ok()?, request: messages.next()?, response: messages.next()? })
}

fn message(head: &str, lines: &[(usize, &str)]) -> Message {
    let words: Vec<&str> = head.split_whitespace().collect();
    let value =
        |word: &str| words.iter().position(|known| *known == word).and_then(|at| words.get(at + 1)).copied();
    let versions = range(value("versions").unwrap_or("0+"), &(0..=i16::MAX)).unwrap_or(0..=0);
    let flexible = value("flexible").and_then(|text| range(text, &versions));
    let mut message = Message {
        name: words.get(2).copied().unwrap_or_default().to_owned(),
        flexible_from: flexible.map(|range| *range.start()),
        fields: Vec::new(),
        shared: Vec::new(),
        versions: versions.clone(),
    };
    let mut rest = lines;
    while let Some(((level, line), below)) = rest.split_first() {
        let count = below.iter().take_while(|(deeper, _)| deeper > level).count();
        match line.strip_prefix("struct ") {
            Some(name) => {
                let fields = fields(&below[..count], level + 1, &versions);
                message.shared.push((name.to_owned(), fields));
            }
            None => message.fields.extend(fields(&rest[..=count], *level, &versions)),
        }
        rest = &below[count..];
    }
    message
}

/// The fields at a level, with those below them.
fn fields(lines: &[(usize, &str)], level: usize, parent: &RangeInclusive<i16>) -> Vec<Field> {
    let mut all = Vec::new();
    let mut rest = lines;
    while let Some(((_, line), below)) = rest.split_first() {
        let count = below.iter().take_while(|(deeper, _)| *deeper > level).count();
        let mut field = field(line, parent);
        field.fields = fields(&below[..count], level + 1, &field.versions.clone());
        all.push(field);
        rest = &below[count..];
    }
    all
}

fn field(line: &str, parent: &RangeInclusive<i16>) -> Field {
    let mut words = line.split_whitespace().peekable();
    let name = words.next().unwrap_or_default();
    let kind = Kind::parse(words.next().unwrap_or_default());
    let is_versions = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let versions = words.next_if(is_versions).and_then(|text| range(text, parent));
    let versions = versions.unwrap_or_else(|| parent.clone());
    let mut field = Field {
        name: camel(name),
        kind,
        versions: versions.clone(),
        nullable: None,
        tag: None,
        is_classic: false,
        default: None,
        fields: Vec::new(),
    };
    while let Some(word) = words.next() {
        match word {
            "nullable" => {
                field.nullable = match words.next_if(is_versions) {
                    Some(text) => range(text, &versions),
                    None => Some(versions.clone()),
                }
            }
            "classic" => field.is_classic = true,
            "tag" => field.tag = words.next().and_then(|tag| tag.parse().ok()),
            "default" => field.default = words.next().map(str::to_owned),
            _ => {}
        }
    }
    field
}

/// As Kafka's own JSON names them: the first letter small.
fn camel(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

/// `7`, `0-3`, or `5+` within `bounds`.
fn range(text: &str, bounds: &RangeInclusive<i16>) -> Option<RangeInclusive<i16>> {
    let (first, last): (i16, i16) = match (text.strip_suffix('+'), text.split_once('-')) {
        (Some(first), _) => (first.parse().ok()?, *bounds.end()),
        (None, Some((first, last))) => (first.parse().ok()?, last.parse().ok()?),
        (None, None) => (text.parse().ok()?, text.parse().ok()?),
    };
    let both = first.max(*bounds.start())..=last.min(*bounds.end());
    (!both.is_empty()).then_some(both)
}

impl Kind {
    fn parse(text: &str) -> Self {
        match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" | "records" => Self::Bytes,
            _ => match text.strip_prefix("[]") {
                Some(element) => Self::Array(Box::new(Self::parse(element))),
                None => Self::Struct(text.to_owned()),
            },
        }
    }

    fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Array(element) => format!("[]{}", element.text()),
            Self::Struct(name) => name.clone(),
            other => format!("{other:?}").to_lowercase(),
        }
    }
}

impl Field {
    pub(super) fn kind_text(&self) -> String {
        let nullable = if self.nullable.is_some() { ", nullable" } else { "" };
        let tag = self.tag.map(|tag| format!(", tag {tag}")).unwrap_or_default();
        format!("{}{nullable}{tag}", self.kind.text())
    }

    pub(super) fn is_nullable(&self, version: i16) -> bool {
        self.nullable.as_ref().is_some_and(|versions| versions.contains(&version))
    }
}

impl Message {
    pub(super) fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|from| version >= from)
    }

    /// The fields of a field's struct.
    pub(super) fn below<'a>(&'a self, field: &'a Field) -> &'a [Field] {
        if !field.fields.is_empty() {
            return &field.fields;
        }
        let Some(name) = field.kind.struct_name() else { return &[] };
        let shared = self.shared.iter().find(|(known, _)| known == name).map(|(_, fields)| fields);
        match shared {
            Some(fields) => fields,
            // A struct that an earlier field laid out.
            None => find_laid_out(&self.fields, name).unwrap_or_default(),
        }
    }

    /// All fields with their paths: `topicData.partitionData.index`.
    pub(super) fn walk(&self) -> Vec<(String, &Field)> {
        let mut all = Vec::new();
        self.walk_into("", &self.fields, &mut all);
        all
    }

    fn walk_into<'a>(&'a self, path: &str, fields: &'a [Field], all: &mut Vec<(String, &'a Field)>) {
        for field in fields {
            let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            all.push((path.clone(), field));
            self.walk_into(&path, self.below(field), all);
        }
    }
}

fn find_laid_out<'a>(fields: &'a [Field], name: &str) -> Option<&'a [Field]> {
    fields.iter().find_map(|field| match field.kind.struct_name() {
        Some(known) if known == name && !field.fields.is_empty() => Some(field.fields.as_slice()),
        _ => find_laid_out(&field.fields, name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables say of versions what the generated code does, so none is missing and none is stale.
    #[test]
    fn every_api_has_its_table() {
        for key in ApiKey::ALL {
            let api = find(key.name()).unwrap();
            assert_eq!(api.key, *key);
            let offered = key.versions();
            assert!(api.request.versions.start() == offered.start(), "{}", key.name());
            assert!(api.request.versions.end() >= offered.end(), "{}", key.name());
            for message in [&api.request, &api.response] {
                for (path, field) in message.walk() {
                    let needs = field.kind.struct_name().is_some();
                    assert_eq!(needs, !message.below(field).is_empty(), "{} {path}", message.name);
                }
            }
        }
        assert_eq!(find("metadata").unwrap().key, find("3").unwrap().key);
        assert!(find("nonsense").is_err() && find("-1").is_err());
    }
}
