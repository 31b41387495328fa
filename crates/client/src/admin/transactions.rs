//! Transactions as their coordinators know them, and an end to those that nobody will end (KIP-664).

use std::{collections::BTreeMap, future::Future};

use millstream_protocol::messages::{
    DescribeTransactionsRequest, FindCoordinatorRequest, InitProducerIdRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
    write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
};
use millstream_types::{BrokerId, ErrorCode, ProducerEpoch, ProducerId, TimestampMs, TopicPartition};

use super::{Admin, answered, check};
use crate::{Connection, Error, Result, config::as_millis_i32};

const KEY_TYPE_TRANSACTION: i8 = 1;
/// From here on one request names many keys.
const FIND_COORDINATOR_VERSION_WITH_MANY_KEYS: i16 = 4;
const LIST_VERSION_WITH_DURATION: i16 = 1;
const LIST_VERSION_WITH_PATTERN: i16 = 2;

/// Which transactions are listed; all of them unless something is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    pub producer_ids: Vec<ProducerId>,
    /// Only those that are under way longer than this, in milliseconds; negative for all.
    pub longer_than_ms: Option<i64>,
    /// A regular expression (RE2) for transactional ids.
    pub id_pattern: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    pub transactional_id: String,
    pub producer_id: ProducerId,
    /// `Ongoing`, `Empty`, `CompleteCommit` …
    pub state: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    pub coordinator: BrokerId,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub state: String,
    pub timeout_ms: i32,
    /// None while no transaction is under way.
    pub started: Option<TimestampMs>,
    pub partitions: Vec<TopicPartition>,
}

/// A transaction in a partition of which nobody will write the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HangingTransaction {
    pub partition: TopicPartition,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub coordinator_epoch: i32,
}

impl Admin {
    /// The transactional ids of every coordinator.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<BTreeMap<BrokerId, Vec<TransactionListing>>> {
        self.client.retry("metadata", || self.client.refresh([])).await?;
        let mut request = ListTransactionsRequest {
            producer_id_filters: filter.producer_ids.iter().map(|id| id.0).collect(),
            ..Default::default()
        };
        if let Some(duration) = filter.longer_than_ms {
            request.duration_filter = duration;
        }
        request.transactional_id_pattern = filter.id_pattern.clone();
        let mut listed = BTreeMap::new();
        for broker in self.client.metadata().brokers.keys() {
            let ask = || async {
                let connection = self.client.broker(*broker).await?;
                let version = connection.version_of::<ListTransactionsRequest>()?;
                let too_old = |what: &str| {
                    let message = Some(format!("broker {broker} cannot list transactions by {what}"));
                    Error::kafka(ErrorCode::UnsupportedVersion, "list of transactions", message)
                };
                if version < LIST_VERSION_WITH_DURATION && request.duration_filter >= 0 {
                    return Err(too_old("duration"));
                }
                if version < LIST_VERSION_WITH_PATTERN && request.transactional_id_pattern.is_some() {
                    return Err(too_old("pattern"));
                }
                let answer = connection.send(version, &request).await?;
                check(answer.error_code, "list of transactions", None).map(|()| answer)
            };
            let answer = self.client.retry("list of transactions", ask).await?;
            let listings = answer.transaction_states.into_iter().map(|one| TransactionListing {
                transactional_id: one.transactional_id,
                producer_id: ProducerId(one.producer_id),
                state: one.transaction_state,
            });
            listed.insert(*broker, listings.collect());
        }
        Ok(listed)
    }

    pub async fn describe_transaction(&self, id: &str) -> Result<TransactionDescription> {
        let request =
            DescribeTransactionsRequest { transactional_ids: vec![id.to_owned()], ..Default::default() };
        let request = &request;
        let ask = |connection: Connection, coordinator: BrokerId| async move {
            let answer = connection.call(request).await?;
            let missing = || Error::malformed("the answer to DescribeTransactions", "no transaction in it");
            let one = answer.transaction_states.into_iter().next().ok_or_else(missing)?;
            check(one.error_code, format!("transactional id {id}"), None)?;
            let partitions = one.topics.iter().flat_map(|topic| {
                topic.partitions.iter().filter_map(|partition| answered(&topic.topic, *partition))
            });
            Ok(TransactionDescription {
                coordinator,
                producer_id: ProducerId(one.producer_id),
                producer_epoch: ProducerEpoch(one.producer_epoch),
                timeout_ms: one.transaction_timeout_ms,
                started: TimestampMs::from_wire(one.transaction_start_time_ms),
                partitions: partitions.collect(),
                state: one.transaction_state,
            })
        };
        self.at_transaction_coordinator(id, ask).await
    }

    /// Ends whatever the transactional id has under way, and fences its producer.
    pub async fn fence_producer(&self, id: &str) -> Result<()> {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.to_owned()),
            transaction_timeout_ms: as_millis_i32(self.client.config().request_timeout),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let request = &request;
        let ask = |connection: Connection, _| async move {
            let answer = connection.call(request).await?;
            check(answer.error_code, format!("transactional id {id}"), None)
        };
        self.at_transaction_coordinator(id, ask).await
    }

    /// Writes the end of a transaction into one partition, as the coordinator would have.
    pub async fn abort_transaction(&self, hanging: &HangingTransaction) -> Result<()> {
        let ask = |connection: Connection, asked: Vec<TopicPartition>| async move {
            let topics = asked.iter().map(|partition| WritableTxnMarkerTopic {
                name: partition.topic.to_string(),
                partition_indexes: vec![partition.partition.0],
                ..Default::default()
            });
            let marker = WritableTxnMarker {
                producer_id: hanging.producer_id.0,
                producer_epoch: hanging.producer_epoch.0,
                transaction_result: false,
                topics: topics.collect(),
                coordinator_epoch: hanging.coordinator_epoch,
                ..Default::default()
            };
            let request = WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
            let mut results = Vec::new();
            for topic in connection.call(&request).await?.markers.into_iter().flat_map(|one| one.topics) {
                for one in topic.partitions {
                    let Some(which) = answered(&topic.name, one.partition_index) else { continue };
                    let result = check(one.error_code, which.to_string(), None);
                    results.push((which, result));
                }
            }
            Ok(results)
        };
        let what = "abortion of a transaction";
        let mut results = self.client.per_leader(what, [hanging.partition.clone()], ask).await?;
        results.remove(&hanging.partition).unwrap_or(Ok(()))
    }

    async fn at_transaction_coordinator<T, F>(
        &self,
        id: &str,
        ask: impl Fn(Connection, BrokerId) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let attempt = || async {
            let coordinator = self.transaction_coordinator(id).await?;
            if !self.client.metadata().brokers.contains_key(&coordinator) {
                self.client.refresh([]).await?;
            }
            ask(self.client.broker(coordinator).await?, coordinator).await
        };
        self.client.retry(&format!("transactional id {id}"), attempt).await
    }

    async fn transaction_coordinator(&self, id: &str) -> Result<BrokerId> {
        let connection = self.client.any_broker().await?;
        let version = connection.version_of::<FindCoordinatorRequest>()?;
        let mut request = FindCoordinatorRequest { key_type: KEY_TYPE_TRANSACTION, ..Default::default() };
        if version >= FIND_COORDINATOR_VERSION_WITH_MANY_KEYS {
            request.coordinator_keys = vec![id.to_owned()];
        } else {
            request.key = id.to_owned();
        }
        let answer = connection.send(version, &request).await?;
        let (code, message, node) = match answer.coordinators.into_iter().next() {
            Some(found) => (found.error_code, found.error_message, found.node_id),
            None => (answer.error_code, answer.error_message, answer.node_id),
        };
        check(code, format!("coordinator of transactional id {id}"), message)?;
        let nobody = || Error::malformed("the answer to FindCoordinator", "no broker in it");
        BrokerId::from_wire(node).ok_or_else(nobody)
    }
}
