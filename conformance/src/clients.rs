//! The clients: what they are, how their programs are run, what is known to be beyond them.

use std::{collections::BTreeMap, env, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use millstream_testkit::{Kind, Program, TargetOptions, cache_dir, java_source, repository};

use crate::cases::{CASES, Outcome, Status};

/// How long one client may take for all cases, on a busy machine.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// When a client is run: by every `make test`, or only by `make conformance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Test,
    Conformance,
}

impl Tier {
    /// As `MILLSTREAM_TIER` says: `test` unless set.
    pub fn from_env() -> Result<Self> {
        match env::var("MILLSTREAM_TIER").as_deref() {
            Err(_) | Ok("" | "test") => Ok(Self::Test),
            Ok("conformance") => Ok(Self::Conformance),
            Ok(other) => bail!("MILLSTREAM_TIER is {other:?}, not test or conformance"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Python { program: &'static str },
    Java,
    Go,
    JavaScript,
    Kcat,
}

#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its name in `install.sh`, in the programs and in topic names.
    pub name: &'static str,
    /// For people, with the version that is pinned.
    pub title: &'static str,
    pub tier: Tier,
    language: Language,
    /// The beginnings of the cases that it cannot go through; its program says why.
    beyond: &'static [&'static str],
}

const fn client(name: &'static str, title: &'static str, tier: Tier, language: Language) -> Client {
    Client { name, title, tier, language, beyond: &[] }
}

const fn python(program: &'static str) -> Language {
    Language::Python { program }
}

pub const CLIENTS: [Client; 10] = [
    client("kafka-python", "kafka-python 3.0.12", Tier::Test, python("kafka_python.py")),
    client("confluent-kafka", "confluent-kafka 2.16.1 (librdkafka)", Tier::Test, python("confluent.py")),
    client("java", "Java kafka-clients 4.3.1", Tier::Test, Language::Java),
    client("franz-go", "franz-go 1.22.2", Tier::Test, Language::Go),
    client("kafkajs", "KafkaJS 2.2.4", Tier::Test, Language::JavaScript),
    client("kafka-python-2", "kafka-python 2.0.2", Tier::Conformance, python("kafka_python.py")),
    client("aiokafka", "aiokafka 0.14.0", Tier::Conformance, python("aio.py")),
    client("java-2.8", "Java kafka-clients 2.8.2", Tier::Conformance, Language::Java),
    client("sarama", "Sarama 1.61.1", Tier::Conformance, Language::Go),
    Client {
        beyond: &["admin_"],
        ..client("kcat", "kcat 1.7.1 (librdkafka 2.0.2)", Tier::Conformance, Language::Kcat)
    },
];

impl Client {
    pub fn named(name: &str) -> Result<Self> {
        CLIENTS.into_iter().find(|c| c.name == name).with_context(|| format!("no client is named {name:?}"))
    }

    /// What is missing to run it here, if anything.
    pub fn missing(&self) -> Result<Option<String>> {
        let there = match self.language {
            Language::Kcat => Program::new("kcat").arg("-V").run().is_ok(),
            Language::Java if self.name == "java" => cache_dir()?.join("kafka-4.3.1/.complete").exists(),
            _ => self.directory()?.join(".complete").exists(),
        };
        Ok((!there).then(|| format!("{} is not installed: conformance/install.sh {}", self.title, self.name)))
    }

    /// The broker that its cases want.
    pub fn target(&self, kind: Kind) -> TargetOptions {
        let options = TargetOptions::default().kind(kind);
        if self.language == Language::Kcat {
            // It creates topics only by asking for them, and all alike.
            return options.set("num.partitions", 12).set("message.max.bytes", 100_000);
        }
        options.set("auto.create.topics.enable", false)
    }

    /// Lets it go through all cases. Its topics are named after it, so that several can share a broker.
    pub fn run(&self, bootstrap: &str) -> Result<Vec<Outcome>> {
        let said = self.program(bootstrap)?.limit(RUN_LIMIT).run()?.ok()?;
        said.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    fn program(&self, bootstrap: &str) -> Result<Program> {
        let source = repository().join("conformance/clients");
        let keys = source.join("keys.tsv").display().to_string();
        let file = |path: &str| source.join(path).display().to_string();
        let directory = self.directory()?;
        let program = match self.language {
            Language::Python { program } => {
                let python = Program::new(directory.join("venv/bin/python"));
                return Ok(python.arg("-B").arg(file(&format!("python/{program}"))).arg(bootstrap));
            }
            Language::Java => {
                let libs = directory.join("libs");
                java_source(
                    &source.join("java/Conformance.java"),
                    (self.name != "java").then_some(libs.as_path()),
                )?
            }
            Language::Go => Program::new(directory.join(self.name)),
            Language::JavaScript => Program::new("node")
                .env("NODE_PATH", directory.join("node_modules").display().to_string())
                .arg(file("kafkajs/main.js")),
            Language::Kcat => Program::new("python3").arg("-B").arg(file("kcat/main.py")),
        };
        Ok(program.args([self.name, bootstrap, &keys]))
    }

    fn directory(&self) -> Result<PathBuf> {
        Ok(cache_dir()?.join("clients").join(self.name))
    }

    /// Everything that is not as it should be: cases that failed, are missing, or claim not to apply
    /// although they are within the client's reach.
    pub fn complaints(&self, outcomes: &[Outcome]) -> Vec<String> {
        let mut found: BTreeMap<&str, &Outcome> = outcomes.iter().map(|o| (o.name.as_str(), o)).collect();
        let mut complaints = Vec::new();
        for case in &CASES {
            let beyond = self.beyond.iter().any(|prefix| case.name.starts_with(prefix));
            match found.remove(case.name).map(|o| (o.status, o.detail.as_str())) {
                Some((Status::Ok, _)) if !beyond => {}
                Some((Status::NotApplicable, reason)) if beyond && !reason.is_empty() => {}
                Some((status, detail)) => complaints.push(format!("{}: {status:?} {detail}", case.name)),
                None => complaints.push(format!("{}: the program did not run it", case.name)),
            }
        }
        complaints.extend(found.into_keys().map(|name| format!("{name}: not a case that is known")));
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_as_expected(client: &Client) -> Vec<Outcome> {
        let outcome = |name: &str| {
            let beyond = client.beyond.iter().any(|prefix| name.starts_with(prefix));
            let status = if beyond { Status::NotApplicable } else { Status::Ok };
            Outcome { name: name.to_owned(), status, detail: "because".to_owned() }
        };
        CASES.iter().map(|case| outcome(case.name)).collect()
    }

    #[test]
    fn a_case_that_fails_or_is_missing_or_claims_not_to_apply_is_a_complaint() {
        let client = Client::named("java").unwrap();
        let mut outcomes = all_as_expected(&client);
        assert_eq!(client.complaints(&outcomes), [""; 0]);
        outcomes[0].status = Status::Fail;
        outcomes[1].status = Status::NotApplicable;
        outcomes.remove(2);
        assert_eq!(client.complaints(&outcomes).len(), 3);
    }

    #[test]
    fn what_is_beyond_a_client_must_say_why() {
        let client = Client::named("kcat").unwrap();
        let mut outcomes = all_as_expected(&client);
        assert_eq!(client.complaints(&outcomes), [""; 0]);
        outcomes[0].detail.clear();
        assert_eq!(client.complaints(&outcomes).len(), 1);
    }
}
