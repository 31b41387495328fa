//! Completion as a shell sees it.

use millstream_testkit::{Program, Running, Target, TargetOptions, skip};

const BINARY: &str = env!("CARGO_BIN_EXE_millstream");

/// A broker with the topics `seen.here` and `other` and the group `seen-group`.
fn broker() -> Running {
    let broker = Target::start(TargetOptions::default()).unwrap();
    let at = ["--bootstrap-server", broker.bootstrap()];
    let run = |tool: &str, words: &[&str]| {
        Program::new(BINARY).arg(tool).args(at).args(words.iter().copied()).run().unwrap().ok().unwrap();
    };
    run("kafka-topics", &["--create", "--topic", "seen.here"]);
    run("kafka-topics", &["--create", "--topic", "other"]);
    let reset =
        ["--group", "seen-group", "--topic", "other", "--reset-offsets", "--to-earliest", "--execute"];
    run("kafka-consumer-groups", &reset);
    broker
}

/// Whether a shell is there; says so if it is not.
fn has(shell: &str) -> bool {
    let runs = Program::new(shell).arg("--version").run().is_ok_and(|finished| finished.status.success());
    if !runs {
        skip(
            &format!("completion in {shell}"),
            &format!("{shell} is not installed; conformance/install.sh {shell}"),
        );
    }
    runs
}

/// Lines up to the cursor, and what each shell is to make of them: the words offered, the first of them
/// where the line is completed.
fn expected(broker: &Running) -> Vec<(String, Vec<&'static str>)> {
    let at = format!("--bootstrap-server {}", broker.bootstrap());
    vec![
        (format!("kafka-topics.sh {at} --describe --topic se"), vec!["seen.here"]),
        (format!("kafka-consumer-groups {at} --describe --group seen"), vec!["seen-group"]),
        (format!("kafka-log-dirs {at} --topic-list other,se"), vec!["other,seen.here"]),
        (format!("millstream kafka-get-offsets {at} --topic ot"), vec!["other"]),
        (format!("millstream topic show {at} se"), vec!["seen.here"]),
        ("kafka-topics --descr".to_owned(), vec!["--describe"]),
        ("millstream kafka-leader-election --election-type p".to_owned(), vec!["preferred"]),
    ]
}

/// What bash would offer behind this line.
fn bash(line: &str) -> Vec<String> {
    let script = format!(
        "source <('{BINARY}' completion bash)\n\
         COMP_LINE={line:?}; COMP_POINT=${{#COMP_LINE}}; _millstream\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let said = Program::new("bash").args(["-c", &script]).run().unwrap().ok().unwrap();
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_is_offered_the_names_that_there_are() {
    let broker = broker();
    for (line, words) in expected(&broker) {
        assert_eq!(bash(&line), words, "{line}");
    }
    assert!(bash("kafka-topics --topic x --bootstrap-server 127.0.0.1:1 --topic ").is_empty());
    assert_eq!(bash("millstream kafka-leader-election --election-type "), ["preferred", "unclean"]);
}

#[test]
fn zsh_completes_the_line_on_a_terminal() {
    if !has("zsh") {
        return;
    }
    let broker = broker();
    let expected = expected(&broker);
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("completion.zsh");
    std::fs::write(&script, include_str!("completion.zsh")).unwrap();
    let program = Program::new("zsh").args(["-f", &script.display().to_string(), BINARY]);
    let typed = program.args(expected.iter().map(|(line, _)| line.clone())).run().unwrap().ok().unwrap();
    let completed = expected.iter().map(|(line, words)| {
        let (before, _) = line.rsplit_once(' ').unwrap();
        format!("{before} {} ", words[0])
    });
    assert_eq!(typed.lines().collect::<Vec<_>>(), completed.collect::<Vec<_>>());
}

#[test]
fn fish_is_offered_the_names_that_there_are() {
    if !has("fish") {
        return;
    }
    let broker = broker();
    let expected = expected(&broker);
    let home = tempfile::tempdir().unwrap();
    let mut script = format!("'{BINARY}' completion fish | source\n");
    for (line, _) in &expected {
        script += &format!("complete -C '{line}'; echo =\n");
    }
    let program = Program::new("fish").args(["--no-config", "-c", &script]);
    let program = program.env("HOME", home.path().display().to_string());
    let said = program.run().unwrap().ok().unwrap();
    let offered: Vec<Vec<&str>> = said
        .split("=\n")
        .map(|answer| answer.lines().filter_map(|line| line.split('\t').next()).collect())
        .collect();
    for ((line, words), offered) in expected.iter().zip(&offered) {
        assert_eq!(offered, words, "{line}");
    }
}
