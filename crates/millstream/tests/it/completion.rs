//! Completion as a shell sees it.

use millstream_testkit::{Program, Target, TargetOptions};

/// What bash would offer behind this line.
fn offered(binary: &str, line: &str) -> Vec<String> {
    let script = format!(
        "source <('{binary}' completion bash)\n\
         COMP_LINE={line:?}; COMP_POINT=${{#COMP_LINE}}; _millstream\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let said = Program::new("bash").args(["-c", &script]).run().unwrap().ok().unwrap();
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_is_offered_the_topics_that_there_are() {
    let broker = Target::start(TargetOptions::default()).unwrap();
    let binary = env!("CARGO_BIN_EXE_millstream");
    let create =
        ["kafka-topics", "--bootstrap-server", broker.bootstrap(), "--create", "--topic", "seen.here"];
    Program::new(binary).args(create).run().unwrap().ok().unwrap();
    let at = format!("--bootstrap-server {}", broker.bootstrap());
    assert_eq!(offered(binary, &format!("kafka-topics.sh {at} --describe --topic se")), ["seen.here"]);
    assert_eq!(offered(binary, &format!("millstream topic show {at} see")), ["seen.here"]);
    assert!(offered(binary, "kafka-topics --topic x --bootstrap-server 127.0.0.1:1 --topic ").is_empty());
    assert_eq!(
        offered(binary, "millstream kafka-leader-election --election-type "),
        ["preferred", "unclean"]
    );
}
