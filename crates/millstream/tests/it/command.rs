//! The verbs `topic`, `group` and `log`, and what all verbs have, against a broker of the kind that `MILLSTREAM_TARGET` names.

use std::{
    fs,
    path::Path,
    sync::{LazyLock, mpsc},
    thread,
};

use millstream_testkit::{Finished, Program, Target, TargetOptions, repository};
use serde_json::Value;

pub(crate) static BOOTSTRAP: LazyLock<String> = LazyLock::new(|| {
    // The broker dies with the thread that started it, which must therefore outlive every test.
    let (ready, started) = mpsc::channel();
    thread::spawn(move || {
        let target = Target::start(TargetOptions::default());
        let bootstrap = target.as_ref().map(|target| target.bootstrap().to_owned());
        ready.send(bootstrap.map_err(|error| format!("{error:#}"))).unwrap();
        loop {
            thread::park();
        }
    });
    started.recv().unwrap().unwrap()
});

pub(crate) fn program(words: &str) -> Program {
    let words = words.split_whitespace();
    Program::new(env!("CARGO_BIN_EXE_millstream")).args(words)
}

/// Runs a command line against the broker, with `input` on standard input.
pub(crate) fn run_with(words: &str, input: &str) -> Finished {
    program(words).env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str()).input(input).run().unwrap()
}

pub(crate) fn run(words: &str) -> Finished {
    run_with(words, "")
}

/// Standard output of a command that must succeed.
pub(crate) fn ok(words: &str) -> String {
    run(words).ok().unwrap()
}

/// The exit code and what was said to people.
pub(crate) fn failed(words: &str) -> (i32, String) {
    let finished = run(words);
    assert_eq!(finished.stdout, "", "{words}");
    (finished.status.code().unwrap(), finished.stderr)
}

pub(crate) fn json(words: &str) -> Value {
    serde_json::from_str(&ok(words)).unwrap()
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asks until the answer is as expected: a Kafka broker learns of changes a moment after they are made.
pub(crate) fn eventually(words: &str, expected: impl Fn(&Value) -> bool) -> Value {
    let limit = std::time::Duration::from_secs(10);
    millstream_testkit::wait_until(words, limit, || Ok(Some(json(words)).filter(&expected))).unwrap()
}

#[test]
fn a_topic_is_created_listed_shown_altered_and_removed() {
    let created = run("topic create life -p 2 -c retention.ms=60000");
    assert_eq!(
        (created.stdout.as_str(), created.stderr.as_str()),
        ("", "topic life created, 2 partitions\nundo: millstream topic rm life\n")
    );
    eventually("topic ls life -o json", |topics| topics[0]["partitions"] == 2);
    assert_eq!(ok("topic ls life"), "life\t2\t1\n");
    assert_eq!(ok("topic ls li -o yaml").lines().next(), Some("- name: life"));

    let shown = json("topic show life -o json");
    assert_eq!(shown["configs"][0]["name"], "retention.ms");
    assert_eq!(shown["partitions"][1]["end_offset"], 0);
    let plain = ok("topic show life");
    assert!(
        plain.starts_with("topic\tlife\t") && plain.contains("\nconfig\tretention.ms\t60000\t"),
        "{plain}"
    );

    ok("topic alter life --dry-run -c retention.ms=5 -p 9");
    assert_eq!(json("topic show life -o json")["partitions"].as_array().unwrap().len(), 2);
    let altered = run("topic alter life -d retention.ms -c segment.ms=1000000 -p 3");
    let undo = "undo: millstream config set topic/life retention.ms=60000 && millstream config unset topic/life segment.ms\n";
    assert!(altered.stderr.contains(undo), "{}", altered.stderr);
    let altered = eventually("topic show life -o json", |shown| shown["partitions"][2].is_object());
    let altered = match altered["configs"][0]["name"] == "segment.ms" {
        true => altered,
        false => eventually("topic show life -o json", |shown| shown["configs"][0]["name"] == "segment.ms"),
    };
    assert_eq!(altered["configs"].as_array().unwrap().len(), 1);

    let (code, said) = failed("topic create life");
    assert_eq!(code, 1);
    assert!(said.contains("topic life: TOPIC_ALREADY_EXISTS"), "{said}");
    ok("topic create life --if-not-exists");
    ok("topic rm life --dry-run");
    let removed = run("topic rm life");
    let undo = "undo: millstream topic create life -p 3 -r 1 -c segment.ms=1000000\n";
    assert!(removed.stderr.ends_with(undo), "{}", removed.stderr);
    eventually("topic ls life -o json", |topics| topics.as_array().unwrap().is_empty());
    ok("topic rm life --if-exists");
}

#[test]
fn what_does_not_exist_is_exit_code_3_and_the_message_says_what_to_do() {
    for verb in ["show", "cat", "rm", "alter -p 2"] {
        let (verb, rest) = verb.split_once(' ').unwrap_or((verb, ""));
        let (code, said) = failed(&format!("topic {verb} nosuch {rest}"));
        assert_eq!(code, 3, "{verb}: {said}");
        assert!(said.starts_with("millstream: topic nosuch does not exist; `millstream topic ls`"), "{said}");
    }
    for words in ["group show nosuch", "group rm nosuch", "group rm nosuch -t x"] {
        let (code, said) = failed(words);
        assert_eq!(code, 3, "{words}: {said}");
        assert!(said.contains("group nosuch does not exist"), "{said}");
    }
    let (code, said) = failed("log dump /no/such/file.log");
    assert_eq!((code, said.as_str()), (3, "millstream: /no/such/file.log does not exist\n"));
}

#[test]
fn wrong_usage_is_exit_code_2_and_a_cluster_that_is_not_there_is_named() {
    for words in [
        "topic",
        "topic ls --nonsense",
        "topic ls -o xml",
        "topic ls -X linger.ms=soon",
        "topic ls -X linger.ms",
        "topic ls -b nonsense",
        "topic ls --timeout soon",
        "topic show ../x",
        "topic alter t",
        "topic cat t -o middle",
        "cat t -o stored",
        "cat t -f %y",
        "cat t -J -f %v",
        "cat t -o 1 -o 2",
        "group reset g",
        "group reset g --to end --shift 1",
        "topic produce t -z br",
        "config show nonsense",
        "config set topic/t a",
        "bench produce --size 999999999999",
        "bench produce --at-least 2x",
        "api call Metadata {",
    ] {
        assert_eq!(failed(words).0, 2, "{words}");
    }
    let nobody = program("topic ls -b 127.0.0.1:1").run().unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        nobody.stderr.contains("no Kafka at 127.0.0.1:1; `millstream up` starts one"),
        "{}",
        nobody.stderr
    );
    let (code, said) = failed("topic ls -X lingering.ms=5");
    assert_eq!(
        (code, said.as_str()),
        (2, "millstream: -X lingering.ms: not a client key that millstream knows\n")
    );
}

#[test]
fn lines_become_records_and_records_lines() {
    ok("topic create lines -p 1");
    let written =
        run_with("topic produce lines -K : -Z NULL -H h=1 -H h=2 -z lz4 --report", "a:1\nb:x:y\r\nNULL:NULL");
    assert_eq!(written.stderr, "3 records written to lines\n");
    let places: Vec<Value> = json_lines(&written.stdout);
    assert_eq!(
        places.iter().map(|place| place["offset"].as_i64()).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2)]
    );
    assert_eq!(ok("topic cat lines -e"), "1\nx:y\n\n");
    assert_eq!(ok("cat lines -e -K = -D ;"), "a=1;b=x:y;=;");
    assert_eq!(ok("topic cat lines -e -Z - -f %o:%k=%v,%h;"), "0:a=1,h=1,h=2;1:b=x:y,h=1,h=2;2:-=-,h=1,h=2;");

    let wrong = run_with("topic produce lines -K :", "a:1\nno separator\n");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.stderr.contains("line 2: no key separator \":\" in it"), "{}", wrong.stderr);
}

#[test]
fn json_out_of_one_topic_goes_into_another_unchanged() {
    ok("topic create from -p 3");
    ok("topic create into -p 3");
    let input = "{\"key\":\"a\",\"value\":{\"n\":9007199254740993},\"headers\":{\"h\":\"1\"},\"partition\":2}\n\
                 {\"key_base64\":\"/w==\",\"value\":null,\"timestamp\":1357016400000,\"partition\":0}\n";
    run_with("topic produce from --json", input).ok().unwrap();
    let out = ok("topic cat from -e -j");
    run_with("topic produce into --json", &out).ok().unwrap();
    let copied = ok("topic cat into -e --json");
    ok("topic create third -p 3");
    run_with("produce third --json", &ok("cat from -e --kcat-json")).ok().unwrap();
    let third = ok("cat third -e --json");
    let sorted = |text: &str| {
        let named = |line: &str| line.replace("\"into\"", "\"from\"").replace("\"third\"", "\"from\"");
        let mut lines: Vec<String> = text.lines().map(named).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&copied), sorted(&out));
    assert_eq!(sorted(&third), sorted(&out));
    assert!(out.contains("9007199254740993") && out.contains("\"key_base64\":\"/w==\""), "{out}");

    let wrong = run_with("topic produce into --json", "{\"vlaue\":1}");
    assert!(wrong.stderr.contains("line 1: field \"vlaue\" is not known"), "{}", wrong.stderr);
}

#[test]
fn reading_begins_and_stops_where_it_was_asked_to() {
    ok("topic create places -p 2");
    for (partition, lines) in [(0, "a0\na1\na2\na3\n"), (1, "b0\nb1\n")] {
        run_with(&format!("topic produce places -p {partition}"), lines).ok().unwrap();
    }
    let sorted = |words: &str| {
        let out = ok(&format!("topic cat places {words}"));
        let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(sorted("-e"), "a0 a1 a2 a3 b0 b1");
    assert_eq!(sorted("-e -o -1"), "a3 b1");
    assert_eq!(sorted("-e -o +3"), "a3");
    assert_eq!(sorted("-e -o 1"), "a1 a2 a3 b1");
    assert_eq!(sorted("-e -o end"), "");
    assert_eq!(sorted("-p 0 -o 1 -u 3"), "a1 a2");
    assert_eq!(sorted("-e -p 1"), "b0 b1");
    assert_eq!(sorted("-p 0 -n 2"), "a0 a1");
    assert_eq!(sorted("-p 0 -c 2 -o 1:3"), "a1 a2");
    assert_eq!(sorted("-e -o s@-1h -o e@2100-01-01"), "a0 a1 a2 a3 b0 b1");
    assert_eq!(sorted("-o s@-2h -o e@-1h"), "");
    assert_eq!(sorted("-e -o @-1h -p 1"), "b0 b1");
    assert_eq!(sorted("-e -o @2100-01-01"), "");
    let (code, said) = failed("topic cat places -p 2");
    assert_eq!(
        (code, said.as_str()),
        (1, "millstream: topic places has no partition 2; its partitions are 0 to 1\n")
    );
}

#[test]
fn a_groups_offsets_are_set_shown_and_forgotten() {
    ok("topic create read -p 2");
    run_with("topic produce read -p 0", "1\n2\n3\n").ok().unwrap();
    let dry = run("group reset readers --to end -t read --dry-run");
    assert!(dry.stderr.contains("2 offsets would be set; nothing was changed"), "{}", dry.stderr);
    assert_eq!(failed("group show readers").0, 3);
    assert_eq!(ok("group reset readers --to end -t read"), "read\t0\t3\t-\nread\t1\t0\t-\n");
    let again = run("group reset readers --to -2 -t read:0");
    assert_eq!(again.stdout, "read\t0\t1\t3\n");
    let undo = "undo: millstream group reset readers --set read:0=3\n";
    assert!(again.stderr.ends_with(undo), "{}", again.stderr);
    assert_eq!(ok("group reset readers --shift 1 -t read:0"), "read\t0\t2\t1\n");
    assert_eq!(ok("group reset others --to-group readers"), "read\t0\t2\t-\nread\t1\t0\t-\n");
    assert_eq!(ok("group reset others --set read:0=3"), "read\t0\t3\t2\n");
    assert_eq!(ok("group reset readers --set read:0=1"), "read\t0\t1\t2\n");
    let shown = json("group show readers -o json");
    assert_eq!((&shown["state"], &shown["lag"]), (&Value::from("Empty"), &Value::from(2)));
    assert_eq!(shown["offsets"][0]["current_offset"], 1);
    assert!(shown["offsets"][0]["lag_seconds"].as_f64().unwrap() < 600.0, "{shown}");
    let lag = json("group lag readers others -o json");
    assert_eq!((&lag[0]["lag"], &lag[1]["lag"], &lag[1]["lag_seconds"]), (&2.into(), &0.into(), &0.0.into()));
    let behind = run("group lag readers --max 1 -o name");
    assert_eq!((behind.status.code(), behind.stdout.as_str()), (Some(4), "readers\n"));
    assert_eq!(behind.stderr, "millstream: 1 topic too far behind\n");
    ok("group lag readers --max 2 --max-seconds 600");
    assert!(ok("group ls readers").starts_with("readers\tclassic\tEmpty"));
    let again = json("group reset readers --to beginning -o json");
    assert_eq!((&again[0]["offset"], &again[0]["before"]), (&Value::from(0), &Value::from(1)));
    let forgotten = run("group rm readers -t read");
    let undo = "undo: millstream group reset readers --set read:0=0 --set read:1=0\n";
    assert!(forgotten.stderr.ends_with(undo), "{}", forgotten.stderr);
    let undo = undo.trim_start_matches("undo: millstream ").trim_end();
    ok(undo);
    assert_eq!(json("group show readers -o json")["offsets"].as_array().unwrap().len(), 2);
    ok("group rm readers -t read");
    assert_eq!(json("group show readers -o json")["offsets"], Value::Array(Vec::new()));
    ok("group rm readers");
    assert_eq!(failed("group show readers").0, 3);
    let (code, said) = failed("group reset readers --to end");
    assert_eq!(code, 3);
    assert!(said.contains("name what to set with --topic"), "{said}");
}

/// Everything that a broker leaves on disk is understood, in every shape.
#[test]
fn a_data_directory_is_dumped_without_a_broker() {
    let mut target = Target::start(TargetOptions::default()).unwrap();
    let on_target = |words: &str, input: &str| {
        let program =
            program(words).env("BOOTSTRAP_SERVERS", target.bootstrap()).env("MILLSTREAM_BOOTSTRAP", "");
        program.input(input).run().unwrap().ok().unwrap()
    };
    on_target("topic create dumped -p 1", "");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        on_target(&format!("topic produce dumped -K : -z {codec}"), &format!("{codec}:1\n"));
    }
    on_target("group reset dumpers --to end -t dumped", "");
    target.stop().unwrap();

    let dir = target.log_dir();
    let dump = |path: &Path| {
        let words = format!("log dump --records -o json {}", path.display());
        json_lines(&program(&words).run().unwrap().ok().unwrap())
    };
    let records =
        |path: &Path| dump(path).iter().filter_map(|line| line.get("record").cloned()).collect::<Vec<_>>();

    let dumped = records(&dir.join("dumped-0"));
    let keys: Vec<&str> = dumped.iter().map(|record| record["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["none", "gzip", "snappy", "lz4", "zstd"]);
    let metadata = records(&dir.join("__cluster_metadata-0"));
    assert!(metadata.iter().all(|record| record.get("not_decoded").is_none()), "{metadata:?}");
    let topic =
        metadata.iter().find(|record| record["type"] == "TopicRecord" && record["data"]["name"] == "dumped");
    assert!(topic.is_some() && metadata.iter().any(|record| record["control"] == "LeaderChange"));
    let offsets = |partition: i32| records(&dir.join(format!("__consumer_offsets-{partition}")));
    let offsets: Vec<Value> = (0..50).flat_map(offsets).collect();
    let committed = offsets.iter().find(|record| record["key"]["data"]["group"] == "dumpers").unwrap();
    assert_eq!(committed["value"]["data"]["offset"], 5);
    assert!(dump(&dir).iter().any(|line| line.get("cluster.id").is_some()));

    let verified = program(&format!("log verify {}", dir.display())).run().unwrap();
    assert_eq!((verified.status.code(), verified.stdout.as_str()), (Some(0), ""), "{}", verified.stderr);
    let count: usize = verified.stderr.split(' ').next().unwrap().parse().unwrap();
    assert!(count > 50, "those of the partitions too: {}", verified.stderr);

    let partition = dir.join("dumped-0");
    let index = |flags: &str| program(&format!("log index {} {flags}", partition.display())).run().unwrap();
    let found = |flags: &str| serde_json::from_str::<Value>(&index(flags).ok().unwrap()).unwrap();
    let all = &found("-o json")[0];
    let bytes = fs::metadata(partition.join("00000000000000000000.log")).unwrap().len();
    assert_eq!((&all["segment"], &all["bytes"]), (&0.into(), &bytes.into()));
    for (flags, offset) in [("--offset 0", 0), ("--offset 3", 3), ("--time -1h", 0)] {
        let batch = found(&format!("{flags} -o json"));
        assert_eq!(
            (&batch["base_offset"], &batch["last_offset"]),
            (&offset.into(), &offset.into()),
            "{flags}"
        );
        assert_eq!(batch["position"] == 0, offset == 0, "{flags}: {batch}");
    }
    for flags in ["--offset 5", "--time 2100-01-01"] {
        let nowhere = index(flags);
        assert_eq!((nowhere.status.code(), nowhere.stdout.as_str()), (Some(3), ""), "{}", nowhere.stderr);
    }
    assert_eq!(index("--time soon").status.code(), Some(2));

    let plain =
        program(&format!("log dump -o yaml {}", dir.join("dumped-0").display())).run().unwrap().ok().unwrap();
    assert_eq!(plain.matches("compression: ").count(), 5, "{plain}");
}

#[test]
fn a_torn_or_corrupt_segment_is_shown_up_to_the_fault_and_is_a_failure() {
    let place = tempfile::tempdir().unwrap();
    let segment = place.path().join("00000000000000000000.log");
    let fixture = repository().join("crates/record/tests/fixtures/java-none.bin");
    let whole = fs::read(fixture).unwrap();
    let mut corrupt = whole.clone();
    corrupt[100] ^= 1;
    let torn = &whole[..whole.len() - 1];
    for (bytes, fault) in [
        ([&whole[..], torn].concat(), "are not a whole batch"),
        ([&whole[..], &corrupt].concat(), "record batch is corrupt"),
        ([&whole[..], &[0; 100]].concat(), "zeros from here to the end, 100 bytes"),
    ] {
        fs::write(&segment, bytes).unwrap();
        let dumped = program(&format!("log dump -o json {}", segment.display())).run().unwrap();
        assert_eq!(dumped.status.code(), Some(1));
        let lines = json_lines(&dumped.stdout);
        assert_eq!(lines[0]["batch"]["count"], 40);
        let found = lines.iter().any(|line| line["fault"].as_str().is_some_and(|text| text.contains(fault)));
        assert!(found, "{fault}: {lines:?}");
        assert!(lines.iter().any(|line| line["position"] == whole.len()), "{lines:?}");
        let verified = program(&format!("log verify {}", segment.display())).run().unwrap();
        assert_eq!(verified.status.code(), Some(4));
        assert!(
            verified.stdout.starts_with(&format!("{}:  position: ", segment.display())),
            "{}",
            verified.stdout
        );
        let said = verified.stderr.trim_end_matches("s\n").trim_end();
        assert!(said.starts_with("1 file read\nmillstream: ") && said.ends_with(" fault"), "{said}");
    }
    fs::write(&segment, &whole).unwrap();
    let sound = program(&format!("log verify {}", segment.display())).run().unwrap();
    assert_eq!((sound.status.code(), sound.stdout.as_str()), (Some(0), ""));
    fs::write(place.path().join("notes.txt"), "").unwrap();
    let other = program(&format!("log dump {}", place.path().join("notes.txt").display())).run().unwrap();
    assert!(other.stderr.contains("not a file of a log"), "{}", other.stderr);
}
