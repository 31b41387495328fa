//! Names from the cluster. Whoever waits for a completion waits a moment at most: without an answer there
//! are no names.

use std::{env, time::Duration};

use millstream_client::{Client, ClientConfig};

use super::Live;

const LIMIT: Duration = Duration::from_millis(1500);

pub(super) fn names(live: Live, words: &[String]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, fetch(live, &bootstrap(words))).await.ok().flatten().unwrap_or_default()
    })
}

/// As on the command line, or else from where our own verbs take it.
fn bootstrap(words: &[String]) -> String {
    for (index, word) in words.iter().enumerate() {
        if let Some(value) = word.strip_prefix("--bootstrap-server=") {
            return value.to_owned();
        }
        if matches!(word.as_str(), "--bootstrap-server" | "-b")
            && let Some(value) = words.get(index + 1)
        {
            return value.clone();
        }
    }
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let chosen = set("MILLSTREAM_BOOTSTRAP").or_else(|| set("BOOTSTRAP_SERVERS"));
    chosen.unwrap_or_else(|| "localhost:9092".to_owned())
}

async fn fetch(live: Live, bootstrap: &str) -> Option<Vec<String>> {
    let config = ClientConfig {
        default_api_timeout: LIMIT,
        allow_auto_create_topics: false,
        ..ClientConfig::new(bootstrap)
    };
    let admin = Client::new(config).ok()?.admin();
    Some(match live {
        Live::Topics => {
            admin.list_topics().await.ok()?.into_iter().map(|topic| topic.name.to_string()).collect()
        }
        Live::Groups => admin.list_groups().await.ok()?.into_iter().map(|group| group.id).collect(),
    })
}

#[test]
fn the_cluster_is_the_one_on_the_command_line() {
    let of = |line: &str| bootstrap(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(of("kafka-topics --bootstrap-server a:1 --topic x"), "a:1");
    assert_eq!(of("kafka-topics --bootstrap-server=b:2 --topic x"), "b:2");
    assert_eq!(of("millstream topic show -b c:3"), "c:3");
}
