//! The schema tables of `xtask/schemas`: what a line says, and the model it becomes.
//!
//! A message is a line at the margin, its fields follow, indented by two blanks for each level:
//!
//! ```text
//! request 0 ProduceRequest versions 3-13 flexible 9+ listeners broker
//!   TransactionalId string nullable default null
//!   TopicData []TopicProduceData
//!     Name string 3-12 ignorable
//!   struct SharedByTwoFields
//!     Host string
//! ```
//!
//! Words of a field after its name and type: the versions that have it (all of its parent's, if there is
//! no such word), `nullable` (with versions, if not in all), `ignorable` (may be dropped in silence
//! by a version without it), `tag N`, `classic` (never in the compact form), `default X` (else zero, empty
//! or false; `null`). Lines starting with `#` are remarks.

use std::{error::Error, fmt};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) first: i16,
    pub(crate) last: i16,
}

impl Versions {
    /// `7`, `0-3`, or `5+` within `bounds`; `none` is `None`.
    pub(crate) fn parse(text: &str, bounds: Versions) -> Result<Option<Versions>, Box<dyn Error>> {
        if text == "none" {
            return Ok(None);
        }
        let (first, last) = match (text.strip_suffix('+'), text.split_once('-')) {
            (Some(first), _) => (first.parse()?, bounds.last),
            (None, Some((first, last))) => (first.parse()?, last.parse()?),
            (None, None) => (text.parse()?, text.parse()?),
        };
        Ok(Versions { first, last }.within(bounds))
    }

    pub(crate) fn within(self, other: Versions) -> Option<Versions> {
        let both = Versions { first: self.first.max(other.first), last: self.last.min(other.last) };
        (both.first <= both.last).then_some(both)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
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
    Bytes,
    /// On the wire as `Bytes`.
    Records,
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    pub(crate) fn parse(text: &str) -> Result<Type, Box<dyn Error>> {
        Ok(match text {
            "bool" => Type::Bool,
            "int8" => Type::Int8,
            "int16" => Type::Int16,
            "uint16" => Type::Uint16,
            "int32" => Type::Int32,
            "uint32" => Type::Uint32,
            "int64" => Type::Int64,
            "float64" => Type::Float64,
            "uuid" => Type::Uuid,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "records" => Type::Records,
            _ => match text.strip_prefix("[]") {
                Some(element) => Type::Array(Box::new(Type::parse(element)?)),
                None if text.starts_with(|c: char| c.is_ascii_uppercase()) => Type::Struct(text.to_owned()),
                None => return Err(format!("no type '{text}'").into()),
            },
        })
    }

    /// The struct that this is, or is an array of.
    pub(crate) fn struct_name(&self) -> Option<&str> {
        match self {
            Type::Struct(name) => Some(name),
            Type::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Type,
    pub(crate) versions: Versions,
    pub(crate) nullable: Option<Versions>,
    pub(crate) ignorable: bool,
    pub(crate) tag: Option<u32>,
    pub(crate) classic: bool,
    /// As in the table; `None` is zero, empty or false.
    pub(crate) default: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// `request`, `response`, `header`, `data`, `metadata`, `coordinator-key` or `coordinator-value`.
    pub(crate) kind: String,
    pub(crate) key: Option<i16>,
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) flexible: Option<Versions>,
    /// The last version is not offered unless asked for.
    pub(crate) latest_unstable: bool,
    pub(crate) listeners: Vec<String>,
    /// The message itself first, then its structs in the order in which they are met.
    pub(crate) structs: Vec<Struct>,
}

impl Message {
    pub(crate) fn body(&self) -> &Struct {
        &self.structs[0]
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Struct> {
        self.structs[1..].iter().find(|s| s.name == name)
    }
}

/// All messages of one table.
pub(crate) fn parse(text: &str) -> Result<Vec<Message>, Box<dyn Error>> {
    let mut messages: Vec<Message> = Vec::new();
    // For each level of indentation: the index of the struct that fields go to, if any.
    let mut open: Vec<Option<usize>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start_matches(' ');
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let level = (line.len() - content.len()) / 2;
        let result = match level {
            0 => head(content).map(|message| {
                messages.push(message);
                open = vec![Some(0)];
            }),
            _ => messages.last_mut().ok_or_else(|| "a field before any message".into()).and_then(|message| {
                open.truncate(level);
                open.push(line_within(message, &open, level, content)?);
                Ok(())
            }),
        };
        result.map_err(|e| format!("line {}: {e}: {line}", number + 1))?;
    }
    messages.iter().try_for_each(check_references)?;
    Ok(messages)
}

fn head(line: &str) -> Result<Message, Box<dyn Error>> {
    let mut words = line.split_whitespace().peekable();
    let kind = words.next().ok_or("no kind")?.to_owned();
    let key = words.next_if(|w| w.parse::<i16>().is_ok()).map(str::parse).transpose()?;
    let name = words.next().ok_or("no name")?.to_owned();
    let everything = Versions { first: 0, last: i16::MAX };
    let mut versions = everything;
    let mut flexible = None;
    let mut latest_unstable = false;
    let mut listeners = Vec::new();
    while let Some(word) = words.next() {
        if word == "latest-unstable" {
            latest_unstable = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("nothing after '{word}'"))?;
        match word {
            "versions" => versions = Versions::parse(value, everything)?.ok_or("no versions")?,
            "flexible" => flexible = Versions::parse(value, versions)?,
            "listeners" => listeners = value.split(',').map(str::to_owned).collect(),
            _ => return Err(format!("no such word: '{word}'").into()),
        }
    }
    let structs = vec![Struct { name: name.clone(), versions, fields: Vec::new() }];
    Ok(Message { kind, key, name, versions, flexible, latest_unstable, listeners, structs })
}

/// A field or the head of a shared struct; gives the struct that deeper lines belong to.
fn line_within(
    message: &mut Message,
    open: &[Option<usize>],
    level: usize,
    line: &str,
) -> Result<Option<usize>, Box<dyn Error>> {
    if open.len() != level {
        return Err("indented too far".into());
    }
    if let Some(name) = line.strip_prefix("struct ") {
        return new_struct(message, name, message.versions).map(Some);
    }
    let parent = open[level - 1].ok_or("a field below one that is not a struct")?;
    let field = field(line, message.structs[parent].versions)?;
    let inner = match field.kind.struct_name() {
        Some(name) if message.find(name).is_none() => Some((name.to_owned(), field.versions)),
        _ => None,
    };
    message.structs[parent].fields.push(field);
    // Whether lines follow is not known yet: a shared struct that comes later leaves this one empty, and
    // `new_struct` fills it then.
    inner.map(|(name, versions)| new_struct(message, &name, versions)).transpose()
}

fn new_struct(message: &mut Message, name: &str, versions: Versions) -> Result<usize, Box<dyn Error>> {
    if let Some(index) = message.structs.iter().position(|s| s.name == name) {
        if !message.structs[index].fields.is_empty() {
            return Err(format!("struct {name} is there twice").into());
        }
        message.structs[index].versions = versions;
        return Ok(index);
    }
    message.structs.push(Struct { name: name.to_owned(), versions, fields: Vec::new() });
    Ok(message.structs.len() - 1)
}

fn field(line: &str, parent: Versions) -> Result<Field, Box<dyn Error>> {
    let mut words = line.split_whitespace().peekable();
    let name = words.next().ok_or("no name")?.to_owned();
    let kind = Type::parse(words.next().ok_or("no type")?)?;
    let is_versions = |w: &&str| w.starts_with(|c: char| c.is_ascii_digit());
    let versions = match words.next_if(is_versions) {
        Some(text) => Versions::parse(text, parent)?.ok_or("no version has this")?,
        None => parent,
    };
    let mut field = Field {
        name,
        kind,
        versions,
        nullable: None,
        ignorable: false,
        tag: None,
        classic: false,
        default: None,
    };
    while let Some(word) = words.next() {
        match word {
            "nullable" => {
                field.nullable = match words.next_if(is_versions) {
                    Some(text) => Versions::parse(text, versions)?,
                    None => Some(versions),
                }
            }
            "ignorable" => field.ignorable = true,
            "classic" => field.classic = true,
            "tag" => field.tag = Some(words.next().ok_or("no tag")?.parse()?),
            "default" => field.default = Some(words.next().ok_or("no default")?.to_owned()),
            _ => return Err(format!("no such word: '{word}'").into()),
        }
    }
    Ok(field)
}

fn check_references(message: &Message) -> Result<(), Box<dyn Error>> {
    for owner in &message.structs {
        for name in owner.fields.iter().filter_map(|f| f.kind.struct_name()) {
            let found = message.find(name).ok_or_else(|| format!("{}: no struct {name}", message.name))?;
            if found.fields.is_empty() {
                return Err(format!("{}: struct {name} has no fields", message.name).into());
            }
        }
    }
    Ok(())
}
