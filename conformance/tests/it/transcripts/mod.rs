//! Kafka's command line tools and ours, the same command lines, side by side: standard output and exit code
//! must be equal, and the first line of what is said on standard error.
//!
//! Cases are in `conformance/transcripts/TOOL.toml` and run in the order of the files' names on one broker.
//! What the real tools did on Millstream is recorded beside them, so that the quick run needs no JVM:
//!
//! - quick: ours on Millstream against the recording;
//! - `MILLSTREAM_TIER=conformance`: both, live, on the target (Millstream or Kafka);
//! - `MILLSTREAM_TRANSCRIPTS=record`: the real tools on Millstream, and the recordings written anew.
//!
//! What may differ is in `rules.rs`, each difference with its reason.

mod case;
mod rules;

use std::{collections::BTreeMap, env, fmt::Write, fs, time::Duration};

use millstream_testkit::{
    Program, Running, Target, TargetOptions, java_source, kafka_missing, kafka_tool, kafka_tool_class,
    millstream_binary, repository, skip,
};
use serde_json::{Value, json};

use self::case::{Case, Script, Transcript};

/// All cases of all tools.
const JVM_LIMIT: Duration = Duration::from_secs(1800);

const RECORDED: &str = "conformance/transcripts/recorded";

/// Where cases run: a broker of their own, and a directory for their files.
struct Stage {
    broker: Running,
    /// The broker's id.
    id: String,
    /// Where its controller listens, which only a Kafka's does.
    controller: Option<String>,
    directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let broker = Target::start(TargetOptions::default()).expect("a broker");
        let endpoints = ["kafka-cluster", "list-endpoints", "--bootstrap-server", broker.bootstrap()];
        let program = Program::new(millstream_binary().expect("a millstream")).args(endpoints);
        let listed = program.run().expect("our tool runs").ok().expect("it ends well");
        let id = listed.lines().nth(1).and_then(|line| line.split(' ').next()).expect("a broker").to_owned();
        let properties = fs::read_to_string(broker.root().join("server.properties")).unwrap_or_default();
        let voters = properties.lines().find_map(|line| line.strip_prefix("controller.quorum.voters=1@"));
        let controller = voters.map(str::to_owned);
        Self { broker, id, controller, directory: tempfile::tempdir().expect("a directory") }
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{b}", self.broker.bootstrap())
            .replace("{c}", self.controller.as_deref().unwrap_or_default())
            .replace("{id}", &self.id)
            .replace("{dir}", &self.directory.path().display().to_string())
            .replace("{data}", &self.broker.log_dir().display().to_string())
    }

    fn words(&self, case: &Case) -> Vec<String> {
        case::words(&case.run).iter().map(|word| self.filled(word)).collect()
    }

    fn write_files(&self, case: &Case) {
        for (name, content) in &case.files {
            let path = self.directory.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a case's directory");
            fs::write(path, self.filled(content)).expect("a case's file");
        }
    }

    /// Takes out of a transcript what belongs to this stage alone.
    fn neutral(&self, case: &Case, raw: &Raw) -> Transcript {
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let controller = self.controller.clone().unwrap_or_else(|| "no controller".to_owned());
        let places = [
            (self.broker.bootstrap().to_owned(), "{b}"),
            (format!(" {} ", port(self.broker.bootstrap())), " PORT "),
            (format!(" {} ", port(&controller)), " PORT "),
            (controller, "{c}"),
            (self.directory.path().display().to_string(), "{dir}"),
            (self.broker.log_dir().display().to_string(), "{data}"),
        ];
        rules::apply(case, raw, &places)
    }
}

/// What a tool printed.
struct Raw {
    code: i64,
    stdout: String,
    stderr: String,
}

/// All cases with ours.
fn ours(stage: &Stage, scripts: &[Script]) -> Vec<Transcript> {
    let binary = millstream_binary().expect("a millstream");
    let mut transcripts = Vec::new();
    for case in scripts.iter().flat_map(|script| &script.cases) {
        stage.write_files(case);
        let program = Program::new(&binary).arg(&case.tool).args(stage.words(case)).input(case.input.clone());
        let finished = program.run().expect("our tool runs");
        let code = finished.status.code().unwrap_or(-1).into();
        let raw = Raw { code, stdout: finished.stdout, stderr: finished.stderr };
        assert!(!raw.stderr.contains("panicked at"), "{} {}: {}", case.tool, case.run, raw.stderr);
        assert!(case.better.is_none() || !raw.stderr.is_empty(), "{} {} says nothing", case.tool, case.run);
        transcripts.push(stage.neutral(case, &raw));
    }
    transcripts
}

/// What these print when they end comes from hooks that only the end of a JVM runs.
const OWN_JVM: [&str; 2] = ["kafka-verifiable-consumer", "kafka-verifiable-producer"];

/// All cases with Kafka's, nearly all in one JVM.
fn theirs(stage: &Stage, scripts: &[Script]) -> Vec<Transcript> {
    let cases: Vec<&Case> = scripts.iter().flat_map(|script| &script.cases).collect();
    let (alone, together): (Vec<&Case>, Vec<&Case>) =
        cases.iter().partition(|case| OWN_JVM.contains(&case.tool.as_str()));
    let mut together = in_one_jvm(stage, &together).into_iter();
    let mut alone = alone.into_iter().map(|case| in_own_jvm(stage, case)).collect::<Vec<_>>().into_iter();
    let raw = cases.iter().map(|case| {
        let answers = if OWN_JVM.contains(&case.tool.as_str()) { &mut alone } else { &mut together };
        stage.neutral(case, &answers.next().expect("an answer for each"))
    });
    raw.collect()
}

fn in_own_jvm(stage: &Stage, case: &Case) -> Raw {
    stage.write_files(case);
    let program = kafka_tool(&case.tool).expect("a tool of Kafka's").args(stage.words(case));
    let finished = program.input(case.input.clone()).run().expect("the tool runs");
    let code = finished.status.code().unwrap_or(-1).into();
    Raw { code, stdout: finished.stdout, stderr: finished.stderr }
}

fn in_one_jvm(stage: &Stage, cases: &[&Case]) -> Vec<Raw> {
    let mut requests = String::new();
    for case in cases {
        stage.write_files(case);
        let class = kafka_tool_class(&case.tool).expect("a tool of Kafka's");
        let request = json!({ "class": class, "args": stage.words(case), "input": case.input });
        writeln!(requests, "{request}").expect("a string takes everything");
    }
    let source = repository().join("conformance/clients/java/Tools.java");
    let program = java_source(&source, None).expect("java");
    let program = program.env("JAVA_TOOL_OPTIONS", "-Djava.security.manager=allow");
    let program = program.directory(stage.directory.path()).input(requests).limit(JVM_LIMIT);
    let said = program.run().expect("the tools run").ok().expect("they end well");
    let answers: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), cases.len(), "one answer a case");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    answers
        .iter()
        .map(|answer| Raw {
            code: answer["code"].as_i64().expect("a code"),
            stdout: text(&answer["stdout"]),
            stderr: text(&answer["stderr"]),
        })
        .collect()
}

/// The cases of all tools. Those at a controller, `{c}`, can be tried on a Kafka alone.
fn scripts(with_controller: bool) -> Vec<Script> {
    let directory = repository().join("conformance/transcripts");
    // For whoever writes cases: only these tools', with commas between.
    let wanted = env::var("MILLSTREAM_TRANSCRIPTS_ONLY").ok();
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .expect("the transcripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .filter(|path| {
            let is = |name: &str| path.file_stem().is_some_and(|stem| *stem == *name);
            wanted.as_ref().is_none_or(|names| names.split(',').any(is))
        })
        .collect();
    paths.sort();
    let mut scripts: Vec<Script> = paths.iter().map(|path| Script::read(path)).collect();
    if !with_controller {
        for script in &mut scripts {
            script.cases.retain(|case| !case.run.contains("{c}"));
        }
    }
    scripts
}

fn record(scripts: &[Script], transcripts: Vec<Transcript>) {
    let mut transcripts = transcripts.into_iter();
    for script in scripts {
        let recorded: Vec<Transcript> = transcripts.by_ref().take(script.cases.len()).collect();
        let path = repository().join(RECORDED).join(format!("{}.toml", script.name));
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, case::to_text(script, &recorded)).expect("the recording is written");
    }
}

fn recorded(scripts: &[Script]) -> Vec<Transcript> {
    let of = |script: &Script| {
        let path = repository().join(RECORDED).join(format!("{}.toml", script.name));
        case::from_text(&path, script)
    };
    scripts.iter().flat_map(of).collect()
}

fn compare(scripts: &[Script], kafkas: &[Transcript], ours: &[Transcript]) {
    let cases: Vec<&Case> = scripts.iter().flat_map(|script| &script.cases).collect();
    let mut differing = String::new();
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for ((case, theirs), ours) in cases.iter().zip(kafkas).zip(ours) {
        let count = counts.entry(case.tool.as_str()).or_default();
        count.0 += 1;
        if theirs != ours {
            count.1 += 1;
            let shown = |transcript: &Transcript| transcript.to_string().replace('\n', "\n    ");
            writeln!(
                differing,
                "$ {} {}\n  kafka:\n    {}\n  ours:\n    {}",
                case.tool,
                case.run,
                shown(theirs),
                shown(ours)
            )
            .expect("a string takes everything");
        }
    }
    for (tool, (count, bad)) in &counts {
        eprintln!("{tool}: {count} cases, {bad} differ");
    }
    assert!(differing.is_empty(), "transcripts differ:\n{differing}");
}

fn on_kafka() -> bool {
    env::var("MILLSTREAM_TARGET").is_ok_and(|target| target == "kafka")
}

/// The tools that everybody uses; the others have at least six cases.
const FIRST: [&str; 10] = [
    "kafka-topics",
    "kafka-console-producer",
    "kafka-console-consumer",
    "kafka-consumer-groups",
    "kafka-configs",
    "kafka-get-offsets",
    "kafka-producer-perf-test",
    "kafka-consumer-perf-test",
    "kafka-e2e-latency",
    "kafka-broker-api-versions",
];

#[test]
fn our_tools_print_what_kafkas_print() {
    let scripts = scripts(on_kafka());
    let recording = env::var("MILLSTREAM_TRANSCRIPTS").is_ok_and(|mode| mode == "record");
    let live = env::var("MILLSTREAM_TIER").is_ok_and(|tier| tier == "conformance");
    if recording || live {
        if let Some(missing) = kafka_missing() {
            return skip("Kafka's command line tools", &missing);
        }
        let theirs = theirs(&Stage::new(), &scripts);
        if recording {
            return record(&scripts, theirs);
        }
        return compare(&scripts, &theirs, &ours(&Stage::new(), &scripts));
    }
    if on_kafka() {
        return skip(
            "transcripts on Kafka",
            "they were recorded on Millstream; MILLSTREAM_TIER=conformance compares live",
        );
    }
    compare(&scripts, &recorded(&scripts), &ours(&Stage::new(), &scripts));
}

#[test]
fn every_tool_has_its_cases_and_a_third_of_them_fail() {
    let scripts = scripts(false);
    let mut recorded = recorded(&scripts).into_iter();
    for script in &scripts {
        let transcripts = script.cases.iter().zip(recorded.by_ref());
        let own: Vec<Transcript> = transcripts
            .filter(|(case, _)| case.tool == script.name)
            .map(|(_, transcript)| transcript)
            .collect();
        // Some tools end with 0 all the same and say it on standard output.
        let fails = |transcript: &&Transcript| transcript.code != 0 || transcript.stdout.contains("Error");
        let failing = own.iter().filter(fails).count();
        let least = if FIRST.contains(&script.name.as_str()) { 20 } else { 6 };
        assert!(own.len() >= least, "{} has {} cases", script.name, own.len());
        assert!(failing * 3 >= own.len(), "{} has {failing} failing ones of {}", script.name, own.len());
    }
}
