//! The keys of clients: those that all of them have, the producer's and the consumer's. Kafka's own clients have
//! them in `ProducerConfig`, `ConsumerConfig` and `AdminClientConfig`; what they say is in
//! `tests/fixtures`.

use crate::definition::{
    Definition, Effect,
    Kind::{self, *},
    Scope, Validator,
    Why::{self, *},
};

const fn key(name: &'static str, kind: Kind, default: &'static str) -> Definition {
    Definition::new(Scope::Client, name, kind, default)
}

const fn producer(name: &'static str, kind: Kind, default: &'static str) -> Definition {
    Definition::new(Scope::Producer, name, kind, default)
}

const fn consumer(name: &'static str, kind: Kind, default: &'static str) -> Definition {
    Definition::new(Scope::Consumer, name, kind, default)
}

impl Definition {
    const fn idle(self, why: Why) -> Self {
        self.effect(Effect::None(why))
    }
    const fn refused(self, why: Why) -> Self {
        self.effect(Effect::Refused(why))
    }
}

const RECOVERIES: &[&str] = &["REBOOTSTRAP", "NONE"];
const LOOKUPS: &[&str] = &["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"];
const RECORDING_LEVELS: &[&str] = &["INFO", "DEBUG", "TRACE"];
const PROTOCOLS: &[&str] = &["SASL_SSL", "PLAINTEXT", "SSL", "SASL_PLAINTEXT"];
const REPORTER: &str = "org.apache.kafka.common.metrics.JmxReporter";

#[rustfmt::skip]
pub(super) const CLIENT: &[Definition] = &[
    key("allow.auto.create.topics", Boolean, "true")
        .doc("Whether asking for a topic may create it, if the broker does that. For producers Kafka has no such key: they may."),
    key("bootstrap.controllers", List, "").high()
        .doc("In place of `bootstrap.servers`, for administration alone: addresses of KRaft controllers (KIP-919)."),
    key("bootstrap.servers", List, "").high()
        .doc("Where to learn of the cluster: `host:port`, several with commas between them. Any one that answers will do, and each address that a name has is tried."),
    key("client.id", String, "millstream").kafka_default("")
        .doc("The name by which brokers' logs, metrics and quotas know this client."),
    key("connections.max.idle.ms", Long, "540000")
        .doc("A connection without requests for so long is closed; a negative number: never."),
    key("default.api.timeout.ms", Int, "60000").at_least(0)
        .doc("How long a call may take in which no other time is given, its retries included."),
    key("metadata.max.age.ms", Long, "300000").low().at_least(0)
        .doc("After this long the cluster is asked anew even if nothing went wrong."),
    key("metadata.recovery.rebootstrap.trigger.ms", Long, "300000").low().at_least(0)
        .doc("The `bootstrap.servers` are asked again when no broker has answered for so long (KIP-1102)."),
    key("metadata.recovery.strategy", String, "rebootstrap").low().valid(Validator::OneOfIgnoringCase(RECOVERIES))
        .doc("What to do when none of the known brokers answers: ask the `bootstrap.servers` again, or go on with those that are known (KIP-899)."),
    key("metrics.num.samples", Int, "2").low().at_least(1)
        .doc("Of how many windows of time rates, averages and maxima are made."),
    key("metrics.sample.window.ms", Long, "30000").low().at_least(0)
        .doc("How long each of those windows is."),
    key("receive.buffer.bytes", Int, "-1").at_least(-1).kafka_default("65536")
        .doc("The size of a socket's buffer for what is received (`SO_RCVBUF`); -1 leaves it to the operating system, which adapts it to the connection."),
    key("request.timeout.ms", Int, "30000").at_least(0)
        .doc("How long a request may go unanswered before its connection is given up."),
    key("retry.backoff.max.ms", Long, "1000").low().at_least(0)
        .doc("What the pause between retries grows to."),
    key("retry.backoff.ms", Long, "100").low().at_least(0)
        .doc("The pause before the first retry; it doubles with each. A fifth more or less of it is left to chance."),
    key("security.protocol", String, "PLAINTEXT").valid(Validator::OneOfIgnoringCase(PROTOCOLS)).refused(Security)
        .doc("How brokers are spoken to."),
    key("send.buffer.bytes", Int, "-1").at_least(-1).kafka_default("131072")
        .doc("The size of a socket's buffer for what is sent (`SO_SNDBUF`); -1 leaves it to the operating system."),
    key("socket.connection.setup.timeout.ms", Long, "10000")
        .doc("How long each attempt to connect may take."),

    key("client.dns.lookup", String, "use_all_dns_ips").one_of(LOOKUPS).idle(Security),
    key("config.providers", List, "").low().idle(JavaClass),
    key("enable.metrics.push", Boolean, "false").low().kafka_default("true").idle(NoPush),
    key("interceptor.classes", List, "").low().idle(JavaClass),
    key("metric.reporters", List, REPORTER).low().idle(Jvm),
    key("metrics.recording.level", String, "INFO").low().one_of(RECORDING_LEVELS).idle(Jvm),
    key("reconnect.backoff.max.ms", Long, "1000").low().at_least(0).idle(OneBackoff),
    key("reconnect.backoff.ms", Long, "50").low().at_least(0).idle(OneBackoff),
    key("security.providers", String, "").null().low().idle(JavaClass),
    key("socket.connection.setup.timeout.max.ms", Long, "30000").idle(OneBackoff),
    key("ssl.cipher.suites", List, "").low().idle(Security),
    key("ssl.enabled.protocols", List, "TLSv1.2,TLSv1.3").idle(Security),
    key("ssl.endpoint.identification.algorithm", String, "https").low().idle(Security),
    key("ssl.engine.factory.class", Class, "").null().low().idle(Security),
    key("ssl.key.password", Password, "").null().high().idle(Security),
    key("ssl.keymanager.algorithm", String, "SunX509").low().idle(Security),
    key("ssl.keystore.certificate.chain", Password, "").null().high().idle(Security),
    key("ssl.keystore.key", Password, "").null().high().idle(Security),
    key("ssl.keystore.location", String, "").null().high().idle(Security),
    key("ssl.keystore.password", Password, "").null().high().idle(Security),
    key("ssl.keystore.type", String, "JKS").idle(Security),
    key("ssl.protocol", String, "TLSv1.3").idle(Security),
    key("ssl.provider", String, "").null().idle(Security),
    key("ssl.secure.random.implementation", String, "").null().low().idle(Security),
    key("ssl.trustmanager.algorithm", String, "PKIX").low().idle(Security),
    key("ssl.truststore.certificates", Password, "").null().high().idle(Security),
    key("ssl.truststore.location", String, "").null().high().idle(Security),
    key("ssl.truststore.password", Password, "").null().high().idle(Security),
    key("ssl.truststore.type", String, "JKS").idle(Security),
    key("sasl.client.callback.handler.class", Class, "").null().refused(Security),
    key("sasl.jaas.config", Password, "").null().refused(Security),
    key("sasl.kerberos.kinit.cmd", String, "/usr/bin/kinit").low().refused(Security),
    key("sasl.kerberos.min.time.before.relogin", Long, "60000").low().refused(Security),
    key("sasl.kerberos.service.name", String, "").null().refused(Security),
    key("sasl.kerberos.ticket.renew.jitter", Double, "0.05").low().refused(Security),
    key("sasl.kerberos.ticket.renew.window.factor", Double, "0.8").low().refused(Security),
    key("sasl.login.callback.handler.class", Class, "").null().refused(Security),
    key("sasl.login.class", Class, "").null().refused(Security),
    key("sasl.login.connect.timeout.ms", Int, "").null().low().refused(Security),
    key("sasl.login.read.timeout.ms", Int, "").null().low().refused(Security),
    key("sasl.login.refresh.buffer.seconds", Short, "300").low().refused(Security),
    key("sasl.login.refresh.min.period.seconds", Short, "60").low().refused(Security),
    key("sasl.login.refresh.window.factor", Double, "0.8").low().refused(Security),
    key("sasl.login.refresh.window.jitter", Double, "0.05").low().refused(Security),
    key("sasl.login.retry.backoff.max.ms", Long, "10000").low().refused(Security),
    key("sasl.login.retry.backoff.ms", Long, "100").low().refused(Security),
    key("sasl.mechanism", String, "GSSAPI").refused(Security),
    key("sasl.oauthbearer.assertion.algorithm", String, "RS256").refused(Security),
    key("sasl.oauthbearer.assertion.claim.aud", String, "").null().refused(Security),
    key("sasl.oauthbearer.assertion.claim.exp.seconds", Int, "300").low().refused(Security),
    key("sasl.oauthbearer.assertion.claim.iss", String, "").null().refused(Security),
    key("sasl.oauthbearer.assertion.claim.jti.include", Boolean, "false").refused(Security),
    key("sasl.oauthbearer.assertion.claim.nbf.seconds", Int, "60").low().refused(Security),
    key("sasl.oauthbearer.assertion.claim.sub", String, "").null().refused(Security),
    key("sasl.oauthbearer.assertion.file", String, "").null().refused(Security),
    key("sasl.oauthbearer.assertion.private.key.file", String, "").null().refused(Security),
    key("sasl.oauthbearer.assertion.private.key.passphrase", Password, "").null().refused(Security),
    key("sasl.oauthbearer.assertion.template.file", String, "").null().refused(Security),
    key("sasl.oauthbearer.client.credentials.client.id", String, "").null().refused(Security),
    key("sasl.oauthbearer.client.credentials.client.secret", Password, "").null().refused(Security),
    key("sasl.oauthbearer.clock.skew.seconds", Int, "30").low().refused(Security),
    key("sasl.oauthbearer.expected.audience", List, "").high().refused(Security),
    key("sasl.oauthbearer.expected.issuer", String, "").null().high().refused(Security),
    key("sasl.oauthbearer.header.urlencode", Boolean, "false").low().refused(Security),
    key("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long, "3600000").low().refused(Security),
    key("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long, "10000").low().refused(Security),
    key("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long, "100").low().refused(Security),
    key("sasl.oauthbearer.jwks.endpoint.url", String, "").null().refused(Security),
    key("sasl.oauthbearer.jwt.retriever.class", Class, "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever").refused(Security),
    key("sasl.oauthbearer.jwt.validator.class", Class, "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator").refused(Security),
    key("sasl.oauthbearer.scope", String, "").null().refused(Security),
    key("sasl.oauthbearer.scope.claim.name", String, "scope").low().refused(Security),
    key("sasl.oauthbearer.sub.claim.name", String, "sub").low().refused(Security),
    key("sasl.oauthbearer.token.endpoint.url", String, "").null().refused(Security),
];

#[rustfmt::skip]
pub(super) const PRODUCER: &[Definition] = &[
    producer("acks", String, "all").low().one_of(&["all", "-1", "0", "1"])
        .doc("How many copies must have a record before the producer is told so: `0` nobody is asked, `1` the leader's, `all` (or `-1`) those of every replica in sync, and what else the broker promises of them."),
    producer("batch.size", Int, "16384").at_least(0)
        .doc("A batch is closed when it holds this many bytes."),
    producer("buffer.memory", Long, "33554432").high().at_least(0)
        .doc("How many bytes of records may be on their way; while there are more, sending waits, `max.block.ms` at most."),
    producer("compression.gzip.level", Int, "-1").valid(Validator::BetweenOr(1, 9, -1))
        .doc("How hard gzip tries; -1 is its own choice."),
    producer("compression.type", String, "none").high().one_of(&["none", "gzip", "snappy", "lz4", "zstd"])
        .doc("What whole batches are compressed with."),
    producer("compression.zstd.level", Int, "3").between(-131_072, 22)
        .doc("How hard zstd tries."),
    producer("delivery.timeout.ms", Int, "120000").at_least(0)
        .doc("How long a record may take from sending it to the answer, lingering and retries included. At least `linger.ms` and `request.timeout.ms` together; where it is not set it is made so."),
    producer("enable.idempotence", Boolean, "true").low()
        .doc("Retries neither duplicate nor reorder records. Needs `acks=all`, at most five requests in flight and `retries`; where those are set otherwise and this is not, it is off."),
    producer("linger.ms", Long, "5").at_least(0)
        .doc("How long a batch that is not full waits for more records."),
    producer("max.block.ms", Long, "60000").at_least(0)
        .doc("How long sending may wait for the topic's metadata and for room in `buffer.memory`."),
    producer("max.in.flight.requests.per.connection", Int, "5").low().at_least(1)
        .doc("How many requests to one broker may be without an answer."),
    producer("max.request.size", Int, "1048576").at_least(0)
        .doc("The largest record that is taken, and the most that one request holds of several."),
    producer("partitioner", String, "murmur2_random").one_of(&["murmur2_random", "consistent_random"])
        .doc("How a key becomes a partition: as with Java's clients (`murmur2_random`) or as librdkafka does unless told otherwise (`consistent_random`, by CRC-32). librdkafka's key, which Kafka's clients do not have."),
    producer("partitioner.ignore.keys", Boolean, "false")
        .doc("Whether records with a key are spread as those without one are."),
    producer("retries", Int, "2147483647").high().between(0, 2_147_483_647)
        .doc("How often a batch is sent again that failed in a way that may pass; `delivery.timeout.ms` ends it earlier."),
    producer("transaction.timeout.ms", Int, "60000").low()
        .doc("A transaction that is open for longer is aborted by the broker."),
    producer("transactional.id", String, "").null().low().valid(Validator::NonEmpty)
        .doc("Records are written in transactions; a producer that had this id before is fenced."),

    producer("compression.lz4.level", Int, "9").between(1, 17).idle(OneLevel),
    producer("key.serializer", Class, "").null().high().idle(JavaClass),
    producer("metadata.max.idle.ms", Long, "300000").low().at_least(5_000).idle(KeptMetadata),
    producer("partitioner.adaptive.partitioning.enable", Boolean, "true").low().idle(EvenSpread),
    producer("partitioner.availability.timeout.ms", Long, "0").low().at_least(0).idle(EvenSpread),
    producer("partitioner.class", Class, "").null().refused(JavaClass),
    producer("transaction.two.phase.commit.enable", Boolean, "false").low().refused(TwoPhases),
    producer("value.serializer", Class, "").null().high().idle(JavaClass),
];

const JAVAS_ASSIGNORS: &str = "org.apache.kafka.clients.consumer.RangeAssignor,org.apache.kafka.clients.consumer.CooperativeStickyAssignor";

#[rustfmt::skip]
pub(super) const CONSUMER: &[Definition] = &[
    consumer("auto.commit.interval.ms", Int, "5000").low().at_least(0)
        .doc("How often offsets are committed with `enable.auto.commit`."),
    consumer("auto.offset.reset", String, "latest").valid(Validator::OffsetReset)
        .doc("Where to read a partition from that has no committed offset, or one that is not there any more: its beginning, its end, the first record that is not older than a duration (KIP-1106), or nowhere: it is an error."),
    consumer("client.rack", String, "").low()
        .doc("Where this client is. A broker may name a replica nearby to read from (KIP-392)."),
    consumer("enable.auto.commit", Boolean, "true")
        .doc("What earlier polls returned is committed by later ones, and on closing."),
    consumer("exclude.internal.topics", Boolean, "true")
        .doc("Whether a pattern matches no internal topic."),
    consumer("fetch.max.bytes", Int, "52428800").at_least(0)
        .doc("How much one answer may hold; a first batch that is larger is sent all the same."),
    consumer("fetch.max.wait.ms", Int, "500").low().at_least(0)
        .doc("How long a broker waits for `fetch.min.bytes`."),
    consumer("fetch.min.bytes", Int, "1").high().at_least(0)
        .doc("The broker answers when it has this much."),
    consumer("group.id", String, "").null().high()
        .doc("The group; none for a consumer that neither subscribes nor commits."),
    consumer("group.instance.id", String, "").null().valid(Validator::NonEmpty)
        .doc("The name of a static member, which may restart without a rebalance (KIP-345)."),
    consumer("heartbeat.interval.ms", Int, "3000").high()
        .doc("How often a member tells the coordinator that it lives. Less than `session.timeout.ms`."),
    consumer("isolation.level", String, "read_uncommitted").one_of(&["read_committed", "read_uncommitted"])
        .doc("With `read_committed` records of open and aborted transactions are not seen."),
    consumer("max.partition.fetch.bytes", Int, "1048576").high().at_least(0)
        .doc("How much of one partition an answer may hold."),
    consumer("max.poll.interval.ms", Int, "300000").at_least(1)
        .doc("A member that does not poll for so long leaves its group."),
    consumer("max.poll.records", Int, "500").at_least(1)
        .doc("The most that one poll returns."),
    consumer("partition.assignment.strategy", List, "range,cooperative-sticky").kafka_default(JAVAS_ASSIGNORS)
        .doc("How the group shares partitions out, the one that is liked best first: `range`, `roundrobin`, `sticky`, `cooperative-sticky`, or Java's classes of these."),
    consumer("session.timeout.ms", Int, "45000").high()
        .doc("How long the coordinator waits for a heartbeat."),

    consumer("check.crcs", Boolean, "true").low().idle(AlwaysChecked),
    consumer("group.protocol", String, "classic").high().valid(Validator::OneOfIgnoringCase(&["CONSUMER", "CLASSIC"])).refused(NewGroups),
    consumer("group.remote.assignor", String, "").null().idle(NewGroups),
    consumer("internal.throw.on.fetch.stable.offset.unsupported", Boolean, "false").low().internal().idle(Jvm),
    consumer("key.deserializer", Class, "").null().high().idle(JavaClass),
    consumer("share.acknowledgement.mode", String, "implicit").one_of(&["implicit", "explicit"]).idle(NewGroups),
    consumer("share.acquire.mode", String, "BATCH_OPTIMIZED").valid(Validator::OneOfIgnoringCase(&["batch_optimized", "record_limit"])).idle(NewGroups),
    consumer("value.deserializer", Class, "").null().high().idle(JavaClass),
];
