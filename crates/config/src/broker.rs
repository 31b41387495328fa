//! The broker's configuration, resolved into fields that running code reads. `KafkaConfig`.

use std::path::PathBuf;

use millstream_types::BrokerId;

use crate::{BrokerLayers, ConfigError, Properties, TopicConfig, Value};

/// The broker's settings, grouped by who reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    pub node_id: BrokerId,
    pub rack: Option<String>,
    pub network: NetworkConfig,
    pub topics: TopicsConfig,
    pub fetch: FetchConfig,
    pub storage: StorageConfig,
    pub metadata_log: MetadataLogConfig,
    pub groups: GroupsConfig,
    pub offsets: OffsetsConfig,
    /// What a topic without settings of its own has.
    pub topic_defaults: TopicConfig,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// `NAME://HOST:PORT` as written, without the controllers' listeners.
    pub listeners: Vec<String>,
    pub advertised_listeners: Vec<String>,
    pub connections_max_idle_ms: Option<u64>,
    pub limits: ConnectionLimits,
    pub listen_backlog: u32,
    /// `None`: what the operating system chooses.
    pub receive_buffer_bytes: Option<u32>,
    pub send_buffer_bytes: Option<u32>,
    pub request_max_bytes: u32,
    /// Of requests that are not whole and answers that are not taken; `None`: without a limit.
    pub request_memory_bytes: Option<u64>,
    pub requests_queued_max: u32,
}

/// What may change while connections come and go.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionLimits {
    pub creation_rate_max: u32,
    pub connections_max: u32,
    pub connections_max_per_ip: u32,
    /// Host or address, and its own limit.
    pub per_ip_overrides: Vec<(String, u32)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TopicsConfig {
    pub auto_create: bool,
    pub delete_enable: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchConfig {
    pub max_bytes: u32,
    pub session_slots: u32,
    /// Of one DescribeTopicPartitions response.
    pub partitions_max: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StorageConfig {
    /// `log.dirs`, else `log.dir` where it is set; empty where neither is.
    pub log_dirs: Vec<PathBuf>,
    pub recovery_point_checkpoint_ms: u64,
    pub start_offset_checkpoint_ms: u64,
    pub high_watermark_checkpoint_ms: u64,
    pub retention_check_interval_ms: u64,
    pub recovery_threads_per_dir: u32,
    pub producer_id_expiration_ms: i64,
    pub producer_id_expiration_check_ms: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MetadataLogConfig {
    pub snapshot_after_bytes: u64,
    /// `None`: only by bytes.
    pub snapshot_after_ms: Option<u64>,
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub retention_bytes: Option<u64>,
    pub retention_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupsConfig {
    pub initial_rebalance_delay_ms: i32,
    pub limits: GroupLimits,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupLimits {
    pub session_timeout_min_ms: i32,
    pub session_timeout_max_ms: i32,
    pub members_max: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OffsetsConfig {
    pub metadata_max_bytes: u32,
    pub commit_timeout_ms: u64,
    /// As in a batch's attributes: 0 is none.
    pub compression_codec: u8,
    pub retention_ms: i64,
    pub retention_check_interval_ms: u64,
    pub topic: InternalTopic,
}

/// How an internal topic is created.
#[derive(Clone, Debug, PartialEq)]
pub struct InternalTopic {
    pub partitions: i32,
    pub replication_factor: i16,
    /// The topic's own settings.
    pub settings: Properties,
}

impl BrokerConfig {
    /// The layers as typed values, or the first setting that cannot be used.
    pub fn resolve(layers: &BrokerLayers) -> Result<Self, ConfigError> {
        check_requirements(layers)?;
        check_roles(layers)?;
        let read = Reader { layers };
        let node_id = node_id(&read)?;
        check_voters(&read, node_id)?;
        Ok(Self {
            node_id,
            rack: read.optional("broker.rack")?.map(|value| value.to_string()),
            network: network(&read)?,
            topics: TopicsConfig {
                auto_create: read.bool("auto.create.topics.enable")?,
                delete_enable: read.bool("delete.topic.enable")?,
                num_partitions: read.int("num.partitions")?,
                default_replication_factor: i16::try_from(read.int("default.replication.factor")?)
                    .unwrap_or(i16::MAX),
            },
            fetch: FetchConfig {
                max_bytes: read.u32("fetch.max.bytes")?,
                session_slots: read.u32("max.incremental.fetch.session.cache.slots")?,
                partitions_max: read.u32("max.request.partition.size.limit")?,
            },
            storage: storage(&read)?,
            metadata_log: metadata_log(&read)?,
            groups: GroupsConfig {
                initial_rebalance_delay_ms: read.int("group.initial.rebalance.delay.ms")?,
                limits: GroupLimits {
                    session_timeout_min_ms: read.int("group.min.session.timeout.ms")?,
                    session_timeout_max_ms: read.int("group.max.session.timeout.ms")?,
                    members_max: read.u32("group.max.size")?,
                },
            },
            offsets: offsets(&read)?,
            topic_defaults: TopicConfig::resolve(&Properties::new(), layers)?,
        })
    }
}

fn network(read: &Reader<'_>) -> Result<NetworkConfig, ConfigError> {
    let controllers = read.list("controller.listener.names")?;
    let for_clients = |listener: &String| {
        let name = listener.split("://").next().unwrap_or("");
        !controllers.iter().any(|controller| controller.eq_ignore_ascii_case(name))
    };
    let of =
        |name| Ok::<_, ConfigError>(read.list(name)?.into_iter().filter(for_clients).collect::<Vec<_>>());
    let network = NetworkConfig {
        listeners: of("listeners")?,
        advertised_listeners: of("advertised.listeners")?,
        connections_max_idle_ms: read.limit("connections.max.idle.ms")?,
        limits: ConnectionLimits {
            creation_rate_max: read.u32("max.connection.creation.rate")?,
            connections_max: read.u32("max.connections")?,
            connections_max_per_ip: read.u32("max.connections.per.ip")?,
            per_ip_overrides: per_ip_overrides(read)?,
        },
        listen_backlog: read.u32("socket.listen.backlog.size")?,
        receive_buffer_bytes: u32::try_from(read.int("socket.receive.buffer.bytes")?).ok(),
        send_buffer_bytes: u32::try_from(read.int("socket.send.buffer.bytes")?).ok(),
        request_max_bytes: read.u32("socket.request.max.bytes")?,
        request_memory_bytes: read.limit("queued.max.request.bytes")?.filter(|bytes| *bytes > 0),
        requests_queued_max: read.u32("queued.max.requests")?,
    };
    if network.listeners.is_empty() {
        return Err(ConfigError::Start("listeners: none is left for clients".into()));
    }
    check_protocols(read, &network.listeners)?;
    Ok(network)
}

fn storage(read: &Reader<'_>) -> Result<StorageConfig, ConfigError> {
    let dirs = match read.optional("log.dirs")? {
        Some(dirs) => dirs.as_list().unwrap_or_default().to_vec(),
        None if read.is_set("log.dir") => read.list("log.dir")?,
        None => Vec::new(),
    };
    let log_dirs: Vec<PathBuf> = dirs.into_iter().map(PathBuf::from).collect();
    if let Some(own) = read.optional("metadata.log.dir")?.map(|dir| PathBuf::from(dir.to_string()))
        && log_dirs.first() != Some(&own)
    {
        let text = format!(
            "metadata.log.dir is {}, but the metadata log lives in the first of log.dirs",
            own.display()
        );
        return Err(ConfigError::Start(text));
    }
    Ok(StorageConfig {
        log_dirs,
        recovery_point_checkpoint_ms: read.u64("log.flush.offset.checkpoint.interval.ms")?,
        start_offset_checkpoint_ms: read.u64("log.flush.start.offset.checkpoint.interval.ms")?,
        high_watermark_checkpoint_ms: read.u64("replica.high.watermark.checkpoint.interval.ms")?,
        retention_check_interval_ms: read.u64("log.retention.check.interval.ms")?,
        recovery_threads_per_dir: read.u32("num.recovery.threads.per.data.dir")?,
        producer_id_expiration_ms: read.number("producer.id.expiration.ms")?,
        producer_id_expiration_check_ms: read.u64("producer.id.expiration.check.interval.ms")?,
    })
}

fn metadata_log(read: &Reader<'_>) -> Result<MetadataLogConfig, ConfigError> {
    Ok(MetadataLogConfig {
        snapshot_after_bytes: read.u64("metadata.log.max.record.bytes.between.snapshots")?,
        snapshot_after_ms: Some(read.u64("metadata.log.max.snapshot.interval.ms")?).filter(|ms| *ms > 0),
        segment_bytes: read.u32("metadata.log.segment.bytes")?,
        segment_ms: read.number("metadata.log.segment.ms")?,
        retention_bytes: read.limit("metadata.max.retention.bytes")?,
        retention_ms: read.limit("metadata.max.retention.ms")?,
    })
}

fn offsets(read: &Reader<'_>) -> Result<OffsetsConfig, ConfigError> {
    let settings = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", read.number("offsets.topic.segment.bytes")?.to_string()),
    ];
    let codec = read.int("offsets.topic.compression.codec")?;
    let codec = u8::try_from(codec).ok().filter(|codec| *codec <= 4).ok_or_else(|| {
        ConfigError::Start(format!("offsets.topic.compression.codec={codec}: codecs are 0 to 4"))
    })?;
    Ok(OffsetsConfig {
        metadata_max_bytes: read.u32("offset.metadata.max.bytes")?,
        commit_timeout_ms: read.u64("offsets.commit.timeout.ms")?,
        compression_codec: codec,
        retention_ms: read.number("offsets.retention.minutes")?.saturating_mul(60_000),
        retention_check_interval_ms: read.u64("offsets.retention.check.interval.ms")?,
        topic: InternalTopic {
            partitions: read.int("offsets.topic.num.partitions")?,
            replication_factor: i16::try_from(read.int("offsets.topic.replication.factor")?)
                .expect("the key is of type SHORT"),
            settings: settings.into_iter().map(|(name, text)| (name.to_owned(), text)).collect(),
        },
    })
}

/// `ADDRESS:COUNT,…`; an IPv6 address keeps its colons.
fn per_ip_overrides(read: &Reader<'_>) -> Result<Vec<(String, u32)>, ConfigError> {
    let name = "max.connections.per.ip.overrides";
    let text = read.text(name)?;
    let pair = |element: String| {
        let parsed = element.rsplit_once(':').and_then(|(host, count)| {
            let count = count.trim().parse().ok()?;
            Some((host.trim().trim_matches(['[', ']']).to_owned(), count))
        });
        parsed.ok_or_else(|| ConfigError::invalid(name, &text, format!("'{element}' is not ADDRESS:COUNT")))
    };
    crate::value::split_list(&text).into_iter().map(pair).collect()
}

/// What must hold of the settings together at any time, so that dynamic changes are checked too.
pub(crate) fn check_requirements(layers: &BrokerLayers) -> Result<(), ConfigError> {
    let read = Reader { layers };
    for name in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
        if read.optional(name)?.and_then(|value| value.as_i64()) == Some(0) {
            let rule = "must be unlimited (-1) or, greater than or equal to 1";
            return Err(ConfigError::Requirement(format!("{name} {rule}")));
        }
    }
    per_ip_overrides(&read).map(|_| ())
}

fn node_id(read: &Reader<'_>) -> Result<BrokerId, ConfigError> {
    let (node, broker) = (read.int("node.id")?, read.int("broker.id")?);
    if broker < 0 || broker == node {
        return Ok(BrokerId(node));
    }
    if read.is_set("node.id") {
        return Err(ConfigError::Start(format!(
            "node.id is {node} and broker.id is {broker}: set one, or both alike"
        )));
    }
    Ok(BrokerId(broker))
}

fn check_roles(layers: &BrokerLayers) -> Result<(), ConfigError> {
    let roles = Reader { layers }.list("process.roles")?;
    if roles.is_empty() || roles.iter().any(|role| role == "broker") {
        return Ok(());
    }
    let text = format!("process.roles={}: a node is always a broker too", roles.join(","));
    Err(ConfigError::Start(text))
}

/// A quorum of others would have the metadata that this node cannot see.
fn check_voters(read: &Reader<'_>, node_id: BrokerId) -> Result<(), ConfigError> {
    let voters = read.list("controller.quorum.voters")?;
    let own = |voter: &String| voter.split('@').next().is_some_and(|id| id == node_id.0.to_string());
    if voters.is_empty() || (voters.len() == 1 && voters.iter().all(own)) {
        return Ok(());
    }
    let voters = voters.join(",");
    let text = format!("controller.quorum.voters={voters}: node {node_id} is the only voter there can be");
    Err(ConfigError::Start(text))
}

/// Serving a listener without the protection it asks for would be worse than not serving it.
fn check_protocols(read: &Reader<'_>, listeners: &[String]) -> Result<(), ConfigError> {
    let map = crate::value::split_list(&read.text("listener.security.protocol.map")?);
    for listener in listeners {
        let name = listener.split("://").next().unwrap_or("");
        let protocol = map.iter().find_map(|pair| {
            let (from, to) = pair.split_once(':')?;
            from.trim().eq_ignore_ascii_case(name).then(|| to.trim().to_ascii_uppercase())
        });
        match protocol.as_deref() {
            Some("PLAINTEXT") => {}
            Some(protocol) => {
                return Err(ConfigError::Start(format!(
                    "listener {name} asks for {protocol}, which is not there yet: only PLAINTEXT is"
                )));
            }
            None => {
                return Err(ConfigError::Start(format!(
                    "listener {name} has no security protocol: add {name}:PLAINTEXT to listener.security.protocol.map"
                )));
            }
        }
    }
    Ok(())
}

/// Reads keys whose kind the table fixes.
struct Reader<'a> {
    layers: &'a BrokerLayers,
}

impl Reader<'_> {
    fn optional(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        self.layers.value(name)
    }

    fn is_set(&self, name: &str) -> bool {
        self.layers.fixed.contains_key(name)
    }

    fn number(&self, name: &str) -> Result<i64, ConfigError> {
        let number = self.optional(name)?.and_then(|value| value.as_i64());
        Ok(number.unwrap_or_else(|| panic!("{name} is a number with a default")))
    }

    fn int(&self, name: &str) -> Result<i32, ConfigError> {
        Ok(i32::try_from(self.number(name)?).unwrap_or_else(|_| panic!("{name} is of type INT")))
    }

    /// For keys whose negative values mean nothing: they count as 0.
    fn u32(&self, name: &str) -> Result<u32, ConfigError> {
        Ok(u32::try_from(self.number(name)?.max(0)).unwrap_or(u32::MAX))
    }

    fn u64(&self, name: &str) -> Result<u64, ConfigError> {
        Ok(u64::try_from(self.number(name)?).unwrap_or(0))
    }

    /// For keys whose negative values mean "without limit".
    fn limit(&self, name: &str) -> Result<Option<u64>, ConfigError> {
        Ok(u64::try_from(self.number(name)?).ok())
    }

    fn bool(&self, name: &str) -> Result<bool, ConfigError> {
        let truth = self.optional(name)?.and_then(|value| value.as_bool());
        Ok(truth.unwrap_or_else(|| panic!("{name} is a boolean with a default")))
    }

    fn text(&self, name: &str) -> Result<String, ConfigError> {
        Ok(self.optional(name)?.map(|value| value.to_string()).unwrap_or_default())
    }

    fn list(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        let value = self.optional(name)?;
        Ok(value.as_ref().and_then(Value::as_list).unwrap_or_default().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(pairs: &[(&str, &str)]) -> Result<BrokerConfig, String> {
        let fixed = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        BrokerConfig::resolve(&BrokerLayers::fixed(fixed)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_configuration_is_a_whole_broker() {
        let config = resolve(&[]).unwrap();
        assert_eq!(config.node_id, BrokerId(1));
        assert_eq!(config.network.listeners, ["PLAINTEXT://localhost:9092"]);
        assert_eq!(config.offsets.topic.replication_factor, 1);
        assert_eq!(config.offsets.topic.partitions, 50);
        assert_eq!(config.offsets.retention_ms, 7 * 24 * 3_600_000);
        assert_eq!(config.groups.initial_rebalance_delay_ms, 0);
        assert_eq!(config.storage.log_dirs, Vec::<PathBuf>::new());
    }

    #[test]
    fn the_server_properties_of_a_single_kafka_node_is_understood() {
        let config = resolve(&[
            ("process.roles", "broker,controller"),
            ("node.id", "7"),
            ("controller.quorum.voters", "7@localhost:9093"),
            ("controller.listener.names", "CONTROLLER"),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
            ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
            ("log.dirs", "/var/lib/a,/var/lib/b"),
        ])
        .unwrap();
        assert_eq!(config.node_id, BrokerId(7));
        assert_eq!(config.network.listeners, ["PLAINTEXT://:9092"]);
        assert_eq!(config.network.advertised_listeners, ["PLAINTEXT://localhost:9092"]);
        assert_eq!(config.storage.log_dirs, [PathBuf::from("/var/lib/a"), PathBuf::from("/var/lib/b")]);
    }

    #[test]
    fn what_one_node_cannot_be_is_refused_at_the_start() {
        let error = |pairs| resolve(pairs).unwrap_err();
        assert_eq!(
            error(&[("controller.quorum.voters", "1@a:1,2@b:1")]),
            "controller.quorum.voters=1@a:1,2@b:1: node 1 is the only voter there can be"
        );
        assert_eq!(
            error(&[("process.roles", "controller")]),
            "process.roles=controller: a node is always a broker too"
        );
        assert_eq!(
            error(&[("listeners", "SASL_SSL://:9092")]),
            "listener SASL_SSL asks for SASL_SSL, which is not there yet: only PLAINTEXT is"
        );
        assert_eq!(
            error(&[("listeners", "INSIDE://:9092")]),
            "listener INSIDE has no security protocol: add INSIDE:PLAINTEXT to listener.security.protocol.map"
        );
        assert_eq!(
            error(&[("node.id", "1"), ("broker.id", "2")]),
            "node.id is 1 and broker.id is 2: set one, or both alike"
        );
        assert_eq!(
            error(&[("log.retention.hours", "0")]),
            "requirement failed: log.retention.hours must be unlimited (-1) or, greater than or equal to 1"
        );
        assert_eq!(
            error(&[("offsets.topic.compression.codec", "5")]),
            "offsets.topic.compression.codec=5: codecs are 0 to 4"
        );
        assert!(
            error(&[("metadata.log.dir", "/m"), ("log.dirs", "/a")]).starts_with("metadata.log.dir is /m")
        );
    }

    #[test]
    fn limits_by_address_are_read() {
        let config = resolve(&[("max.connections.per.ip.overrides", "127.0.0.1:5, [::1]:6")]).unwrap();
        let overrides = config.network.limits.per_ip_overrides;
        assert_eq!(overrides, [("127.0.0.1".to_owned(), 5), ("::1".to_owned(), 6)]);
        assert!(resolve(&[("max.connections.per.ip.overrides", "x")]).is_err());
    }
}
