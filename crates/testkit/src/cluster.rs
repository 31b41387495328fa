//! Several real Kafkas as one cluster: each is broker and controller, internal topics have a copy on each of
//! the first three, and a record is acknowledged (`acks=all`) by two. Millstream is one broker, so there is no
//! such thing of its kind.

use anyhow::Result;

use crate::{
    ports::free_port,
    target::{Kind, PORT_TRIES, Running, TargetOptions},
};

/// Brokers numbered from 1, each in a rack of its own: `rack-1` and so on.
pub struct Cluster {
    nodes: Vec<Running>,
}

impl Cluster {
    /// Starts so many brokers with these settings and waits until all serve.
    pub fn start(count: u16, settings: &[(&str, &str)]) -> Result<Self> {
        let mut tries_left = PORT_TRIES;
        loop {
            tries_left -= 1;
            let mut cluster = Self::place(count, settings)?;
            cluster.nodes.iter_mut().try_for_each(Running::start_again)?;
            match cluster.nodes.iter_mut().try_for_each(Running::wait_ready) {
                Ok(()) => return Ok(cluster),
                Err(_) if tries_left > 0 && cluster.nodes.iter().any(Running::port_was_taken) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn place(count: u16, settings: &[(&str, &str)]) -> Result<Self> {
        let ports = (0..count).map(|_| Ok((free_port()?, free_port()?))).collect::<Result<Vec<_>>>()?;
        let voter = |(id, (_, controller)): (u16, &(u16, u16))| format!("{id}@127.0.0.1:{controller}");
        let voters = (1..).zip(&ports).map(voter).collect::<Vec<_>>().join(",");
        let copies = count.min(3);
        let node = |(id, (port, controller)): (u16, &(u16, u16))| {
            let listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
            let mut options = TargetOptions::default()
                .kind(Kind::Kafka)
                .set("node.id", id)
                .set("broker.rack", format!("rack-{id}"))
                .set("controller.quorum.voters", &voters)
                .set("listeners", listeners)
                .set("offsets.topic.replication.factor", copies)
                .set("transaction.state.log.replication.factor", copies)
                .set("share.coordinator.state.topic.replication.factor", copies)
                .set("default.replication.factor", copies)
                .set("min.insync.replicas", copies.min(2))
                // Several JVMs on a few cores may each have to wait a while for their turn.
                .set("broker.heartbeat.interval.ms", 3_000)
                .set("broker.session.timeout.ms", 15_000)
                .set("controller.quorum.fetch.timeout.ms", 10_000)
                .set("controller.quorum.request.timeout.ms", 10_000);
            for (key, value) in settings {
                options = options.set(key, value);
            }
            Running::new(Kind::Kafka, options, *port)
        };
        Ok(Self { nodes: (1..).zip(&ports).map(node).collect::<Result<_>>()? })
    }

    /// All brokers' addresses.
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(Running::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// The broker of this id.
    pub fn node(&mut self, id: u16) -> &mut Running {
        &mut self.nodes[usize::from(id - 1)]
    }
}
