//! A message of the tables as a Rust module. What comes out is meant to be read; `rustfmt` lays it out.

use std::fmt::Write as _;

use super::table::{Field, Message, Struct, Type, Versions};

/// The module of one message: its struct, the structs within, reading and writing; where `json`, they can
/// be shown as JSON with Kafka's field names.
pub(crate) fn module(message: &Message, json: bool) -> String {
    let mut out = String::new();
    let name = &message.name;
    let flexible = match message.flexible {
        None => "none of them flexible".to_owned(),
        Some(f) if f == message.versions => "flexible".to_owned(),
        Some(f) => format!("flexible from {}", f.first),
    };
    let unstable = if message.latest_unstable { "; the last one is unstable" } else { "" };
    let plural = if message.versions.first == message.versions.last { "Version" } else { "Versions" };
    emit(&mut out, format!("pub mod {} {{ use super::*;\n", snake(name)));
    emit(&mut out, format!("/// {plural} {}, {flexible}{unstable}.", message.versions));
    for item in &message.structs {
        StructEmitter { message, item, json, out: &mut out }.emit();
    }
    emit(&mut out, message_impl(message));
    emit(&mut out, "}".to_owned());
    out
}

fn emit(out: &mut String, text: String) {
    out.push_str(&text);
    out.push('\n');
}

fn message_impl(message: &Message) -> String {
    let Message { name, versions, .. } = message;
    let (first, last) = (versions.first, versions.last);
    let stable = if message.latest_unstable { last - 1 } else { last };
    let latest = match message.latest_unstable {
        true => format!("const LATEST_VERSION: i16 = {last};"),
        false => String::new(),
    };
    let (parameter, flexible) = match message.flexible {
        None => ("_version", "false".to_owned()),
        Some(f) if f.first == first => ("_version", "true".to_owned()),
        Some(f) => ("version", format!("version >= {}", f.first)),
    };
    format!(
        "impl Message for {name} {{
            const NAME: &'static str = \"{name}\";
            const MIN_VERSION: i16 = {first};
            const MAX_VERSION: i16 = {stable};
            {latest}

            fn is_flexible({parameter}: i16) -> bool {{ {flexible} }}

            fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {{ Self::read(r, version) }}

            fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{
                Self::write(self, w, version)
            }}
        }}"
    )
}

struct StructEmitter<'a> {
    message: &'a Message,
    item: &'a Struct,
    json: bool,
    out: &'a mut String,
}

impl StructEmitter<'_> {
    fn emit(&mut self) {
        let derived_default = self.item.fields.iter().all(has_derived_default);
        self.definition(derived_default);
        if !derived_default {
            self.default();
        }
        let name = self.item.name.clone();
        self.line(format!("impl {name} {{"));
        self.read();
        self.line(String::new());
        self.write();
        self.line("}\n".to_owned());
    }

    fn line(&mut self, text: String) {
        emit(self.out, text);
    }

    fn is_message(&self) -> bool {
        std::ptr::eq(self.item, self.message.body())
    }

    fn definition(&mut self, derived_default: bool) {
        let default = if derived_default { ", Default" } else { "" };
        self.line(format!("#[derive(Debug, Clone, PartialEq{default})]"));
        if self.json {
            let attribute = "derive(serde::Serialize), serde(rename_all = \"camelCase\")";
            self.line(format!("#[cfg_attr(feature = \"json\", {attribute})]"));
        }
        self.line(format!("pub struct {} {{", self.item.name));
        for field in &self.item.fields {
            if field.versions != self.item.versions {
                let open = field.versions.last == self.item.versions.last;
                let span = match open {
                    true => format!("{}+", field.versions.first),
                    false => field.versions.to_string(),
                };
                let plural = if !open && field.versions.first == field.versions.last { "" } else { "s" };
                self.line(format!("/// Version{plural} {span}."));
            }
            if self.json && is_opaque(&field.kind) {
                self.line(
                    "#[cfg_attr(feature = \"json\", serde(serialize_with = \"crate::json::opaque\"))]"
                        .to_owned(),
                );
            }
            self.line(format!("pub {}: {},", field_name(field), field_type(field)));
        }
        if self.message.flexible.is_some() {
            if self.json {
                self.line("#[cfg_attr(feature = \"json\", serde(skip))]".to_owned());
            }
            self.line("pub unknown_tagged_fields: Vec<(u32, Bytes)>,".to_owned());
        }
        self.line("}\n".to_owned());
    }

    fn default(&mut self) {
        self.line(format!("impl Default for {} {{ fn default() -> Self {{ Self {{", self.item.name));
        for field in &self.item.fields {
            self.line(format!("{}: {},", field_name(field), default(field)));
        }
        if self.message.flexible.is_some() {
            self.line("unknown_tagged_fields: Vec::new(),".to_owned());
        }
        self.line("} } }\n".to_owned());
    }

    /// `true`, `false`, or the variable that says whether this version is flexible.
    fn flexible(&self) -> &'static str {
        match self.message.flexible {
            None => "false",
            Some(f) if f.first <= self.item.versions.first => "true",
            Some(f) if f.first > self.item.versions.last => "false",
            Some(_) => "flexible",
        }
    }

    fn flexible_of(&self, field: &Field) -> &'static str {
        if field.classic { "false" } else { self.flexible() }
    }

    fn untagged(&self) -> impl Iterator<Item = &Field> {
        self.item.fields.iter().filter(|f| f.tag.is_none())
    }

    fn tagged(&self) -> Vec<&Field> {
        let mut fields: Vec<&Field> = self.item.fields.iter().filter(|f| f.tag.is_some()).collect();
        fields.sort_by_key(|f| f.tag);
        fields
    }

    /// The head of `read` or `write`, with the parameters that the body uses.
    fn function(&mut self, signature: &str, check: &str, body: &str) {
        let let_flexible = match self.message.flexible {
            Some(f) if uses(body, "flexible") => format!("let flexible = version >= {};", f.first),
            _ => String::new(),
        };
        let visibility = if self.is_message() { "pub " } else { "" };
        let check = if self.is_message() { check } else { "" };
        let version =
            if uses(&format!("{check}{let_flexible}{body}"), "version") { "version" } else { "_version" };
        let signature = signature.replace("VERSION", version);
        self.line(format!("{visibility}fn {signature} {{ {check} {let_flexible} {body} }}"));
    }

    fn read(&mut self) {
        let flexible = self.flexible();
        let mut body = String::new();
        for field in self.untagged() {
            let expression = conditional(
                field.versions,
                self.item.versions,
                &read_nullable(field, self.flexible_of(field)),
                &default(field),
            );
            emit(&mut body, format!("{}: {expression},", field_name(field)));
        }
        let tagged = self.tagged();
        for field in &tagged {
            emit(&mut body, format!("{}: {},", field_name(field), default(field)));
        }
        let whole = if tagged.is_empty() {
            if self.message.flexible.is_some() {
                emit(&mut body, format!("unknown_tagged_fields: r.unknown_tagged_fields({flexible})?,"));
            }
            format!("Ok(Self {{ {body} }})")
        } else {
            let section = self.read_tagged(&tagged);
            let section = if flexible == "true" { section } else { format!("if {flexible} {{ {section} }}") };
            format!(
                "let mut message = Self {{ {body} unknown_tagged_fields: Vec::new() }}; {section} Ok(message)"
            )
        };
        self.function(
            "read(r: &mut Reader, VERSION: i16) -> Result<Self, DecodeError>",
            "r.expect_version::<Self>(version)?;",
            &whole,
        );
    }

    fn read_tagged(&self, tagged: &[&Field]) -> String {
        let mut arms = String::new();
        let scope = self.message.flexible.and_then(|f| f.within(self.item.versions));
        let scope = scope.expect("a tagged field stands in a flexible version");
        for field in tagged {
            let tag = field.tag.expect("only tagged fields are here");
            let read = format!("message.{} = {}", field_name(field), read_nullable(field, "true"));
            match condition(field.versions, scope) {
                None => emit(&mut arms, format!("{tag} => {read},")),
                Some(condition) => {
                    emit(&mut arms, format!("{tag} if {condition} => {read},"));
                    emit(&mut arms, format!("{tag} => return Err(r.tag_of_other_versions({tag}, version)),"));
                }
            }
        }
        format!(
            "message.unknown_tagged_fields = r.tagged_fields(|tag, r| {{
                match tag {{ {arms} _ => return Ok(false), }}
                Ok(true)
            }})?;"
        )
    }

    fn write(&mut self) {
        let flexible = self.flexible();
        let mut body = String::new();
        for field in self.untagged() {
            let write =
                write_nullable(field, self.flexible_of(field), "w", &format!("self.{}", field_name(field)));
            let write = format!("{write};");
            let refusal = if field.ignorable { None } else { Some(self.refusal(field)) };
            emit(
                &mut body,
                conditional_statement(field.versions, self.item.versions, &write, refusal.as_deref()),
            );
        }
        let tagged = self.tagged();
        if self.message.flexible.is_some() {
            let unknown = "&self.unknown_tagged_fields";
            if tagged.is_empty() {
                emit(&mut body, format!("w.unknown_tagged_fields({flexible}, {unknown})"));
            } else {
                emit(&mut body, "let mut tagged = TaggedFields::default();".to_owned());
                for field in &tagged {
                    emit(&mut body, self.write_tagged(field));
                }
                emit(&mut body, format!("tagged.finish(w, {flexible}, {unknown})"));
            }
        } else {
            emit(&mut body, "Ok(())".to_owned());
        }
        let w = if uses(&body, "w") || self.is_message() { "w" } else { "_w" };
        self.function(
            &format!("write(&self, {w}: &mut Writer, VERSION: i16) -> Result<(), EncodeError>"),
            "w.expect_version::<Self>(version)?;",
            &body,
        );
    }

    fn write_tagged(&self, field: &Field) -> String {
        let name = field_name(field);
        let tag = field.tag.expect("only tagged fields are here");
        let value = format!("self.{name}");
        let inner = write_nullable(field, "true", "w", &value);
        let closure = match inner.strip_suffix('?') {
            Some(fallible) => format!("|w| {fallible}"),
            None => format!("|w| {{ {inner}; Ok(()) }}"),
        };
        let put = format!("tagged.put({tag}, {closure})?;");
        let set = is_set(field);
        match condition(field.versions, self.item.versions) {
            None => format!("if {set} {{ {put} }}"),
            Some(versions) if field.ignorable => format!("if {versions} && {set} {{ {put} }}"),
            Some(versions) => {
                format!("if {versions} {{ if {set} {{ {put} }} }} else if {set} {{ {} }}", self.absent(field))
            }
        }
    }

    fn refusal(&self, field: &Field) -> String {
        format!("else if {} {{ {} }}", is_set(field), self.absent(field))
    }

    fn absent(&self, field: &Field) -> String {
        let name = field_name(field);
        format!("return Err(EncodeError::not_in_version(\"{}\", \"{name}\", version));", self.item.name)
    }
}

/// Whether an identifier stands in a piece of code.
fn uses(code: &str, identifier: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == identifier)
}

/// When a field of `versions` is there, given that the version is within `scope`; `None` is always.
fn condition(versions: Versions, scope: Versions) -> Option<String> {
    match (versions.first > scope.first, versions.last < scope.last) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", versions.first)),
        (false, true) => Some(format!("version <= {}", versions.last)),
        (true, true) if versions.first == versions.last => Some(format!("version == {}", versions.first)),
        (true, true) => Some(format!("({}..={}).contains(&version)", versions.first, versions.last)),
    }
}

fn conditional(versions: Versions, scope: Versions, yes: &str, no: &str) -> String {
    match condition(versions, scope) {
        None => yes.to_owned(),
        Some(condition) => format!("if {condition} {{ {yes} }} else {{ {no} }}"),
    }
}

fn conditional_statement(versions: Versions, scope: Versions, yes: &str, refusal: Option<&str>) -> String {
    match condition(versions, scope) {
        None => yes.to_owned(),
        Some(condition) => format!("if {condition} {{ {yes} }} {}", refusal.unwrap_or_default()),
    }
}

fn read_nullable(field: &Field, flexible: &str) -> String {
    let Some(nullable) = field.nullable else { return read(&field.kind, flexible) };
    let can_be_null = match &field.kind {
        Type::String => format!("r.nullable_string({flexible})?"),
        Type::Bytes => format!("r.nullable_bytes({flexible})?"),
        Type::Records => format!("r.nullable_payload({flexible})?"),
        Type::Array(element) => format!("r.nullable_array({flexible}, {})?", read_element(element, flexible)),
        Type::Struct(name) => format!("r.{}(|r| {name}::read(r, version))?", nullable_name(field)),
        other => panic!("{}: {other:?} cannot be null", field.name),
    };
    conditional(nullable, field.versions, &can_be_null, &format!("Some({})", read(&field.kind, flexible)))
}

fn read(kind: &Type, flexible: &str) -> String {
    match kind {
        Type::String => format!("r.string({flexible})?"),
        Type::Bytes => format!("r.bytes({flexible})?"),
        Type::Records => format!("r.payload({flexible})?"),
        Type::Struct(name) => format!("{name}::read(r, version)?"),
        Type::Array(element) => format!("r.array({flexible}, {})?", read_element(element, flexible)),
        fixed => format!("r.{}()?", fixed_name(fixed)),
    }
}

fn read_element(kind: &Type, flexible: &str) -> String {
    match kind {
        Type::String | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_) => {
            let read = read(kind, flexible);
            format!("|r| {}", read.strip_suffix('?').expect("every read can fail"))
        }
        fixed => format!("Reader::{}", fixed_name(fixed)),
    }
}

/// An expression without the semicolon.
fn write_nullable(field: &Field, flexible: &str, w: &str, value: &str) -> String {
    let Some(nullable) = field.nullable else { return write(&field.kind, flexible, w, value) };
    let can_be_null = match &field.kind {
        Type::String => format!("{w}.nullable_string({flexible}, {value}.as_deref())?"),
        Type::Bytes => format!("{w}.nullable_bytes({flexible}, {value}.as_ref())?"),
        Type::Records => format!("{w}.nullable_payload({flexible}, {value}.as_ref())?"),
        Type::Array(element) => {
            format!(
                "{w}.nullable_array({flexible}, {value}.as_deref(), {})?",
                write_element(element, flexible)
            )
        }
        Type::Struct(_) => {
            format!("{w}.{}({value}.as_ref(), |w, e| e.write(w, version))?", nullable_name(field))
        }
        other => panic!("{}: {other:?} cannot be null", field.name),
    };
    let Some(condition) = condition(nullable, field.versions) else { return can_be_null };
    let view = if field.kind == Type::Bytes { "as_ref" } else { "as_deref" };
    let present = format!("{value}.{view}().ok_or(EncodeError::Null)?");
    let never_null = match &field.kind {
        Type::String => format!("{w}.string({flexible}, {present})?"),
        Type::Bytes => format!("{w}.bytes({flexible}, {present})?"),
        Type::Array(element) => {
            format!("{w}.array({flexible}, {present}, {})?", write_element(element, flexible))
        }
        other => panic!("{}: {other:?} is nullable in some versions only", field.name),
    };
    format!("if {condition} {{ {can_be_null}; }} else {{ {never_null}; }}")
}

fn write(kind: &Type, flexible: &str, w: &str, value: &str) -> String {
    match kind {
        Type::String => format!("{w}.string({flexible}, &{value})?"),
        Type::Bytes => format!("{w}.bytes({flexible}, &{value})?"),
        Type::Records => format!("{w}.payload({flexible}, &{value})?"),
        Type::Struct(_) => format!("{value}.write({w}, version)?"),
        Type::Array(element) => {
            format!("{w}.array({flexible}, &{value}, {})?", write_element(element, flexible))
        }
        fixed => format!("{w}.{}({value})", fixed_name(fixed)),
    }
}

fn write_element(kind: &Type, flexible: &str) -> String {
    match kind {
        Type::String => format!("|w, e| w.string({flexible}, e)"),
        Type::Bytes => format!("|w, e| w.bytes({flexible}, e)"),
        Type::Struct(_) => "|w, e| e.write(w, version)".to_owned(),
        Type::Records | Type::Array(_) => panic!("no message has an array of {kind:?}"),
        fixed => format!("|w, e| {{ w.{}(*e); Ok(()) }}", fixed_name(fixed)),
    }
}

/// What reads and writes a struct that may be null.
fn nullable_name(field: &Field) -> &'static str {
    if field.tag.is_some() { "nullable_tagged" } else { "nullable" }
}

/// The Rust type, which is also the name of the functions that read and write it.
fn fixed_name(kind: &Type) -> &'static str {
    match kind {
        Type::Bool => "bool",
        Type::Int8 => "i8",
        Type::Int16 => "i16",
        Type::Uint16 => "u16",
        Type::Int32 => "i32",
        Type::Uint32 => "u32",
        Type::Int64 => "i64",
        Type::Float64 => "f64",
        Type::Uuid => "uuid",
        Type::String | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_) => {
            panic!("{kind:?} has no fixed size")
        }
    }
}

fn field_type(field: &Field) -> String {
    let plain = rust_type(&field.kind);
    if field.nullable.is_some() { format!("Option<{plain}>") } else { plain }
}

fn rust_type(kind: &Type) -> String {
    match kind {
        Type::String => "String".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Records => "Payload".to_owned(),
        Type::Uuid => "Uuid".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", rust_type(element)),
        fixed => fixed_name(fixed).to_owned(),
    }
}

/// Whether JSON shows it as base64.
fn is_opaque(kind: &Type) -> bool {
    match kind {
        Type::Bytes | Type::Uuid => true,
        Type::Array(element) => is_opaque(element),
        _ => false,
    }
}

/// Whether Kafka's default is Rust's.
fn has_derived_default(field: &Field) -> bool {
    match (&field.nullable, field.default.as_deref()) {
        (Some(_), default) => default == Some("null"),
        (None, default) => default.is_none(),
    }
}

fn default(field: &Field) -> String {
    let plain = match (&field.kind, field.default.as_deref()) {
        (_, Some("null")) => return "None".to_owned(),
        (Type::Bool, default) => default.unwrap_or("false").to_owned(),
        (Type::String, None) => "String::new()".to_owned(),
        (Type::Bytes, None) => "Bytes::new()".to_owned(),
        (Type::Records, None) => "Payload::default()".to_owned(),
        (Type::Uuid, None) => "Uuid::ZERO".to_owned(),
        (Type::Struct(name), None) => format!("{name}::default()"),
        (Type::Array(_), None) => "Vec::new()".to_owned(),
        (Type::Float64, None) => "0.0".to_owned(),
        (_, Some(number)) if number == i32::MAX.to_string() => "i32::MAX".to_owned(),
        (_, Some(number)) if number == i32::MIN.to_string() => "i32::MIN".to_owned(),
        (_, Some(number)) if number == i64::MAX.to_string() => "i64::MAX".to_owned(),
        (_, number) => number.unwrap_or("0").to_owned(),
    };
    if field.nullable.is_some() { format!("Some({plain})") } else { plain }
}

/// Whether a field differs from its default.
fn is_set(field: &Field) -> String {
    let value = format!("self.{}", field_name(field));
    if field.default.as_deref() == Some("null") {
        return format!("{value}.is_some()");
    }
    match (&field.kind, field.nullable.is_some()) {
        (Type::String, true) => format!("{value}.as_deref() != Some(\"\")"),
        (Type::Bytes | Type::Records | Type::Array(_), true) => {
            format!("{value}.as_ref().is_none_or(|v| !v.is_empty())")
        }
        (Type::String | Type::Bytes | Type::Records | Type::Array(_), false) => {
            format!("!{value}.is_empty()")
        }
        (Type::Uuid, _) => format!("!{value}.is_zero()"),
        (Type::Bool, _) => match field.default.as_deref() {
            Some("true") => format!("!{value}"),
            _ => value,
        },
        _ => format!("{value} != {}", default(field)),
    }
}

fn field_name(field: &Field) -> String {
    let name = snake(&field.name);
    match name.as_str() {
        "type" | "match" => format!("r#{name}"),
        _ => name,
    }
}

/// `TimeoutMs` → `timeout_ms`, `KRaftVersion` → `kraft_version`.
pub(crate) fn snake(name: &str) -> String {
    let letters: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    let mut out = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|i| letters[i]);
        let after = letters.get(index + 1);
        let starts_word = letter.is_ascii_uppercase()
            && before.is_some_and(|b| !b.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase));
        if starts_word {
            out.push('_');
        }
        let _infallible = write!(out, "{}", letter.to_ascii_lowercase());
    }
    out
}
