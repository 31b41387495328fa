//! Wrong flags, wrong files, no broker, bytes that are no text: the exit code of Kafka's tools, a sentence that
//! helps, and never a backtrace.

use std::{fs, process::Command};

use millstream_testkit::{Program, skip};

use super::{create, free_port, ok, program, run};

#[test]
fn a_wrong_flag_is_named() {
    for tool in ["kafka-topics", "kafka-console-consumer", "kafka-e2e-latency", "kafka-verifiable-consumer"] {
        let failed = run(&format!("{tool} --bootstrap-server {{b}} --topic t --frob"));
        assert_eq!(failed.status.code(), Some(1), "{tool}");
        assert!(failed.stderr.contains("frob"), "{tool}: {}", failed.stderr);
    }
}

#[test]
fn every_tool_refuses_an_option_that_it_does_not_know() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display().to_string();
    ok(&format!("install-tools {place}"));
    let mut count = 0;
    for entry in fs::read_dir(directory.path()).unwrap() {
        let tool = entry.unwrap().file_name().into_string().unwrap();
        if tool == "kafka-server-stop.sh" {
            // It would stop others.
            continue;
        }
        count += 1;
        let failed = run(&format!("{tool} --frob"));
        let said = failed.stdout + &failed.stderr;
        assert_eq!(failed.status.code(), Some(1), "{tool}: {said}");
        let expected = match tool.as_str() {
            // Not an option of theirs: an address, and one of the JVM's.
            "kafka-e2e-latency.sh" => "Expected 5 or 6 positional arguments, but got 1",
            "kafka-run-class.sh" => "USAGE: kafka-run-class CLASS OPTIONS",
            _ => "frob",
        };
        assert!(said.contains(expected) && !said.contains("panicked"), "{tool}: {said}");
    }
    assert!(count > 30, "{count} tools");
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    for (line, code) in [
        ("kafka-topics --describe --topic misuse-none --bootstrap-server {b}", 1),
        ("kafka-topics --delete --topic misuse-none --bootstrap-server {b}", 1),
        ("kafka-configs --describe --topic misuse-none --bootstrap-server {b}", 0),
        ("kafka-get-offsets --topic misuse-none --bootstrap-server {b}", 1),
        (
            "kafka-consumer-groups --group g --topic misuse-none --reset-offsets --to-latest --dry-run --bootstrap-server {b}",
            0,
        ),
        (
            "kafka-leader-election --election-type preferred --topic misuse-none --partition 0 --bootstrap-server {b}",
            1,
        ),
    ] {
        let failed = run(line);
        let said = failed.stdout + &failed.stderr;
        assert_eq!(failed.status.code(), Some(code), "as Kafka's {line}: {said}");
        let told = said.contains("misuse-none") || said.contains("topic");
        assert!(told && !said.contains("panicked"), "{line}: {said}");
    }
}

#[test]
fn a_malformed_or_missing_properties_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let malformed = directory.path().join("malformed.properties");
    fs::write(&malformed, "client.id=\\u12\n").unwrap();
    for tool in [
        "kafka-topics --list --bootstrap-server {b}",
        "kafka-console-consumer --topic t --bootstrap-server {b}",
        "kafka-console-producer --topic t --bootstrap-server {b}",
        "kafka-verifiable-consumer --topic t --group-id g --bootstrap-server {b}",
    ] {
        for file in [malformed.clone(), directory.path().join("missing"), directory.path().to_owned()] {
            let failed = run(&format!("{tool} --command-config {}", file.display()));
            assert_eq!((failed.status.code(), failed.stdout.as_str()), (Some(1), ""), "{tool}");
            assert!(!failed.stderr.is_empty() && !failed.stderr.contains("panicked"), "{}", failed.stderr);
            if file == malformed {
                assert!(failed.stderr.contains("Malformed \\uxxxx encoding."), "{}", failed.stderr);
                assert!(failed.stderr.contains("malformed.properties"), "{}", failed.stderr);
            }
        }
    }
}

#[test]
fn a_broker_that_is_not_there_is_told_of() {
    let nowhere = format!("127.0.0.1:{}", free_port());
    let directory = tempfile::tempdir().unwrap();
    let soon = directory.path().join("soon.properties");
    fs::write(&soon, "default.api.timeout.ms=500\nrequest.timeout.ms=400\n").unwrap();
    let failed =
        run(&format!("kafka-topics --list --bootstrap-server {nowhere} --command-config {}", soon.display()));
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stderr.contains(&format!("cannot connect to {nowhere}")), "{}", failed.stderr);

    let waited =
        run(&format!("kafka-console-consumer --bootstrap-server {nowhere} --topic t --timeout-ms 1000"));
    assert_eq!(waited.status.code(), Some(0), "as Kafka's: {}", waited.stderr);
    assert!(waited.stderr.contains(&format!("WARN cannot connect to {nowhere}")), "{}", waited.stderr);
    assert!(waited.stderr.contains("Processed a total of 0 messages"), "{}", waited.stderr);

    let line = format!("kafka-console-producer --bootstrap-server {nowhere} --topic t --max-block-ms 500");
    let unsent = program(&line).input("a line\n").run().unwrap();
    assert_eq!(unsent.status.code(), Some(0), "as Kafka's: {}", unsent.stderr);
    assert!(unsent.stderr.contains("ERROR line 1 was not written"), "{}", unsent.stderr);
}

#[test]
fn bytes_that_are_no_text_do_no_harm_to_a_terminal() {
    create("misuse-binary");
    let line = "kafka-console-producer --bootstrap-server {b} --topic misuse-binary";
    program(line).input(&b"plain\na\x1b[2Jb\xffc\n"[..]).run().unwrap().ok().unwrap();
    let read = "kafka-console-consumer --bootstrap-server {b} --topic misuse-binary --partition 0 --offset earliest --max-messages 2";
    // To anything but a terminal every byte goes as it is.
    assert!(ok(read).starts_with("plain\na\x1b[2Jb"));
    if Command::new("script").arg("--version").output().is_err() {
        return skip("binary records on a terminal", "script of util-linux is not installed");
    }
    let read = format!("{} {}", super::binary(), super::words(read).join(" "));
    let shown = Program::new("script").args(["-qec", &read, "/dev/null"]).run().unwrap().ok().unwrap();
    assert!(shown.contains("plain\r\n") && shown.contains("a\\x1B[2Jb"), "{shown}");
    assert!(shown.contains("WARN bytes that are no text are shown as \\xNN"), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown}");
}
