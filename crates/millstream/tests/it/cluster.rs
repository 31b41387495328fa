//! The verbs `cluster`, `broker`, `config` and `api`, and what every list has.

use serde_json::Value;

use crate::command::{BOOTSTRAP, eventually, failed, json, ok, program, run};

#[test]
fn a_list_has_every_shape() {
    ok("topic create shapes -p 2");
    eventually("topic ls shapes -o json", |topics| topics[0]["partitions"] == 2);
    assert_eq!(ok("topic ls shapes -o name"), "shapes\n");
    let wide = ok("topic ls shapes -o wide");
    assert!(wide.starts_with("shapes\t2\t1\t") && wide.ends_with("\tno\t0\t0\n"), "{wide}");
    let csv = ok("topic ls shapes -o csv");
    assert!(csv.starts_with("NAME,PARTITIONS,REPLICAS,ID,INTERNAL,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("shapes,2,1,"), "{csv}");
    assert!(ok("topic ls shapes -o yaml").starts_with("- name: shapes\n"));
    assert_eq!(ok("topic ls no-such-name"), "");
    assert_eq!(json("topic ls no-such-name -o json"), Value::Array(Vec::new()));
}

#[test]
fn the_cluster_is_shown_and_healthy() {
    let cluster = json("cluster show -o json");
    let brokers = cluster["brokers"].as_array().unwrap();
    assert_eq!(brokers.len(), 1);
    assert_eq!(cluster["controller"], brokers[0]["id"]);
    assert!(BOOTSTRAP.ends_with(&format!(":{}", brokers[0]["port"])), "{cluster}");
    // How full the disk is that this runs on is not the broker's business.
    let health = run("cluster health -o json");
    let findings: Value = serde_json::from_str(&health.stdout).unwrap();
    let is_of_disk = |finding: &Value| finding["check"] == "disk-filling";
    assert!(findings.as_array().unwrap().iter().all(is_of_disk), "{findings}");
    let expected = if findings == Value::Array(Vec::new()) { 0 } else { 4 };
    assert_eq!(health.status.code(), Some(expected));

    let quorum = json("cluster quorum -o json");
    assert_eq!(quorum["replicas"][0]["role"], "leader");
    assert_eq!(quorum["replicas"][0]["lag"], 0);
    let features = ok("cluster features");
    assert!(features.lines().any(|line| line.starts_with("metadata.version\t")), "{features}");
}

#[test]
fn brokers_are_listed_and_shown_with_their_directories() {
    let brokers = json("broker ls -o json");
    let id = brokers[0]["id"].as_i64().unwrap();
    assert_eq!(brokers[0]["state"], "active");
    let shown = json(&format!("broker show {id} -o json"));
    assert_eq!(shown["log_dirs"].as_array().unwrap().len(), 1);
    let names: Vec<&str> =
        shown["configs"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"node.id"), "{names:?}");
    ok("topic create on-disk -p 1");
    let dirs = eventually("broker logdirs --replicas --topic on-disk -o json", |dirs| {
        dirs[0]["partitions"][0].is_object()
    });
    assert_eq!(dirs[0]["partitions"][0]["partition"], 0);
    for words in
        ["broker show 4711", "broker logdirs 4711", "config show broker/4711", "api versions --broker 4711"]
    {
        let (code, said) = failed(words);
        assert_eq!(code, 3, "{words}: {said}");
        assert!(said.contains("there is no broker 4711; `millstream broker ls`"), "{said}");
    }
}

#[test]
fn configuration_is_set_shown_and_taken_back() {
    ok("topic create configured -p 1 -c retention.ms=60000");
    let shown = |words: &str| json(&format!("{words} -o json"));
    eventually("config show topic/configured -o json", |configs| configs[0]["value"] == "60000");
    let changed = run("config set topic/configured retention.ms=5000 segment.ms=1000000");
    assert_eq!(
        changed.stderr,
        "topic/configured: retention.ms, segment.ms changed\n\
         undo: millstream config set topic/configured retention.ms=60000 && \
         millstream config unset topic/configured segment.ms\n"
    );
    eventually("config show topic/configured -o json", |configs| configs.as_array().unwrap().len() == 2);
    assert_eq!(ok("config show topic/configured -k segment.ms -o name"), "segment.ms\n");
    let dry = run("config unset topic/configured segment.ms --dry-run");
    assert_eq!(dry.stderr, "topic/configured: segment.ms could be changed\n");
    assert_eq!(shown("topic config configured").as_array().unwrap().len(), 2);
    let listed = ok("config ls topic -o wide");
    assert!(listed.contains("topic/configured\t2\tretention.ms=5000 segment.ms=1000000\n"), "{listed}");

    ok("topic create plain -p 2");
    eventually("topic ls plain -o json", |topics| topics[0]["partitions"] == 2);
    let diff = run("topic diff configured plain -o csv");
    assert_eq!(diff.status.code(), Some(4));
    assert!(diff.stdout.contains("partitions,1,2\n") && diff.stdout.contains("segment.ms,1000000,"));
    assert_eq!(run("topic diff plain plain").status.code(), Some(0));
    assert_eq!(run("config diff topic/configured topic/plain").status.code(), Some(4));

    let (code, said) = failed("config set topic/configured no.such.key=1");
    assert_eq!(code, 1, "{said}");
    let (code, said) = failed("config show topic/nosuch");
    assert_eq!(code, 3, "{said}");
    let (code, said) = failed("config set topic/configured retention.ms=soon");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("INVALID_CONFIG"), "{said}");
}

#[test]
fn requests_are_explained() {
    let listed = program("topic ls --explain").env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str()).run().unwrap();
    let lines: Vec<&str> = listed.stderr.lines().filter(|line| line.starts_with("kafka: ")).collect();
    assert!(lines[0].starts_with("kafka: ApiVersions v4: "), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("kafka: Metadata v") && line.ends_with(" ms")),
        "{lines:?}"
    );
    let full = run("topic ls --explain=full");
    let body = |arrow: &str| -> Option<Value> {
        let lines = full.stderr.lines().filter(|line| line.starts_with("kafka: Metadata v"));
        serde_json::from_str(lines.filter_map(|line| line.split_once(arrow)).next_back()?.1).ok()
    };
    assert_eq!(body(" > ").unwrap()["topics"], Value::Null, "{}", full.stderr);
    assert!(full.stderr.contains(" < {\"throttleTimeMs\":0,\"brokers\":[{"), "{}", full.stderr);
}

#[test]
fn the_protocol_is_spoken_request_by_request() {
    let versions = json("api versions metadata -o json");
    assert_eq!((&versions[0]["api"], &versions[0]["key"]), (&Value::from("Metadata"), &Value::from(3)));
    assert_eq!(versions[0]["used"], 13);
    let fields = ok("api show Metadata -v 13");
    assert!(fields.contains("MetadataRequest\ttopics.name\tstring, nullable\t0-13\n"), "{fields}");

    ok("topic create asked-for -p 2");
    eventually("topic ls asked-for -o json", |topics| topics[0]["partitions"] == 2);
    let request = r#"{"topics":[{"name":"asked-for"},{"name":"nosuch"}],"allowAutoTopicCreation":false}"#;
    for version in [0, 4, 8, 9, 12, 13] {
        let request = if version < 4 { r#"{"topics":[{"name":"asked-for"}]}"# } else { request };
        let called = run(&format!("api call 3 {request} -v {version}"));
        let answer: Value = serde_json::from_str(&called.stdout).unwrap();
        let topics = answer["topics"].as_array().unwrap();
        let found = topics.iter().find(|topic| topic["name"] == "asked-for").unwrap();
        assert_eq!(found["partitions"].as_array().unwrap().len(), 2, "{answer}");
        let named = called.stderr.contains("errorCode: UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!(named, version >= 4, "{}", called.stderr);
    }
    let dry = run("api call ApiVersions -v 0 --dry-run");
    assert_eq!(dry.stdout, "000000140012000000000001000a6d696c6c73747265616d\n");
    for (words, expected, text) in [
        ("api call Nonsense", 3, "there is no API Nonsense"),
        ("api call Metadata -v 99", 2, "has versions 0 to 13"),
        (r#"api call Metadata {"topic":null}"#, 2, "has no field \"topic\"; its fields are topics,"),
    ] {
        let (code, said) = failed(words);
        assert_eq!(code, expected, "{words}: {said}");
        assert!(said.contains(text), "{said}");
    }
}
