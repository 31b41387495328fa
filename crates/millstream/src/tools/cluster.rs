//! From a tool's options to a connected client.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use millstream_client::{Admin, Client, ConsumerConfig, ProducerConfig};
use millstream_protocol::ApiKey;

use super::{
    exit::{Exit, Outcome},
    kafka_error,
    options::Given,
    output,
    properties::Properties,
};

/// What Kafka's tools say of a controller that was taken for a broker.
pub(super) const NO_BROKER: &str = "The node does not support METADATA";

/// Whether a failure is that nobody has answered, or somebody who is no broker.
pub(super) fn without_answer(exit: &Exit) -> bool {
    exit.sentence().starts_with("Timed out") || exit.sentence() == NO_BROKER
}

/// A cluster that has answered.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) producer: ProducerConfig,
    pub(super) consumer: ConsumerConfig,
}

/// Runs what talks to a cluster. One thread is enough for a tool.
pub(super) fn block_on<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// As [`block_on`], for what may be held up by whoever reads its output: what must go on meanwhile, a group
/// member's heartbeats for instance, has a thread of its own.
pub(super) fn block_on_beside_others<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(work)
}

/// What is wrong with a list of addresses, in the words of Kafka's clients.
fn check_addresses(properties: &Properties) -> Outcome {
    let Some(list) = properties.get("bootstrap.servers") else { return Ok(()) };
    let addresses: Vec<&str> = list.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    if addresses.is_empty() {
        return Err(Exit::failure(
            "Configuration 'bootstrap.servers' must not be empty. Valid values include: any non-empty value",
        ));
    }
    let has_port = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap_or_default();
        !host.is_empty() && port.parse::<u16>().is_ok()
    };
    match addresses.into_iter().find(|address| !has_port(address)) {
        Some(wrong) => Err(Exit::failure(format!("Invalid url in bootstrap.servers: {wrong}"))
            .because(format!("{wrong:?} is not of the form host:port"))),
        None => Ok(()),
    }
}

impl Cluster {
    /// A client for administration. `call` is what Kafka's message names when no broker answers until
    /// `default.api.timeout.ms` is over: a broker may be on its way up, and scripts count on the wait.
    pub(super) async fn admin(bootstrap: &str, config: Option<&str>, call: &str) -> Outcome<Self> {
        Self::administer(Properties::read_if_given(config)?, bootstrap, call).await
    }

    /// As [`Self::admin`], of the brokers or the controllers that the command line names.
    pub(super) async fn admin_of(given: &Given, config: Option<&str>, call: &str) -> Outcome<Self> {
        Self::administer_of(given, Properties::read_if_given(config)?, call).await
    }

    pub(super) async fn administer_of(
        given: &Given,
        mut properties: Properties,
        call: &str,
    ) -> Outcome<Self> {
        if let Some(controllers) = given.last("bootstrap-controller") {
            properties.set("bootstrap.controllers", controllers);
            return Self::administer(properties, controllers, call).await;
        }
        Self::administer(properties, given.last("bootstrap-server").unwrap_or_default(), call).await
    }

    /// The same with properties that are there already.
    pub(super) async fn administer(mut properties: Properties, bootstrap: &str, call: &str) -> Outcome<Self> {
        properties.set("bootstrap.servers", bootstrap);
        properties.set_default("client.id", "adminclient-1");
        let wrap = |exit: Exit| exit.map(|reason| format!("Failed to create new KafkaAdminClient\n{reason}"));
        let cluster = Self::prepare(&properties, false).await.map_err(wrap)?;
        cluster.reach(&format!("Timed out waiting for a node assignment. Call: {call}")).await?;
        cluster.check_kind().await?;
        Ok(cluster)
    }

    /// Whether it is a broker that has answered, or a controller, whichever was meant.
    async fn check_kind(&self) -> Outcome {
        if !self.client.config().bootstrap_controllers.is_empty() {
            // It is the question that a controller alone answers in this form.
            let described = self.admin_client().describe_cluster().await;
            return described.map(drop).map_err(|error| Exit::failure(kafka_error::exception(&error)));
        }
        match self.client.any_broker().await?.broker_versions(ApiKey::Metadata) {
            Some(_) => Ok(()),
            None => Err(Exit::failure(NO_BROKER)),
        }
    }

    /// A client that has not been heard of by any broker yet; an address list in which nothing resolves is
    /// refused, as Kafka's clients do.
    pub(super) async fn prepare(properties: &Properties, auto_create: bool) -> Outcome<Self> {
        check_addresses(properties)?;
        let configs = properties.configure()?;
        let mut config = configs.client;
        let forbidden = properties.get("allow.auto.create.topics").is_some_and(|value| value == "false");
        config.allow_auto_create_topics = auto_create && !forbidden;
        if config.client_id.is_empty() {
            config.client_id = "millstream".to_owned();
        }
        let addresses = config.bootstrap_servers.clone();
        let client = Client::new(config).map_err(|error| Exit::failure(error.to_string()))?;
        let mut reasons = Vec::new();
        for address in &addresses {
            match tokio::net::lookup_host(address.as_str()).await {
                Ok(_) => {
                    return Ok(Self { client, producer: configs.producer, consumer: configs.consumer });
                }
                Err(error) => reasons.push(format!("{address}: {error}")),
            }
        }
        Err(Exit::failure(format!(
            "No resolvable bootstrap urls given in bootstrap.servers\n{}",
            reasons.join("\n")
        )))
    }

    /// Waits until some broker answers, telling once why none does.
    pub(super) async fn reach(&self, late: &str) -> Outcome {
        let limit = self.client.config().default_api_timeout;
        let started = Instant::now();
        let mut told = false;
        let mut pause = self.client.config().retry_backoff;
        loop {
            let left = limit.saturating_sub(started.elapsed());
            let Ok(attempt) = tokio::time::timeout(left, self.client.any_broker()).await else {
                return Err(Exit::failure(late));
            };
            let Err(error) = attempt else { return Ok(()) };
            if !error.is_retriable() {
                return Err(error.into());
            }
            if !told {
                told = true;
                output::say(&format!("WARN {error}; trying again for {} s", limit.as_secs()));
            }
            if started.elapsed() + pause >= limit {
                return Err(Exit::failure(late));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Says what is wrong if no broker answers; whoever waits for records goes on waiting, as Kafka's
    /// consumers do.
    pub(super) async fn tell_trouble(&self) {
        if let Err(error) = self.client.any_broker().await {
            output::say(&format!("WARN {error}; trying again"));
        }
    }

    pub(super) fn admin_client(&self) -> Admin {
        self.client.admin()
    }
}
