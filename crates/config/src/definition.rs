//! What is known of a key. Definitions are constants, written as a chain of adjectives.

use crate::{ConfigError, Value, value};

/// The type of a value; Kafka's `ConfigDef.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Kind {
    /// The code in a DescribeConfigs response.
    pub fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    /// As Kafka's documentation and error messages write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// Whether a broker key may change while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only in the static configuration.
    ReadOnly,
    /// For one broker, not for all at once.
    PerBroker,
    /// For one broker or as the default of all.
    ClusterWide,
}

/// What a key is a key of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Broker,
    Topic,
    Group,
    ClientMetrics,
    /// Millstream's own options at the top of `millstream.toml`.
    Program,
    /// What every client has.
    Client,
    Producer,
    Consumer,
}

/// Whether the key does anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Honoured,
    /// Accepted, stored and reported once at the start, but nothing reads it.
    None(Why),
    /// Ignoring it would be unsafe, so a setting of it is an error at the start.
    Refused(Why),
}

/// Why a key of Kafka's has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    OneNode,
    OneVoter,
    TieredStorage,
    JavaClass,
    Threads,
    Security,
    Transactions,
    Compaction,
    NewGroups,
    Quotas,
    Jvm,
    NoPurgatory,
    OwnPlace,
    OneLevel,
    NoPush,
    OneBackoff,
    KeptMetadata,
    EvenSpread,
    AlwaysChecked,
    TwoPhases,
}

impl Why {
    pub(crate) const ALL: [Why; 20] = [
        Why::OneNode,
        Why::OneVoter,
        Why::TieredStorage,
        Why::JavaClass,
        Why::Threads,
        Why::Security,
        Why::Transactions,
        Why::Compaction,
        Why::NewGroups,
        Why::Quotas,
        Why::Jvm,
        Why::NoPurgatory,
        Why::OwnPlace,
        Why::OneLevel,
        Why::NoPush,
        Why::OneBackoff,
        Why::KeptMetadata,
        Why::EvenSpread,
        Why::AlwaysChecked,
        Why::TwoPhases,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Why::OneNode => "a single node has no other brokers to replicate to or from",
            Why::OneVoter => "the metadata log has one voter, this node",
            Why::TieredStorage => "there is no tiered storage",
            Why::JavaClass => "Java classes cannot be loaded",
            Why::Threads => "threads and buffers are sized by the runtime",
            Why::Security => "TLS, SASL and authorization are not there yet",
            Why::Transactions => "transactions are not there yet",
            Why::Compaction => "compaction is not there yet",
            Why::NewGroups => "this kind of group is not there yet",
            Why::Quotas => "quotas are not there yet",
            Why::Jvm => "it concerns the JVM or its metrics reporters",
            Why::NoPurgatory => "parked requests are released at once, so there is nothing to purge",
            Why::OwnPlace => "the metadata log lives in the first of log.dirs",
            Why::OneLevel => "the encoder of lz4 has one level, a fast one",
            Why::NoPush => "a client's metrics are read from it, not pushed to brokers",
            Why::OneBackoff => {
                "connections are tried again after `retry.backoff.ms`, as everything is, and each attempt is given the same time"
            }
            Why::KeptMetadata => "what is known of a topic is kept as long as the client lives",
            Why::EvenSpread => "records without a key go to all partitions in turn, a batch to each",
            Why::AlwaysChecked => "checksums are always checked",
            Why::TwoPhases => "transactions that others coordinate (KIP-939) are not there yet",
        }
    }
}

/// A broker key that gives a topic or group key its default, or stands in for another broker key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    pub unit: Unit,
}

/// How a synonym's number becomes the key's own unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Same,
    Minutes,
    Hours,
}

impl Unit {
    pub(crate) fn millis(self, number: i64) -> i64 {
        match self {
            Unit::Same => number,
            Unit::Minutes => number.saturating_mul(60_000),
            Unit::Hours => number.saturating_mul(3_600_000),
        }
    }
}

pub(crate) const fn same(name: &'static str) -> Synonym {
    Synonym { name, unit: Unit::Same }
}
pub(crate) const fn minutes(name: &'static str) -> Synonym {
    Synonym { name, unit: Unit::Minutes }
}
pub(crate) const fn hours(name: &'static str) -> Synonym {
    Synonym { name, unit: Unit::Hours }
}

/// Which values are allowed beyond their type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Validator {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// `compression.gzip.level`: a range or one special value.
    BetweenOr(i64, i64, i64),
    OneOf(&'static [&'static str]),
    OneOfIgnoringCase(&'static [&'static str]),
    /// Every element of a list is one of these.
    ListOf(&'static [&'static str]),
    NonEmpty,
    /// `*` or `partition:broker,…`.
    ThrottledReplicas,
    /// `earliest`, `latest`, `by_duration:PnDTnHnMn.nS`.
    ShareOffsetReset,
    /// The same and `none`. The client has a type for it, which does the checking.
    OffsetReset,
}

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    pub scope: Scope,
    /// As text; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// Kafka's default where ours differs.
    pub kafka_default: Option<&'static str>,
    pub importance: Importance,
    pub update: UpdateMode,
    pub effect: Effect,
    /// Accepted, but not listed by DescribeConfigs unless set.
    pub internal: bool,
    pub doc: &'static str,
    /// Of a topic or group key: the broker keys that give its default, the first that is set counting.
    /// Of a broker key: the keys of the same meaning, itself first, as DescribeConfigs chains them.
    pub synonyms: &'static [Synonym],
    pub(crate) validator: Validator,
}

impl Definition {
    pub(crate) const fn new(scope: Scope, name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self {
            name,
            kind,
            scope,
            default: Some(default),
            kafka_default: None,
            importance: Importance::Medium,
            update: UpdateMode::ReadOnly,
            effect: Effect::Honoured,
            internal: false,
            doc: "",
            synonyms: &[],
            validator: Validator::Any,
        }
    }

    pub(crate) const fn null(mut self) -> Self {
        self.default = None;
        self
    }
    pub(crate) const fn kafka_default(mut self, default: &'static str) -> Self {
        self.kafka_default = Some(default);
        self
    }
    pub(crate) const fn high(mut self) -> Self {
        self.importance = Importance::High;
        self
    }
    pub(crate) const fn low(mut self) -> Self {
        self.importance = Importance::Low;
        self
    }
    pub(crate) const fn per_broker(mut self) -> Self {
        self.update = UpdateMode::PerBroker;
        self
    }
    pub(crate) const fn cluster_wide(mut self) -> Self {
        self.update = UpdateMode::ClusterWide;
        self
    }
    pub(crate) const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }
    pub(crate) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }
    pub(crate) const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
    pub(crate) const fn from(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }
    pub(crate) const fn valid(mut self, validator: Validator) -> Self {
        self.validator = validator;
        self
    }
    pub(crate) const fn at_least(self, min: i64) -> Self {
        self.valid(Validator::AtLeast(min))
    }
    pub(crate) const fn between(self, min: i64, max: i64) -> Self {
        self.valid(Validator::Between(min, max))
    }
    pub(crate) const fn one_of(self, values: &'static [&'static str]) -> Self {
        self.valid(Validator::OneOf(values))
    }

    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    pub fn is_honoured(&self) -> bool {
        self.effect == Effect::Honoured
    }

    /// Whether it can be altered while the broker runs, and then takes effect at once.
    pub fn is_dynamic(&self) -> bool {
        self.is_honoured() && self.update != UpdateMode::ReadOnly
    }

    /// The text as a value of this key's type and range, or Kafka's message why not.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let value = value::parse(self.name, self.kind, text)?;
        self.validator.check(self.name, &value)?;
        Ok(value)
    }

    /// The allowed values, as Kafka's documentation writes them; empty when everything is.
    pub fn valid_values(&self) -> String {
        match self.validator {
            Validator::Any => String::new(),
            Validator::AtLeast(min) => format!("[{min},...]"),
            Validator::Between(min, max) => format!("[{min},...,{max}]"),
            Validator::BetweenOr(min, max, other) => format!("[{min},...,{max}] or {other}"),
            Validator::OneOf(values) | Validator::ListOf(values) => format!("[{}]", values.join(", ")),
            Validator::OneOfIgnoringCase(values) => format!("(case insensitive) [{}]", values.join(", ")),
            Validator::NonEmpty => "not empty".into(),
            Validator::ThrottledReplicas => "[partitionId]:[brokerId],[partitionId]:[brokerId],...".into(),
            Validator::ShareOffsetReset => "[latest, earliest, by_duration:PnDTnHnMn.nS]".into(),
            Validator::OffsetReset => "[latest, earliest, none, by_duration:PnDTnHnMn.nS]".into(),
        }
    }
}
