//! Which cluster, and a client for it.

use std::env;

use anyhow::{Context, Result, anyhow};
use millstream_client::{Client, ClientConfig, ConsumerConfig, ProducerConfig};

const BOOTSTRAP_DEFAULT: &str = "localhost:9092";

#[derive(clap::Args)]
pub(super) struct ConnectArguments {
    /// Where the cluster is [default: $MILLSTREAM_BOOTSTRAP, $BOOTSTRAP_SERVERS, or localhost:9092]
    #[arg(short, long, value_name = "HOST:PORT,…")]
    bootstrap_server: Option<String>,
    /// A client's configuration key, by Kafka's name; repeat for more
    #[arg(short = 'X', long = "property", value_name = "KEY=VALUE")]
    properties: Vec<String>,
}

/// What the properties on the command line come to.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) producer: ProducerConfig,
    pub(super) consumer: ConsumerConfig,
}

impl ConnectArguments {
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
        let bootstrap = self.bootstrap();
        let mut config = ClientConfig { allow_auto_create_topics, ..ClientConfig::new(&bootstrap) };
        let (mut producer, mut consumer) = (ProducerConfig::default(), ConsumerConfig::default());
        for property in &self.properties {
            let (key, value) =
                property.split_once('=').ok_or_else(|| anyhow!("-X {property}: expected KEY=VALUE"))?;
            let known = config.set(key, value)? | producer.set(key, value)? | consumer.set(key, value)?;
            if !known {
                return Err(anyhow!("-X {key}: not a client key that millstream knows"));
            }
        }
        let client = Client::new(config)?;
        client.any_broker().await.with_context(|| {
            format!("no Kafka at {bootstrap}; `millstream up` starts one, --bootstrap-server names another")
        })?;
        Ok(Connected { client, producer, consumer })
    }

    fn bootstrap(&self) -> String {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let chosen = self.bootstrap_server.clone();
        let chosen = chosen.or_else(|| set("MILLSTREAM_BOOTSTRAP")).or_else(|| set("BOOTSTRAP_SERVERS"));
        chosen.unwrap_or_else(|| BOOTSTRAP_DEFAULT.to_owned())
    }
}

/// Runs a command that talks to a cluster.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
