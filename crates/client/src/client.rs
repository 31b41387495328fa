//! The client's view of the cluster: connections by broker, metadata that is refreshed when it proves
//! stale, and calls that find the right broker and are tried again until their deadline.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use millstream_protocol::messages::{
    DescribeClusterRequest, MetadataRequest, MetadataResponse,
    describe_cluster_response::DescribeClusterBroker, metadata_request::MetadataRequestTopic,
    metadata_response::MetadataResponseBroker,
};
use millstream_types::{BrokerId, ErrorCode, TopicName, TopicPartition, Uuid};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::{
    Broker, ClientConfig, Connection, Error, Metadata, Result, Topic,
    admin::Admin,
    coordinator::Coordinators,
    metrics::{Network, Report, Windows},
};

/// In DescribeCluster: tell of controllers, where 1 would be brokers.
pub(crate) const ENDPOINT_CONTROLLERS: i8 = 2;

/// What a connection is used for. A broker answers in order, so a fetch that waits for records would hold
/// everything behind it up: such requests have a connection of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Calls,
    Produce,
    /// Of one consumer or group member: see [`LaneId`].
    Own(u64),
}

/// A number for [`Lane::Own`]. Connections of the lane are forgotten with it.
#[derive(Debug)]
pub(crate) struct LaneId {
    client: Client,
    number: u64,
}

impl LaneId {
    pub(crate) fn new(client: &Client) -> Self {
        let number = client.shared.lanes.fetch_add(1, Ordering::Relaxed);
        Self { client: client.clone(), number }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for LaneId {
    fn drop(&mut self) {
        self.client.shared.connections.lock().retain(|(_, lane), _| *lane != Lane::Own(self.number));
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Peer {
    Broker(BrokerId),
    /// An address from `bootstrap.servers`, whose broker id is not known.
    Bootstrap(String),
}

/// A connection, or the attempt at one that several callers wait for.
type Slot = Arc<OnceCell<Connection>>;

/// A Kafka cluster as seen by one program. Clones share connections and metadata.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    metadata: Mutex<Cached>,
    connections: Mutex<HashMap<(Peer, Lane), Slot>>,
    /// When the last attempt to connect failed, of those whose last did.
    failed: Mutex<HashMap<Peer, Instant>>,
    coordinators: Mutex<Coordinators>,
    network: Network,
    /// How many [`LaneId`]s there have been.
    lanes: AtomicU64,
}

#[derive(Debug, Default)]
struct Cached {
    metadata: Arc<Metadata>,
    fetched: Option<Instant>,
    stale: bool,
    /// Since when the cluster has been asked in vain.
    unanswered: Option<Instant>,
}

impl Client {
    /// Nothing is connected yet; the first call does that.
    pub fn new(config: ClientConfig) -> Result<Self> {
        if config.bootstrap().is_empty() {
            return Err(Error::config("bootstrap.servers", "no address given"));
        }
        if let Some(bad) = config.bootstrap().iter().find(|address| !is_address(address)) {
            return Err(Error::config("bootstrap.servers", format!("{bad:?} is not of the form host:port")));
        }
        let network = Network::new(Windows::of(&config));
        let shared = Shared {
            config,
            metadata: Mutex::default(),
            connections: Mutex::default(),
            failed: Mutex::default(),
            network,
            coordinators: Mutex::default(),
            lanes: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    /// A report with what all users of this client have sent and received.
    pub(crate) fn report(&self, role: &'static str) -> Report {
        let mut report = Report::new(role, &self.config().client_id);
        report.add_network(&self.shared.network);
        report
    }

    /// How long ago the cluster was last asked, if it ever was.
    pub(crate) fn metadata_age(&self) -> Option<Duration> {
        self.shared.metadata.lock().fetched.map(|fetched| fetched.elapsed())
    }

    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// What is known of the cluster at this moment.
    pub fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.shared.metadata.lock().metadata)
    }

    /// Of a topic, as far as it is known.
    pub(crate) fn partition_count(&self, topic: &TopicName) -> Option<usize> {
        self.shared.metadata.lock().metadata.topic(topic).map(|topic| topic.partitions.len())
    }

    /// A topic that exists and whose leaders are known, or were when last asked; waits for one that is
    /// being created.
    pub async fn topic(&self, name: &TopicName) -> Result<Topic> {
        self.retry(&format!("metadata of topic {name}"), || self.known_topic(name)).await
    }

    async fn known_topic(&self, name: &TopicName) -> Result<Topic> {
        if self.is_stale() || self.metadata().topic(name).is_none() {
            let troubles = self.refresh([name.clone()]).await?;
            if let Some((_, error)) = troubles.into_iter().find(|(topic, _)| topic == name) {
                return Err(error);
            }
        }
        let unknown = || Error::kafka(ErrorCode::UnknownTopicOrPartition, format!("topic {name}"), None);
        self.metadata().topic(name).cloned().ok_or_else(unknown)
    }

    /// Asks for the topics that are known and for `more`, and takes the answer in.
    pub(crate) async fn refresh(
        &self,
        more: impl IntoIterator<Item = TopicName>,
    ) -> Result<Vec<(TopicName, Error)>> {
        self.refresh_or_create(more, self.shared.config.allow_auto_create_topics).await
    }

    /// As [`Client::refresh`], and says whether a topic that is not there may be made.
    pub(crate) async fn refresh_or_create(
        &self,
        more: impl IntoIterator<Item = TopicName>,
        create: bool,
    ) -> Result<Vec<(TopicName, Error)>> {
        let mut names: BTreeSet<TopicName> = self.metadata().topics.keys().cloned().collect();
        names.extend(more);
        let answer = self.fetch_metadata(Some(names.iter().cloned().collect()), create).await?;
        Ok(self.update_metadata(answer))
    }

    fn update_metadata(&self, answer: MetadataResponse) -> Vec<(TopicName, Error)> {
        let mut cached = self.shared.metadata.lock();
        let mut metadata = Metadata::clone(&cached.metadata);
        let troubles = metadata.update(answer);
        let (metadata, fetched) = (Arc::new(metadata), Some(Instant::now()));
        *cached = Cached { metadata, fetched, stale: false, unanswered: None };
        troubles
    }

    /// One question to any broker; None asks for all topics. Nothing is remembered but the answer's brokers.
    pub(crate) async fn fetch_metadata(
        &self,
        names: Option<Vec<TopicName>>,
        create: bool,
    ) -> Result<MetadataResponse> {
        if self.config().bootstraps_controllers() {
            return self.fetch_controllers().await;
        }
        let topic =
            |name: &TopicName| MetadataRequestTopic { name: Some(name.to_string()), ..Default::default() };
        let request = MetadataRequest {
            topics: names.map(|names| names.iter().map(topic).collect()),
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        let answer = async { self.any_broker().await?.call(&request).await };
        let code = |answer: &MetadataResponse| ErrorCode::from_code(answer.error_code);
        match answer.await {
            Ok(answer) if code(&answer) == ErrorCode::RebootstrapRequired => {
                self.forget_brokers("a broker said so");
                let reason = "it says that the bootstrap servers are to be asked".to_owned();
                Err(Error::Connect { address: "the broker".to_owned(), reason })
            }
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.note_unanswered();
                Err(error)
            }
        }
    }

    /// The cluster was asked in vain.
    fn note_unanswered(&self) {
        let now = Instant::now();
        let since = *self.shared.metadata.lock().unanswered.get_or_insert(now);
        if now.duration_since(since) >= self.config().rebootstrap_trigger {
            self.forget_brokers("no broker has answered for long");
        }
    }

    /// Begins with the bootstrap servers again (KIP-899, KIP-1102). Topics are still known by their ids and
    /// epochs, so that the news is not taken for older than it is.
    fn forget_brokers(&self, reason: &str) {
        if !self.config().rebootstraps() {
            return;
        }
        tracing::info!(reason, "asking the bootstrap servers again");
        {
            let mut cached = self.shared.metadata.lock();
            let mut metadata = Metadata::clone(&cached.metadata);
            metadata.brokers.clear();
            metadata.controller = None;
            *cached = Cached { metadata: Arc::new(metadata), stale: true, ..Cached::default() };
        }
        self.shared.connections.lock().retain(|(_, lane), _| *lane != Lane::Calls);
        self.shared.coordinators.lock().clear();
    }

    /// Controllers know no topics for clients, but each other.
    async fn fetch_controllers(&self) -> Result<MetadataResponse> {
        let request = DescribeClusterRequest { endpoint_type: ENDPOINT_CONTROLLERS, ..Default::default() };
        let answer = self.any_broker().await?.call(&request).await?;
        if answer.error_code != 0 {
            let code = ErrorCode::from_code(answer.error_code);
            return Err(Error::kafka(code, "description of the controllers", answer.error_message));
        }
        let node = |raw: DescribeClusterBroker| MetadataResponseBroker {
            node_id: raw.broker_id,
            host: raw.host,
            port: raw.port,
            rack: raw.rack,
            ..Default::default()
        };
        Ok(MetadataResponse {
            brokers: answer.brokers.into_iter().map(node).collect(),
            cluster_id: Some(answer.cluster_id),
            controller_id: answer.controller_id,
            ..Default::default()
        })
    }

    /// Makes the next look at the metadata ask the cluster.
    pub(crate) fn mark_stale(&self) {
        self.shared.metadata.lock().stale = true;
    }

    pub(crate) fn is_stale(&self) -> bool {
        let cached = self.shared.metadata.lock();
        cached.stale
            || cached.fetched.is_none_or(|fetched| fetched.elapsed() > self.config().metadata_max_age)
    }

    /// A connection to whichever broker answers: one that is open, a known broker, a bootstrap server.
    pub async fn any_broker(&self) -> Result<Connection> {
        let open = self.shared.connections.lock().iter().find_map(|((_, lane), cell)| {
            cell.get().filter(|connection| *lane == Lane::Calls && connection.is_open()).cloned()
        });
        if let Some(connection) = open {
            return Ok(connection);
        }
        let known: Vec<BrokerId> = self.metadata().brokers.keys().copied().collect();
        let bootstrap = self.config().bootstrap().iter().cloned().map(Peer::Bootstrap);
        let bootstrap = bootstrap.filter(|_| known.is_empty() || self.config().rebootstraps());
        let mut peers: Vec<Peer> = known.iter().copied().map(Peer::Broker).chain(bootstrap).collect();
        {
            // Whoever failed last is asked last.
            let failed = self.shared.failed.lock();
            peers.sort_by_key(|peer| failed.get(peer).copied());
        }
        let mut failure = Error::config("bootstrap.servers", "no address given");
        for peer in peers {
            match self.connection(peer, Lane::Calls).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A connection to this broker, which the metadata must know.
    pub async fn broker(&self, id: BrokerId) -> Result<Connection> {
        self.lane(id, Lane::Calls).await
    }

    pub(crate) async fn lane(&self, id: BrokerId, lane: Lane) -> Result<Connection> {
        self.connection(Peer::Broker(id), lane).await
    }

    /// The cluster's controller, or any broker, which passes the request on.
    pub(crate) async fn controller(&self) -> Result<Connection> {
        if self.is_stale() {
            self.refresh([]).await?;
        }
        match self.metadata().controller {
            Some(id) => self.broker(id).await,
            None => self.any_broker().await,
        }
    }

    async fn connection(&self, peer: Peer, lane: Lane) -> Result<Connection> {
        let address = match &peer {
            Peer::Bootstrap(address) => address.clone(),
            Peer::Broker(id) => {
                // It may come back.
                let unknown = || Error::Connect {
                    address: format!("broker {id}"),
                    reason: "it is not among the cluster's brokers".to_owned(),
                };
                self.metadata().brokers.get(id).map(Broker::address).ok_or_else(unknown)?
            }
        };
        let meters = self.shared.network.node(match &peer {
            Peer::Broker(id) => Some(*id),
            Peer::Bootstrap(_) => None,
        });
        let cell = {
            let mut connections = self.shared.connections.lock();
            let cell = connections.entry((peer.clone(), lane)).or_default();
            // Lost, or the broker has moved: whoever comes first connects anew.
            if cell.get().is_some_and(|known| !known.is_open() || known.address() != address) {
                *cell = Arc::default();
            }
            Arc::clone(cell)
        };
        let connected = cell
            .get_or_try_init(|| Connection::connect_counted(&address, self.config(), meters))
            .await
            .cloned();
        let mut failed = self.shared.failed.lock();
        match &connected {
            Ok(_) => failed.remove(&peer),
            Err(_) => failed.insert(peer, Instant::now()),
        };
        connected
    }

    pub(crate) fn coordinators(&self) -> &Mutex<Coordinators> {
        &self.shared.coordinators
    }

    /// Tries until it succeeds, fails for good, or `default.api.timeout.ms` is over.
    pub(crate) async fn retry<T, F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut retries = Retries::new(self.config());
        loop {
            let error = match tokio::time::timeout(retries.left(), attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if !error.is_retriable() => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => return Err(retries.timeout(what)),
            };
            if error.is_stale_metadata() {
                self.mark_stale();
            }
            retries.pause(what, error).await?;
        }
    }

    /// Asks each partition's leader, again where that may help, until every partition has a result.
    pub(crate) async fn per_leader<T, F>(
        &self,
        what: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
        mut ask: impl FnMut(Connection, Vec<TopicPartition>) -> F,
    ) -> Result<BTreeMap<TopicPartition, Result<T>>>
    where
        F: Future<Output = Result<Vec<(TopicPartition, Result<T>)>>>,
    {
        let mut retries = Retries::new(self.config());
        let mut left: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        let mut results = BTreeMap::new();
        loop {
            let mut failure = None;
            let by_leader = self.by_leader(&left).await?;
            for (leader, asked) in by_leader {
                let answer = match leader {
                    Some(id) => self.ask_one(id, asked.clone(), &mut ask).await,
                    None => Err(Error::kafka(ErrorCode::LeaderNotAvailable, asked[0].to_string(), None)),
                };
                let each = answer.unwrap_or_else(|error| {
                    asked.into_iter().map(|partition| (partition, Err(error.clone()))).collect()
                });
                for (partition, result) in each {
                    if !left.contains(&partition) {
                        continue;
                    }
                    match result {
                        Err(error) if error.is_retriable() => failure = Some(error),
                        settled => {
                            left.remove(&partition);
                            results.insert(partition, settled);
                        }
                    }
                }
            }
            let Some(error) = failure else {
                let silent = |p: TopicPartition| {
                    (p.clone(), Err(Error::malformed(what, format!("no answer for {p}"))))
                };
                results.extend(left.into_iter().map(silent));
                return Ok(results);
            };
            self.mark_stale();
            if let Err(late) = retries.pause(what, error).await {
                results.extend(left.into_iter().map(|partition| (partition, Err(late.clone()))));
                return Ok(results);
            }
        }
    }

    async fn ask_one<T, F>(
        &self,
        leader: BrokerId,
        asked: Vec<TopicPartition>,
        ask: &mut impl FnMut(Connection, Vec<TopicPartition>) -> F,
    ) -> Result<Vec<(TopicPartition, Result<T>)>>
    where
        F: Future<Output = Result<Vec<(TopicPartition, Result<T>)>>>,
    {
        let connection = self.broker(leader).await?;
        ask(connection, asked).await
    }

    /// The partitions by their leaders; those without one under None.
    async fn by_leader(
        &self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<Option<BrokerId>, Vec<TopicPartition>>> {
        let metadata = self.metadata();
        if self.is_stale() || partitions.iter().any(|partition| metadata.leader(partition).is_none()) {
            let topics: BTreeSet<TopicName> =
                partitions.iter().map(|partition| partition.topic.clone()).collect();
            self.retry("metadata", || self.refresh(topics.clone())).await?;
        }
        let metadata = self.metadata();
        let mut by_leader: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for partition in partitions {
            by_leader.entry(metadata.leader(partition)).or_default().push(partition.clone());
        }
        Ok(by_leader)
    }
}

/// `host:port`; the host of an IPv6 address stands in brackets.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Pauses between attempts, doubling, until a deadline.
pub(crate) struct Retries {
    started: Instant,
    limit: Duration,
    backoff: Duration,
    backoff_max: Duration,
    last: Option<Error>,
}

impl Retries {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Self {
            started: Instant::now(),
            limit: config.default_api_timeout,
            backoff: config.retry_backoff,
            backoff_max: config.retry_backoff_max,
            last: None,
        }
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }

    fn timeout(&mut self, what: &str) -> Error {
        Error::Timeout { what: what.to_owned(), limit: self.limit, last: self.last.take().map(Box::new) }
    }

    /// Waits before the next attempt; an error when there is no time for one.
    pub(crate) async fn pause(&mut self, what: &str, error: Error) -> Result<()> {
        tracing::debug!(what, %error, "trying again");
        self.last = Some(error);
        if self.backoff >= self.left() {
            return Err(self.timeout(what));
        }
        tokio::time::sleep(jittered(self.backoff)).await;
        self.backoff = (self.backoff * 2).min(self.backoff_max);
        Ok(())
    }
}

/// A fifth more or less, so that those who failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    const THOUSANDTHS: u32 = 400;
    let random = Uuid::random().0 as u32 % (THOUSANDTHS + 1);
    pause * (1_000 - THOUSANDTHS / 2 + random) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_a_port_are_refused_by_name() {
        for bad in ["localhost", ":9092", "localhost:port", "localhost:99999"] {
            assert!(matches!(Client::new(ClientConfig::new(bad)), Err(Error::Config { .. })), "{bad}");
        }
        assert!(Client::new(ClientConfig::new("[::1]:9092,localhost:9092")).is_ok());
        assert!(Client::new(ClientConfig::default()).is_err());
    }

    #[test]
    fn pauses_differ_by_a_fifth_at_most() {
        let pauses: Vec<Duration> = (0..200).map(|_| jittered(Duration::from_millis(100))).collect();
        assert!(pauses.iter().all(|pause| (80..=120).contains(&pause.as_millis())), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
