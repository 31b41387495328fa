//! Profiles: ours, and the files of other tools.

use std::{fs, path::Path};

use millstream_testkit::{Finished, Program};
use serde_json::Value;

use crate::command::BOOTSTRAP;

/// Runs a command line with a configuration directory of its own and no cluster named anywhere else.
fn run(config: &Path, words: &str) -> Finished {
    let program = Program::new(env!("CARGO_BIN_EXE_millstream")).args(words.split_whitespace());
    let unset =
        ["MILLSTREAM_BOOTSTRAP", "MILLSTREAM_PROFILE", "KAFKA_BOOTSTRAP", "BOOTSTRAP_SERVERS", "KCAT_CONFIG"];
    let program = unset.iter().fold(program, |program, name| program.env(name, ""));
    program.env("XDG_CONFIG_HOME", config.display().to_string()).run().unwrap()
}

fn ok(config: &Path, words: &str) -> String {
    run(config, words).ok().unwrap()
}

#[test]
fn a_profile_is_made_used_shown_and_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path();
    let bootstrap = BOOTSTRAP.as_str();
    let current: Value = serde_json::from_str(&ok(config, "profile current -o json")).unwrap();
    assert_eq!((&current["bootstrap"], &current["from"]), (&"localhost:9092".into(), &"default".into()));

    let made = run(config, &format!("profile add here -b {bootstrap} -X client.id=me --use"));
    assert_eq!(made.stderr, "profile here made\nundo: millstream profile rm here\n");
    assert_eq!(ok(config, "profile ls"), format!("here\t*\t{bootstrap}\n"));
    ok(config, "topic create by-profile -p 1");
    assert_eq!(ok(config, "topic ls by-profile --profile here -o name"), "by-profile\n");
    run(config, "profile add nowhere -b 127.0.0.1:1").ok().unwrap();
    let there = run(config, "topic ls --profile nowhere");
    assert_eq!(there.status.code(), Some(1));
    assert!(there.stderr.contains("no Kafka at 127.0.0.1:1 (profile nowhere); "), "{}", there.stderr);

    let used = run(config, "profile use nowhere");
    assert_eq!(used.stderr, "profile nowhere is used from now on\nundo: millstream profile use here\n");
    // What is said on the command line comes first.
    assert_eq!(ok(config, &format!("topic ls by-profile -b {bootstrap} -o name")), "by-profile\n");
    let removed = run(config, "profile rm nowhere");
    assert!(
        removed.stderr.ends_with("undo: millstream profile add nowhere -b 127.0.0.1:1 --use\n"),
        "{}",
        removed.stderr
    );
    for (words, code) in [
        ("profile use nowhere", 3),
        ("topic ls --profile nowhere", 3),
        ("profile rm nowhere", 3),
        ("profile add a/b -b x:1", 2),
        ("profile add bad -b nonsense", 2),
        ("profile add", 2),
    ] {
        let finished = run(config, words);
        assert_eq!(finished.status.code(), Some(code), "{words}: {}", finished.stderr);
    }
}

#[test]
fn the_files_of_kcat_rpk_and_java_are_read() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path();
    let bootstrap = BOOTSTRAP.as_str();
    fs::write(config.join("kcat.conf"), format!("# kcat's\nmetadata.broker.list={bootstrap}\n")).unwrap();
    fs::create_dir(config.join("rpk")).unwrap();
    let rpk = format!(
        "version: 7\ncurrent_profile: local\nprofiles:\n- name: local\n  kafka_api:\n    brokers: ['{bootstrap}']\n\
         - name: cloud\n  kafka_api:\n    brokers: [b:9092]\n    tls: {{}}\n    sasl: {{user: u, password: p, mechanism: PLAIN}}\n"
    );
    fs::write(config.join("rpk/rpk.yaml"), rpk).unwrap();
    let java = config.join("client.properties");
    fs::write(&java, format!("bootstrap.servers = {bootstrap}\nlinger.ms: 3\nkey.serializer=x\n")).unwrap();
    let java = java.display().to_string();
    assert_eq!(
        ok(config, "profile ls"),
        format!("kcat\t\t{bootstrap}\nrpk:local\t\t{bootstrap}\nrpk:cloud\t\tb:9092\n")
    );
    for profile in ["kcat", "rpk", "rpk:local", java.as_str()] {
        ok(config, &format!("topic ls --profile {profile}"));
    }
    ok(config, &format!("profile add mine -f {java}"));
    assert_eq!(
        ok(config, "profile show mine -o csv").lines().nth(1),
        Some(&*format!("bootstrap.servers,{bootstrap}"))
    );
    ok(config, "topic ls --profile mine");
    let cloud = run(config, "topic ls --profile rpk:cloud");
    assert_eq!(cloud.status.code(), Some(1));
    assert!(cloud.stderr.contains("profile rpk:cloud"), "{}", cloud.stderr);
}

#[test]
fn a_malformed_file_is_named_with_its_line() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path();
    let write = |name: &str, text: &str| {
        let path = config.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let conf = write("bad.conf", "a=b\nnonsense\n");
    let yaml = write("bad.yaml", "profiles: [");
    let bytes = config.join("bytes.properties");
    fs::write(&bytes, [0xff, 0xfe, 0]).unwrap();
    let bytes = bytes.display().to_string();
    let empty = write("empty.properties", "");
    for (path, expected) in [
        (conf.as_str(), "line 2: expected KEY=VALUE"),
        (yaml.as_str(), "bad.yaml: "),
        (bytes.as_str(), "it is not text"),
        (empty.as_str(), "names no bootstrap.servers"),
        ("/no/such.properties", "there is no such file"),
    ] {
        let finished = run(config, &format!("topic ls --profile {path}"));
        assert!(matches!(finished.status.code(), Some(1 | 3)), "{path}: {:?}", finished.status);
        assert!(finished.stderr.contains(expected), "{path}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{path}: {}", finished.stderr);
    }
    write("millstream/profiles.toml", "current = \"a\"\n[profiles.a\n");
    let finished = run(config, "topic ls");
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.contains("profiles.toml: line 2: "), "{}", finished.stderr);
}
