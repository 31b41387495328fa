//! Which cluster, and a client for it: the flags that every verb has which talks to Kafka.

use std::time::Duration;

use anyhow::{Context, Result};
use millstream_client::{Client, Configuration, ConsumerConfig, ProducerConfig};
use tokio::runtime::Builder;

use super::{
    explain::{self, Explain},
    failure::{Failure, usage},
    output::shell,
    profile::Cluster,
    time,
};

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectArguments {
    /// Where the cluster is [default: of the profile, $MILLSTREAM_BOOTSTRAP, $KAFKA_BOOTSTRAP,
    /// $BOOTSTRAP_SERVERS, or localhost:9092]
    #[arg(short, long, alias = "bootstrap-server", value_name = "HOST:PORT,…")]
    pub(super) bootstrap: Option<String>,
    /// A profile's name (`millstream profile ls`), or a client.properties, kcat.conf or rpk.yaml
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) profile: Option<String>,
    /// A client's configuration key, by Kafka's name; repeat for more
    #[arg(short = 'X', long = "property", value_name = "KEY=VALUE")]
    properties: Vec<String>,
    /// Give up after so long, with exit code 124: 500ms, 10s, 5m
    #[arg(long, value_name = "TIME", value_parser = time::duration)]
    timeout: Option<Duration>,
    /// Print the requests that are made of Kafka, on standard error
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "calls")]
    explain: Option<Explain>,
}

/// What the properties on the command line come to.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) producer: ProducerConfig,
    pub(super) consumer: ConsumerConfig,
}

impl ConnectArguments {
    /// Runs a command that talks to a cluster, until it is done, interrupted, or out of time.
    pub(super) fn run(self, work: impl Future<Output = Result<()>>) -> Result<()> {
        self.run_to_its_end(async {
            tokio::select! {
                outcome = work => outcome,
                () = interrupted() => Err(Failure::Interrupted.into()),
            }
        })
    }

    /// As [`Self::run`], for a command that has something to finish when it is interrupted.
    pub(super) fn run_to_its_end(self, work: impl Future<Output = Result<()>>) -> Result<()> {
        self.run_on(Builder::new_current_thread(), work)
    }

    /// As [`Self::run_to_its_end`], with a thread for each processor.
    pub(super) fn run_on_threads(self, work: impl Future<Output = Result<()>>) -> Result<()> {
        self.run_on(Builder::new_multi_thread(), work)
    }

    fn run_on(self, mut threads: Builder, work: impl Future<Output = Result<()>>) -> Result<()> {
        if let Some(how) = self.explain {
            explain::start(how);
        }
        let runtime = threads.enable_all().build()?;
        let outcome = runtime.block_on(async {
            let Some(limit) = self.timeout else { return work.await };
            let late = |_| Failure::TimedOut(format!("not done after {} ms", limit.as_millis()));
            tokio::time::timeout(limit, work).await.map_err(late)?
        });
        // A name that is being looked up would hold the end up.
        runtime.shutdown_background();
        outcome
    }

    /// Connects once, so that a cluster that is not there is reported at once rather than waited for.
    /// Asking for a topic never creates it.
    pub(super) async fn connect(&self) -> Result<Connected> {
        self.connect_with(false).await
    }

    /// Like [`Self::connect`], but a broker may create topics that are asked for, if it does that.
    pub(super) async fn connect_with_auto_create(&self) -> Result<Connected> {
        self.connect_with(true).await
    }

    async fn connect_with(&self, allow_auto_create_topics: bool) -> Result<Connected> {
        let cluster = self.cluster()?;
        let mut configs = Configuration::default();
        configs.set("bootstrap.servers", &cluster.bootstrap)?;
        for (key, value) in &cluster.properties {
            // What no client knows is of whoever else reads such profiles.
            configs.set(key, value).with_context(|| cluster.origin.clone())?;
        }
        for property in &self.properties {
            let (key, value) = property
                .split_once('=')
                .ok_or_else(|| usage(format!("-X {property}: expected KEY=VALUE")))?;
            if !configs.set(key, value).map_err(|error| usage(format!("-X {error:#}")))? {
                return Err(usage(format!("-X {key}: not a client key that millstream knows")));
            }
        }
        let Configuration { mut client, producer, consumer } = configs;
        client.allow_auto_create_topics &= allow_auto_create_topics;
        let bootstrap = client.bootstrap_servers.join(",");
        let client = Client::new(client).map_err(|error| usage(error.to_string()))?;
        client.any_broker().await.with_context(|| {
            let from =
                if cluster.origin.is_empty() { String::new() } else { format!(" ({})", cluster.origin) };
            format!("no Kafka at {bootstrap}{from}; `millstream up` starts one, --bootstrap names another")
        })?;
        Ok(Connected { client, producer, consumer })
    }

    fn cluster(&self) -> Result<Cluster> {
        Cluster::resolve(self.bootstrap.as_deref(), self.profile.as_deref())
    }

    /// Whether requests are told of on standard error.
    pub(super) fn explains(&self) -> bool {
        self.explain.is_some()
    }

    /// These flags again, for a command line that is to reach the same cluster.
    pub(super) fn again(&self) -> String {
        let mut words = Vec::new();
        if let Some(bootstrap) = &self.bootstrap {
            words.push(format!(" -b {}", shell(bootstrap)));
        }
        if let Some(profile) = &self.profile {
            words.push(format!(" --profile {}", shell(profile)));
        }
        words.extend(self.properties.iter().map(|property| format!(" -X {}", shell(property))));
        words.concat()
    }
}

/// Waits for ctrl-C.
pub(super) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Then it ends the process, as it does without a handler.
        std::future::pending::<()>().await;
    }
}
