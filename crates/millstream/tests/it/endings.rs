//! How commands end that are cut off: a closed pipe, ctrl-C, a clock that runs out, a broker that never answers.

use std::{
    io::Write,
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use millstream_testkit::{Finished, Process, Program, wait_until};
use rustix::process::Signal;

use crate::command::{BOOTSTRAP, failed, ok, program, run, run_with};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a line of shell with `$ms` as the program.
fn shell(line: &str) -> Finished {
    let sh = Program::new("sh").args(["-c", line]).env("ms", env!("CARGO_BIN_EXE_millstream"));
    sh.env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str()).run().unwrap()
}

fn interrupt(process: &mut Process) -> Option<i32> {
    process.signal(Signal::INT).unwrap();
    process.wait(LIMIT).unwrap().code()
}

#[test]
fn a_reader_that_goes_ends_a_command_in_silence() {
    ok("topic create piped -p 1");
    let lines: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    run_with("produce piped", &lines).ok().unwrap();
    // What waits for more notices too.
    for flags in ["-e", "", "-J", "-g pipers"] {
        let piped = shell(&format!("{{ \"$ms\" cat piped {flags}; echo $? >&2; }} | head -n 1"));
        assert_eq!(piped.stdout.lines().count(), 1, "{flags}");
        assert_eq!(piped.stderr, "0\n", "{flags}");
    }
    for words in ["topic ls", "topic ls --watch=100ms", "--help", "api versions"] {
        let piped = shell(&format!("{{ \"$ms\" {words}; echo $? >&2; }} | true"));
        assert_eq!(piped.stderr.lines().last(), Some("0"), "{words}: {}", piped.stderr);
    }
    let deaf = shell("{ \"$ms\" topic show nosuch; echo $?; } 2>&- | tail -n 1");
    assert_eq!(deaf.stdout, "3\n");
}

#[test]
fn interrupted_commands_exit_with_130_and_no_word() {
    ok("topic create endless -p 1");
    run_with("produce endless", "one\n").ok().unwrap();
    let place = tempfile::tempdir().unwrap();
    for (index, flags) in ["", "-g interrupted", "-o end"].iter().enumerate() {
        let log = place.path().join(index.to_string());
        let cat = program(&format!("cat endless {flags} --explain"));
        let mut cat = cat.env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str()).start(&log).unwrap();
        wait_until("a fetch", LIMIT, || Ok(cat.output().contains("kafka: Fetch ").then_some(()))).unwrap();
        assert_eq!(interrupt(&mut cat), Some(130), "{flags}: {}", cat.output());
        assert!(
            !cat.output().contains("panicked") && !cat.output().contains("millstream:"),
            "{}",
            cat.output()
        );
    }
    // A member that was interrupted has left, and what it printed is committed.
    let left = run("group show interrupted");
    assert!(left.stdout.contains("endless\t0\t1\t1\t0\t"), "{}", left.stdout);
    assert!(left.stdout.starts_with("group\tinterrupted\tEmpty\t"), "{}", left.stdout);
}

#[test]
fn what_was_read_when_produce_is_interrupted_is_written_and_counted() {
    ok("topic create cut-off -p 1");
    let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["produce", "cut-off", "--report"])
        .env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").unwrap();
    let written = || Ok((ok("topic count cut-off") == "cut-off\t0\t2\n").then_some(()));
    wait_until("two records", LIMIT, written).unwrap();
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), said.as_str()), (Some(130), "2 records written to cut-off\n"));
    drop(stdin);
}

#[test]
fn a_clock_that_runs_out_is_exit_code_124() {
    ok("topic create slow -p 1");
    let (code, said) = failed("cat slow --timeout 200ms");
    assert_eq!((code, said.as_str()), (124, "millstream: not done after 200 ms\n"));
    // Somebody who listens and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let connections: Vec<_> = listener.incoming().collect();
        drop(connections);
    });
    let (code, said) = failed(&format!("topic ls -b {address} --timeout 200ms"));
    assert_eq!((code, said.as_str()), (124, "millstream: not done after 200 ms\n"));
    let (code, said) = failed(&format!("topic ls -b {address} -X request.timeout.ms=200"));
    assert_eq!(code, 124, "{said}");
}

#[test]
fn somebody_who_is_no_kafka_is_told_from_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let (code, said) = failed(&format!("topic ls -b {address}"));
    assert_eq!(code, 1, "{said}");
    assert!(said.starts_with(&format!("millstream: no Kafka at {address}; ")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
