//! What the broker is made of, by who owns what. Handlers get this and use what concerns them.

use std::{sync::Arc, time::Duration};

use millstream_log::LogDirs;
use millstream_metadata::NewTopic;
use millstream_telemetry::Metrics;
use millstream_types::ErrorCode;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    controller::Controller,
    error_map::Failure,
    fetch_session::FetchSessions,
    groups::Groups,
    partitions::{Partitions, Topic},
    producer_ids::ProducerIds,
    server::{
        ConnectionSettings, Memory,
        response::{FileTurns, RequestQueue},
    },
    settings::DynamicSettings,
    workers::Workers,
};

pub(crate) struct Parts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Arc<DynamicSettings>,
    pub(crate) log_dirs: Arc<LogDirs>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) controller: Arc<Controller>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) request_queue: Arc<RequestQueue>,
    pub(crate) file_turns: FileTurns,
    /// Judge batches that open to far more than their size, and search by timestamp, which opens batches too.
    pub(crate) openers: Workers,
    /// Cancelled when the broker stops: parked requests are answered with what there is.
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// The topic of groups and their offsets.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

impl Parts {
    pub(crate) fn cluster_id(&self) -> &str {
        self.log_dirs.cluster_id()
    }

    pub(crate) fn connection_settings(&self) -> ConnectionSettings {
        let settings = self.settings.current();
        let network = &settings.broker.network;
        ConnectionSettings {
            frame_bytes_max: usize::try_from(network.request_max_bytes).unwrap_or(usize::MAX),
            idle_max: network.connections_max_idle_ms.map_or(Duration::MAX, Duration::from_millis),
        }
    }

    pub(crate) fn fetch_bytes_max(&self) -> usize {
        usize::try_from(self.settings.current().broker.fetch.max_bytes).unwrap_or(usize::MAX)
    }

    /// Groups come back with the partitions of their topic that are there and were not taken up yet.
    pub(crate) fn load_groups(&self) {
        if let Some(topic) = self.partitions.topic(OFFSETS_TOPIC) {
            drop(self.groups.open(
                topic.all_partitions(),
                &self.settings.current().group_config(),
                &self.tasks,
            ));
        }
    }

    /// Makes the group coordinator ready, creating its topic the first time.
    pub(crate) async fn open_groups(&self) -> Result<(), Failure> {
        if self.groups.is_open() {
            return Ok(());
        }
        let topic = match self.partitions.topic(OFFSETS_TOPIC) {
            Some(topic) => topic,
            None => self.create_offsets_topic().await?,
        };
        let config = self.settings.current().group_config();
        for loading in self.groups.open(topic.all_partitions(), &config, &self.tasks) {
            loading.await.map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        }
        Ok(())
    }

    async fn create_offsets_topic(&self) -> Result<Arc<Topic>, Failure> {
        let new = self.offsets_topic();
        for (_, outcome) in self.controller.create_topics(vec![new], false).await? {
            match outcome {
                // Somebody else was quicker.
                Err(failure) if failure.code == ErrorCode::TopicAlreadyExists => {}
                outcome => drop(outcome.map_err(Failure::from)?),
            }
        }
        self.partitions.topic(OFFSETS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable.into())
    }

    fn offsets_topic(&self) -> NewTopic {
        let settings = self.settings.current();
        let topic = &settings.broker.offsets.topic;
        NewTopic {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: Some(topic.partitions),
            replication_factor: Some(topic.replication_factor),
            assignments: Vec::new(),
            settings: topic
                .settings
                .iter()
                .map(|(name, value)| (name.clone(), Some(value.clone())))
                .collect(),
        }
    }

    /// Creates topics that a client has asked for by name; what became of each. Those that exist now
    /// can be used at once.
    pub(crate) async fn auto_create(&self, names: Vec<String>) -> Vec<Result<Arc<Topic>, ErrorCode>> {
        let new = |name: &String| match name.as_str() {
            OFFSETS_TOPIC => self.offsets_topic(),
            _ => NewTopic {
                name: name.clone(),
                partitions: None,
                replication_factor: None,
                assignments: Vec::new(),
                settings: Vec::new(),
            },
        };
        let created = self.controller.create_topics(names.iter().map(new).collect(), false).await;
        let outcomes = match created {
            Ok(outcomes) => outcomes,
            Err(failure) => return vec![Err(failure.code); names.len()],
        };
        let find = |name: &String| {
            let refused = outcomes.iter().find(|(created, outcome)| created == name && outcome.is_err());
            let code = refused.and_then(|(_, outcome)| outcome.as_ref().err()).map(|failure| failure.code);
            self.partitions.topic(name).ok_or(code.unwrap_or(ErrorCode::LeaderNotAvailable))
        };
        names.iter().map(find).collect()
    }
}
