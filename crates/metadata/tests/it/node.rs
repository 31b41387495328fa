//! A node without disk or network: it starts, decides and stops, and keeps the bytes of its log.

use bytes::Bytes;
use millstream_config::{BrokerLayers, Properties};
use millstream_metadata::{
    Activation, ActivationError, Endpoint, Image, NewTopic, Node, Registration, Replay, Start, activate,
    create_topics, leader_change_batch, shut_down,
};
use millstream_record::{batch, kraft::MetadataRecord};
use millstream_types::{BrokerId, LeaderEpoch, TimestampMs, TopicPartition, Uuid};

pub(crate) const NODE: BrokerId = BrokerId(1);
/// More than the bounds of a single request, which stand beside it.
pub(crate) const PARTITIONS_MAX: usize = 20_000;
pub(crate) const DIRECTORY: Uuid = Uuid(0xd1d1_d1d1_d1d1_4d1d_8d1d_d1d1_d1d1_d1d1);

pub(crate) struct TestNode {
    pub(crate) replay: Replay,
    pub(crate) log: Vec<u8>,
    pub(crate) layers: BrokerLayers,
    epoch: LeaderEpoch,
    now: TimestampMs,
}

impl TestNode {
    /// On an empty directory, not started yet.
    pub(crate) fn new() -> Self {
        Self::on(Replay::default(), Vec::new())
    }

    /// On a directory with this log.
    pub(crate) fn on(replay: Replay, log: Vec<u8>) -> Self {
        Self {
            replay,
            log,
            layers: BrokerLayers::default(),
            epoch: LeaderEpoch(0),
            now: TimestampMs(1_700_000_000_000),
        }
    }

    pub(crate) fn started() -> Self {
        let mut node = Self::new();
        node.start(None).unwrap();
        node
    }

    /// Begins a new epoch and takes over.
    pub(crate) fn start(
        &mut self,
        bootstrap: Option<&[MetadataRecord]>,
    ) -> Result<Activation, ActivationError> {
        self.epoch = LeaderEpoch(self.replay.epoch().0 + 1);
        let begin = leader_change_batch(NODE, self.epoch, self.replay.next_offset(), self.now).unwrap();
        self.append(&begin);
        let registration = Registration {
            id: NODE,
            incarnation_id: Uuid(0x1c1c_1c1c_1c1c_41c1_81c1_c1c1_c1c1_c1c1),
            endpoints: vec![Endpoint { listener: "PLAINTEXT".into(), host: "localhost".into(), port: 9092 }],
            rack: None,
            log_dirs: vec![DIRECTORY],
        };
        let next_offset = self.replay.next_offset();
        let locate = |_: &TopicPartition| Some(DIRECTORY);
        let start = Start { registration: &registration, bootstrap, next_offset, locate: &locate };
        let activation = activate(&self.replay, &start)?;
        for records in &activation.batches {
            self.commit(records);
        }
        Ok(activation)
    }

    pub(crate) fn stop(&mut self) {
        for records in shut_down(self.replay.image(), NODE) {
            self.commit(&records);
        }
    }

    /// Makes records durable in one batch and applies them.
    pub(crate) fn commit(&mut self, records: &[MetadataRecord]) {
        if !records.is_empty() {
            let bytes = self.replay.encode_next(records, self.epoch, self.now).unwrap();
            self.append(&bytes);
        }
    }

    fn append(&mut self, bytes: &Bytes) {
        self.now = self.now.plus_ms(1);
        self.replay.apply_batch(bytes).unwrap();
        self.log.extend_from_slice(bytes);
    }

    pub(crate) fn image(&self) -> &Image {
        self.replay.image()
    }

    pub(crate) fn node(&self) -> Node<'_> {
        Node { id: NODE, layers: &self.layers, partitions_max: PARTITIONS_MAX }
    }

    /// The settings that the metadata has for this broker, in force from now on.
    pub(crate) fn reload(&mut self) {
        let fixed = self.layers.fixed.clone();
        self.layers = self.image().broker_layers(NODE, fixed);
    }

    /// Ids that no topic has yet: they come from the log's end.
    pub(crate) fn new_id(&self) -> impl FnMut() -> Uuid + use<> {
        let end = u128::try_from(self.replay.next_offset().0).unwrap();
        let mut next = 0x0123_4567_89ab_4def_8000_0000_0000_0000 + 0x1_0000 * end;
        move || {
            next += 1;
            Uuid(next)
        }
    }

    /// Creates a topic that must be creatable.
    pub(crate) fn create(&mut self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect();
        let topic =
            NewTopic { name: name.into(), partitions: Some(partitions), settings, ..NewTopic::default() };
        let mut new_id = self.new_id();
        let decision = create_topics(self.image(), self.node(), &[topic], false, &mut new_id);
        assert!(decision.results[0].1.is_ok(), "{decision:?}");
        self.commit(&decision.records);
    }
}

/// The state after a whole log.
pub(crate) fn replayed(log: &[u8]) -> Replay {
    let mut replay = Replay::default();
    replay_onto(&mut replay, log);
    replay
}

pub(crate) fn replay_onto(replay: &mut Replay, log: &[u8]) {
    for view in batch::batches(log) {
        replay.apply_batch(&Bytes::copy_from_slice(view.unwrap().bytes)).unwrap();
    }
}

pub(crate) fn properties(pairs: &[(&str, &str)]) -> Properties {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}
