//! Bytes of messages made from the schema tables alone: a second writer, independent of the generated one.

use super::table::{Field, Message, Struct, Type, Versions};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Smallest,
    Edge,
    Random,
}

impl Kind {
    /// The smallest, an edge case, then `random` random ones.
    pub(super) fn rounds(random: usize) -> impl Iterator<Item = (Kind, usize)> {
        [Kind::Smallest, Kind::Edge].into_iter().chain((0..random).map(|_| Kind::Random)).zip(0..)
    }

    pub(super) fn letter(self) -> char {
        match self {
            Kind::Smallest => 'S',
            Kind::Edge => 'E',
            Kind::Random => 'R',
        }
    }
}

pub(super) struct Values {
    kind: Kind,
    random: u64,
    out: Vec<u8>,
    tagged_fields: usize,
}

/// Where a message's structs are found, and in which version it is written.
#[derive(Clone, Copy)]
struct Scope<'a> {
    message: &'a Message,
    version: i16,
}

impl Scope<'_> {
    fn has(self, versions: Option<Versions>) -> bool {
        versions.is_some_and(|v| (v.first..=v.last).contains(&self.version))
    }

    fn is_flexible(self) -> bool {
        self.has(self.message.flexible)
    }
}

impl Values {
    pub(super) fn new(kind: Kind, seed: u64, salt: &str) -> Self {
        let random = salt.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Self { kind, random, out: Vec::new(), tagged_fields: 0 }
    }

    pub(super) fn message(&mut self, message: &Message, version: i16) -> Vec<u8> {
        self.structure(message.body(), Scope { message, version });
        std::mem::take(&mut self.out)
    }

    /// Whether any of the tagged fields that the tables know was written.
    pub(super) fn has_tagged_fields(&self) -> bool {
        self.tagged_fields > 0
    }

    /// SplitMix64, below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn structure(&mut self, item: &Struct, scope: Scope) {
        for field in item.fields.iter().filter(|f| f.tag.is_none() && scope.has(Some(f.versions))) {
            let flexible = scope.is_flexible() && !field.classic;
            self.field(field, flexible, scope);
        }
        if scope.is_flexible() {
            self.tagged_section(item, scope);
        }
    }

    fn field(&mut self, field: &Field, flexible: bool, scope: Scope) {
        if !scope.has(field.nullable) {
            return self.value(&field.kind, flexible, scope);
        }
        let null = match self.kind {
            Kind::Smallest => true,
            Kind::Edge => false,
            Kind::Random => self.below(4) == 0,
        };
        match (&field.kind, null) {
            // In a tagged field the byte in front is an unsigned varint.
            (Type::Struct(_), true) => self.out.push(if field.tag.is_some() { 0 } else { 0xff }),
            (Type::Struct(_), false) => {
                self.out.push(1);
                self.value(&field.kind, flexible, scope);
            }
            (_, true) if flexible => self.out.push(0),
            (Type::String, true) => self.out.extend((-1_i16).to_be_bytes()),
            (_, true) => self.out.extend((-1_i32).to_be_bytes()),
            (_, false) => self.value(&field.kind, flexible, scope),
        }
    }

    fn value(&mut self, kind: &Type, flexible: bool, scope: Scope) {
        match kind {
            Type::Bool => {
                let bit = self.number(1) & 1;
                self.out.push(bit as u8);
            }
            Type::Int8 => self.fixed(1),
            Type::Int16 | Type::Uint16 => self.fixed(2),
            Type::Int32 | Type::Uint32 => self.fixed(4),
            Type::Int64 => self.fixed(8),
            // Half of all bit patterns would be fine; not-a-numbers are not equal to themselves.
            Type::Float64 => {
                let number = self.number(4) as i32;
                self.out.extend((f64::from(number) / 3.0).to_be_bytes());
            }
            Type::Uuid => {
                self.fixed(8);
                self.fixed(8);
            }
            Type::String => self.string(flexible),
            Type::Bytes | Type::Records => self.bytes(flexible),
            Type::Struct(name) => {
                let item = scope.message.find(name).expect("the table was checked");
                self.structure(item, scope);
            }
            Type::Array(element) => self.array(element, flexible, scope),
        }
    }

    fn fixed(&mut self, size: usize) {
        let number = self.number(size).to_be_bytes();
        self.out.extend(&number[8 - size..]);
    }

    /// Fits `size` bytes.
    fn number(&mut self, size: usize) -> i64 {
        let max = i64::MAX >> (64 - 8 * size);
        let edges = [0, 1, -1, max, -max - 1];
        let kind = self.kind;
        match kind {
            Kind::Smallest => 0,
            Kind::Random if self.below(3) > 0 => self.below(u64::MAX) as i64 & max,
            Kind::Edge | Kind::Random => edges[self.below(5) as usize],
        }
    }

    fn string(&mut self, flexible: bool) {
        let strings = ["", "a", "tøpic-ñ", "名前", &"x".repeat(130), "\u{1f600}"];
        let kind = self.kind;
        let text = match kind {
            Kind::Smallest => String::new(),
            Kind::Edge if self.below(50) == 0 => "e".repeat(32_767),
            Kind::Edge => "e".repeat(127),
            Kind::Random => strings[self.below(6) as usize].to_owned(),
        };
        if flexible {
            self.uvarint(text.len() + 1);
        } else {
            self.out.extend((text.len() as i16).to_be_bytes());
        }
        self.out.extend(text.as_bytes());
    }

    fn bytes(&mut self, flexible: bool) {
        let bytes = self.some_bytes();
        self.length(flexible, bytes.len());
        self.out.extend(bytes);
    }

    fn some_bytes(&mut self) -> Vec<u8> {
        let kind = self.kind;
        let count = match kind {
            Kind::Smallest => 0,
            Kind::Edge if self.below(20) == 0 => 20_000,
            Kind::Edge => 128,
            Kind::Random if self.below(3) == 0 => self.below(2_000),
            Kind::Random => self.below(20),
        };
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    fn array(&mut self, element: &Type, flexible: bool, scope: Scope) {
        let count = match self.kind {
            Kind::Smallest => 0,
            Kind::Edge if element.struct_name().is_some() => 2,
            Kind::Edge => 130,
            Kind::Random => self.below(4) as usize,
        };
        self.length(flexible, count);
        for _ in 0..count {
            self.value(element, flexible, scope);
        }
    }

    fn tagged_section(&mut self, item: &Struct, scope: Scope) {
        let mut fields: Vec<(u32, Vec<u8>)> = Vec::new();
        if self.kind != Kind::Smallest {
            for field in item.fields.iter().filter(|f| scope.has(Some(f.versions))) {
                let Some(tag) = field.tag else { continue };
                if self.kind == Kind::Edge || self.below(2) == 0 {
                    let before = std::mem::take(&mut self.out);
                    self.field(field, true, scope);
                    fields.push((tag, std::mem::replace(&mut self.out, before)));
                    self.tagged_fields += 1;
                }
            }
            if self.kind == Kind::Edge || self.below(4) == 0 {
                fields.push((100 + self.below(1_000_000) as u32, self.some_bytes()));
            }
        }
        fields.sort();
        self.uvarint(fields.len());
        for (tag, bytes) in fields {
            self.uvarint(tag as usize);
            self.uvarint(bytes.len());
            self.out.extend(bytes);
        }
    }

    fn length(&mut self, flexible: bool, length: usize) {
        if flexible {
            self.uvarint(length + 1);
        } else {
            self.out.extend((length as i32).to_be_bytes());
        }
    }

    fn uvarint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}
