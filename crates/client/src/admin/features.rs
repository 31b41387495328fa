//! What brokers speak, which features are finalized, and how the metadata quorum is doing.

use std::collections::BTreeMap;

use millstream_protocol::{
    ApiKey,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, DescribeQuorumRequest, UnregisterBrokerRequest,
        UpdateFeaturesRequest,
        describe_quorum_request::{PartitionData, TopicData},
        describe_quorum_response::ReplicaState,
        update_features_request::FeatureUpdateKey,
    },
};
use millstream_types::{BrokerId, LeaderEpoch, Offset, TimestampMs, Uuid};

use super::{Admin, check};
use crate::{Connection, Error, Result, config::as_millis_i32};

/// An API of a broker or of this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiSupport {
    pub key: i16,
    /// Kafka's name; None for an API that this client never heard of.
    pub name: Option<&'static str>,
    /// The versions that the broker speaks.
    pub broker: Option<(i16, i16)>,
    pub client: Option<(i16, i16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What the broker can do; None for a feature that it only knows to be finalized.
    pub supported: Option<(i16, i16)>,
    pub finalized: Option<i16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// The offset in the metadata log up to which this is known.
    pub epoch: Option<i64>,
    pub features: BTreeMap<String, Feature>,
}

/// Whether a feature's level is being raised or lowered, as the wire has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    Upgrade = 1,
    SafeDowngrade = 2,
    UnsafeDowngrade = 3,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    pub leader: Option<BrokerId>,
    pub leader_epoch: Option<LeaderEpoch>,
    pub high_watermark: Option<Offset>,
    pub voters: Vec<QuorumReplica>,
    pub observers: Vec<QuorumReplica>,
    /// `LISTENER://host:port` of each node, from Kafka 3.9 on.
    pub endpoints: BTreeMap<BrokerId, Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumReplica {
    pub id: BrokerId,
    pub directory_id: Uuid,
    pub log_end_offset: Option<Offset>,
    pub last_fetch: Option<TimestampMs>,
    pub last_caught_up: Option<TimestampMs>,
}

impl Admin {
    /// Every API that the broker or this client knows, in the order of their keys.
    pub async fn api_versions(&self, broker: BrokerId) -> Result<Vec<ApiSupport>> {
        let answer = self.ask_api_versions(Some(broker)).await?;
        let mut apis: BTreeMap<i16, ApiSupport> = BTreeMap::new();
        for key in ApiKey::ALL.iter().filter(|key| key.is_on_broker_listener()) {
            let number = *key as i16;
            let support = ApiSupport { key: number, name: Some(key.name()), broker: None, client: None };
            apis.insert(number, support);
        }
        for api in answer.api_keys {
            let support = ApiSupport { key: api.api_key, name: None, broker: None, client: None };
            apis.entry(api.api_key).or_insert(support).broker = Some((api.min_version, api.max_version));
        }
        for api in apis.values_mut() {
            if let Some(key) = ApiKey::ALL.iter().find(|key| **key as i16 == api.key) {
                let versions = key.versions();
                api.name = Some(key.name());
                api.client = Some((*versions.start(), *versions.end()));
            }
        }
        Ok(apis.into_values().collect())
    }

    /// The features that a broker, or any of them, knows.
    pub async fn describe_features(&self, broker: Option<BrokerId>) -> Result<Features> {
        let answer = self.ask_api_versions(broker).await?;
        let mut features: BTreeMap<String, Feature> = BTreeMap::new();
        for feature in answer.supported_features {
            let supported = Some((feature.min_version, feature.max_version));
            features.insert(feature.name, Feature { supported, finalized: None });
        }
        for feature in answer.finalized_features {
            let unknown = Feature { supported: None, finalized: None };
            features.entry(feature.name).or_insert(unknown).finalized = Some(feature.max_version_level);
        }
        let epoch = Some(answer.finalized_features_epoch).filter(|epoch| *epoch >= 0);
        Ok(Features { epoch, features })
    }

    async fn ask_api_versions(&self, broker: Option<BrokerId>) -> Result<ApiVersionsResponse> {
        let request = ApiVersionsRequest {
            client_software_name: "millstream".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        let ask = || async {
            let answer = self.node(broker).await?.call(&request).await?;
            check(answer.error_code, "API versions", None)?;
            Ok(answer)
        };
        self.client.retry("API versions", ask).await
    }

    async fn node(&self, broker: Option<BrokerId>) -> Result<Connection> {
        let Some(id) = broker else { return self.client.any_broker().await };
        if !self.client.metadata().brokers.contains_key(&id) {
            self.client.refresh([]).await?;
        }
        self.client.broker(id).await
    }

    /// Raises or lowers features, all of them or none; 0 takes a feature away.
    pub async fn update_features(
        &self,
        levels: &BTreeMap<String, i16>,
        upgrade: UpgradeType,
        validate_only: bool,
    ) -> Result<BTreeMap<String, Result<()>>> {
        let update = |(name, level): (&String, &i16)| FeatureUpdateKey {
            feature: name.clone(),
            max_version_level: *level,
            upgrade_type: upgrade as i8,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            timeout_ms: as_millis_i32(self.client.config().request_timeout),
            feature_updates: levels.iter().map(update).collect(),
            validate_only,
            ..Default::default()
        };
        let ask = || async { self.client.controller().await?.call(&request).await };
        let answer = self.client.retry("update of features", ask).await?;
        let mut results = BTreeMap::new();
        for result in answer.results {
            let outcome =
                check(result.error_code, format!("feature {}", result.feature), result.error_message);
            results.insert(result.feature, outcome);
        }
        // Newer brokers say it once for all.
        let overall = check(answer.error_code, "features", answer.error_message);
        for name in levels.keys() {
            results.entry(name.clone()).or_insert_with(|| overall.clone());
        }
        Ok(results)
    }

    pub async fn describe_quorum(&self) -> Result<Quorum> {
        let partition = PartitionData { partition_index: 0, ..Default::default() };
        let request = DescribeQuorumRequest {
            topics: vec![TopicData {
                topic_name: "__cluster_metadata".to_owned(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        let ask = || async {
            // Of controllers only the active one knows how far the others are.
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, "description of the quorum", answer.error_message.clone())?;
            Ok(answer)
        };
        let answer = self.client.retry("description of the quorum", ask).await?;
        let partition = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let missing = || Error::malformed("the answer to DescribeQuorum", "no partition in it");
        let partition = partition.ok_or_else(missing)?;
        check(partition.error_code, "description of the quorum", partition.error_message)?;
        let endpoints = answer.nodes.into_iter().map(|node| {
            let listeners = node.listeners.iter();
            let texts = listeners.map(|one| format!("{}://{}:{}", one.name, one.host, one.port));
            (BrokerId(node.node_id), texts.collect())
        });
        Ok(Quorum {
            leader: BrokerId::from_wire(partition.leader_id),
            leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
            high_watermark: Offset::from_wire(partition.high_watermark),
            voters: partition.current_voters.iter().map(replica).collect(),
            observers: partition.observers.iter().map(replica).collect(),
            endpoints: endpoints.collect(),
        })
    }

    /// Forgets a broker that is gone for good.
    pub async fn unregister_broker(&self, id: BrokerId) -> Result<()> {
        let request = UnregisterBrokerRequest { broker_id: id.0, ..Default::default() };
        let what = format!("unregistration of broker {id}");
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, what.clone(), answer.error_message)
        };
        self.client.retry(&what, ask).await
    }
}

fn replica(raw: &ReplicaState) -> QuorumReplica {
    QuorumReplica {
        id: BrokerId(raw.replica_id),
        directory_id: raw.replica_directory_id,
        log_end_offset: Offset::from_wire(raw.log_end_offset),
        last_fetch: TimestampMs::from_wire(raw.last_fetch_timestamp),
        last_caught_up: TimestampMs::from_wire(raw.last_caught_up_timestamp),
    }
}
