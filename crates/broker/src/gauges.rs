//! Gauges that are read off when somebody scrapes `/metrics`: what the logs, the table of partitions and
//! the groups look like at that moment. Names as dashboards chart them.

use std::sync::{Arc, Weak};

use millstream_telemetry::{Collector, DescriptorEncoder, EncodeMetric, kinds::gauge::ConstGauge};

use crate::{partitions::Topic, parts::Parts};

/// Holds the broker weakly: the registry must not keep a stopped broker alive.
#[derive(Debug)]
pub(crate) struct Gauges {
    parts: Weak<Parts>,
}

impl Gauges {
    pub(crate) fn new(parts: &Arc<Parts>) -> Box<Self> {
        Box::new(Self { parts: Arc::downgrade(parts) })
    }
}

/// One gauge over all partitions.
struct PartitionGauge {
    name: &'static str,
    help: &'static str,
    read: fn(&millstream_log::Log) -> i64,
}

const PARTITION_GAUGES: &[PartitionGauge] = &[
    PartitionGauge {
        name: "kafka_log_log_size",
        help: "Bytes of a partition",
        read: |log| count(log.size_bytes()),
    },
    PartitionGauge {
        name: "kafka_log_log_logendoffset",
        help: "The next offset",
        read: |log| log.log_end_offset().0,
    },
    PartitionGauge {
        name: "kafka_log_log_logstartoffset",
        help: "The first offset that is kept",
        read: |log| log.log_start_offset().0,
    },
    PartitionGauge {
        name: "kafka_log_log_numlogsegments",
        help: "Segments of a partition",
        read: |log| count(log.segment_count() as u64),
    },
    PartitionGauge {
        name: "kafka_topic_partition_current_offset",
        help: "The high watermark",
        read: |log| log.high_watermark().0,
    },
    PartitionGauge {
        name: "kafka_topic_partition_oldest_offset",
        help: "The first offset that is kept",
        read: |log| log.log_start_offset().0,
    },
];

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(parts) = self.parts.upgrade() else { return Ok(()) };
        let topics = parts.partitions.topics();
        totals(&parts, &topics, &mut encoder)?;
        for gauge in PARTITION_GAUGES {
            let mut family = encoder.encode_descriptor(gauge.name, gauge.help, None, kind())?;
            for partition in topics.iter().flat_map(|topic| topic.partitions()) {
                let id = partition.id.partition.to_string();
                let labels = [("topic", partition.id.topic.as_str()), ("partition", id.as_str())];
                let value = ConstGauge::new((gauge.read)(&partition.log));
                value.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn kind() -> millstream_telemetry::kinds::MetricType {
    millstream_telemetry::kinds::MetricType::Gauge
}

fn totals(
    parts: &Parts,
    topics: &[Arc<Topic>],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    let partitions: usize = topics.iter().map(|topic| topic.partitions().len()).sum();
    let all = topics.iter().flat_map(|topic| topic.partitions());
    let offline = all.filter(|partition| partition.log.is_offline()).count();
    let offline_dirs = parts.log_dirs.dirs().iter().filter(|dir| dir.offline.is_some()).count();
    let values: [(&str, &str, usize); 13] = [
        ("kafka_brokers", "Brokers of the cluster", 1),
        ("kafka_controller_kafkacontroller_activecontrollercount", "Whether this is the controller", 1),
        ("kafka_controller_kafkacontroller_globaltopiccount", "Topics", topics.len()),
        ("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions", partitions),
        (
            "kafka_controller_kafkacontroller_offlinepartitionscount",
            "Partitions that cannot be used",
            offline,
        ),
        ("kafka_server_replicamanager_partitioncount", "Partitions held here", partitions),
        ("kafka_server_replicamanager_leadercount", "Partitions led here", partitions - offline),
        ("kafka_server_replicamanager_underreplicatedpartitions", "There is one replica, so none", 0),
        ("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that failed", offline_dirs),
        (
            "kafka_server_fetchsessioncache_numincrementalfetchsessions",
            "Fetch sessions",
            parts.fetch_sessions.count(),
        ),
        (
            "kafka_network_socketserver_memorypoolused",
            "Bytes of requests that are not whole or wait to be judged, and of answers that are not taken",
            parts.memory.used(),
        ),
        (
            "kafka_network_socketserver_memorypoolavailable",
            "Bytes of queued.max.request.bytes that are left",
            parts.memory.available(),
        ),
        (
            "kafka_network_requestchannel_requestqueuesize",
            "Requests that run behind an earlier one of their connection",
            parts.request_queue.count(),
        ),
    ];
    for (name, help, value) in values {
        let gauge = ConstGauge::new(count(value as u64));
        gauge.encode(encoder.encode_descriptor(name, help, None, kind())?)?;
    }
    Ok(())
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}
