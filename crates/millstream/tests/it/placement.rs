//! `cluster reassign` and `cluster elect`: with one broker, and with three that partitions move between.

use millstream_testkit::{Cluster, Finished, Kind, kafka_missing, skip, wait_until};
use serde_json::{Value, json};

use crate::command::{failed, json, ok, program, run};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn with_one_broker_there_is_nothing_to_move_and_nobody_else_to_elect() {
    ok("topic create unmoved -p 2");
    assert_eq!(run("cluster reassign unmoved").stderr, "nothing is being moved\n");
    assert_eq!(json("cluster reassign -o json"), json!([]));
    let id = json("broker ls -o json")[0]["id"].to_string();
    let stays = run(&format!("cluster reassign unmoved --to {id}"));
    assert_eq!(
        (stays.status.code(), stays.stderr.as_str()),
        (Some(0), "nothing to move: every partition is where it should be\n")
    );
    let (code, said) = failed(&format!("cluster reassign unmoved --away-from {id}"));
    assert_eq!(code, 1);
    assert!(said.contains("unmoved-0: no broker is left to take the replica"), "{said}");
    let (code, said) = failed("cluster reassign --set unmoved:0=77");
    assert_eq!(code, 1);
    assert!(said.contains("there is no broker 77; those in service are"), "{said}");
    let (code, said) = failed("cluster reassign --set unmoved:9=1");
    assert_eq!((code, said.as_str()), (1, "millstream: topic unmoved has no partition 9\n"));
    assert_eq!(run("cluster reassign unmoved --cancel").stderr, "nothing is being moved\n");
    for (words, code) in [
        ("cluster reassign nosuch --to 1", 3),
        ("cluster reassign --to 1 --cancel", 2),
        ("cluster reassign --to x", 2),
        ("cluster reassign -r 2", 2),
        ("cluster reassign unmoved:x --to 1", 2),
        ("cluster reassign unmoved --to 1 --watch", 2),
        ("cluster elect nosuch", 3),
    ] {
        assert_eq!(failed(words).0, code, "{words}");
    }
    let elected = run("cluster elect unmoved");
    assert_eq!(elected.stderr, "nothing to elect: every partition is led by its first replica\n");
    let elected = run("cluster elect unmoved:0 --unclean --dry-run");
    assert_eq!(elected.stderr, "nothing to elect: every partition has a leader\n");
}

/// Millstream is one broker: this is Kafka's.
#[test]
fn partitions_move_between_three_brokers_and_back_and_are_led_by_whom_they_should_be() {
    let name = "partitions_move_between_three_brokers";
    let is_wanted = Kind::from_env().unwrap() == Kind::Kafka
        || std::env::var("MILLSTREAM_TIER").as_deref() == Ok("conformance");
    if !is_wanted {
        eprintln!("three brokers belong to MILLSTREAM_TARGET=kafka or MILLSTREAM_TIER=conformance");
        return;
    }
    if let Some(missing) = kafka_missing() {
        return skip(name, &missing);
    }
    let cluster = Cluster::start(3, &[("auto.leader.rebalance.enable", "false")]).unwrap();
    let bootstrap = cluster.bootstrap();
    let on = |words: &str| -> Finished {
        program(words).env("MILLSTREAM_BOOTSTRAP", &bootstrap).limit(LIMIT).run().unwrap()
    };
    let ok = |words: &str| on(words).ok().unwrap();
    let replicas = |which: &str| {
        let shown: Value = serde_json::from_str(&ok("topic show moved -o json")).unwrap();
        let all = shown["partitions"].as_array().unwrap().iter();
        all.map(|one| one[which].clone()).collect::<Vec<Value>>()
    };
    let becomes = |which: &str, expected: &[Value]| {
        let what = format!("{which} {expected:?}");
        wait_until(&what, LIMIT, || Ok((replicas(which) == expected).then_some(()))).unwrap();
    };
    ok("topic create moved -p 2 -r 1");
    ok("cluster reassign --set moved:0=1 --set moved:1=1 --wait");
    becomes("replicas", &[json!([1]), json!([1])]);

    let dry = on("cluster reassign moved --to 2,3 --dry-run");
    assert_eq!(dry.stdout, "moved\t0\t2\t1\nmoved\t1\t3\t1\n");
    assert_eq!(dry.stderr, "2 partitions would be moved; nothing was changed\n");
    becomes("replicas", &[json!([1]), json!([1])]);
    let moved = on("cluster reassign moved --to 2,3 --wait");
    let undo = "undo: millstream cluster reassign --set moved:0=1 --set moved:1=1\n";
    assert!(
        moved.stderr.contains(undo) && moved.stderr.ends_with("2 partitions moved\n"),
        "{}",
        moved.stderr
    );
    becomes("replicas", &[json!([2]), json!([3])]);
    ok(&format!("{} --wait", undo.trim_start_matches("undo: millstream ").trim_end()));
    becomes("replicas", &[json!([1]), json!([1])]);

    // More replicas, then a leader that is not the first of them.
    ok("cluster reassign moved:0 --to 1,2,3 -r 3 --wait");
    becomes("isr", &[json!([1, 2, 3]), json!([1])]);
    ok("cluster reassign --set moved:0=3,1,2 --wait");
    becomes("leader", &[json!(1), json!(1)]);
    let dry = on("cluster elect moved --dry-run");
    assert_eq!(dry.stdout, "moved\t0\t1\t3\t-\n");
    assert_eq!(dry.stderr, "1 leader would be elected; nothing was changed\n");
    let elected = on("cluster elect moved");
    assert_eq!(elected.stdout, "moved\t0\t1\t3\telected\n");
    assert_eq!(elected.stderr, "1 leader elected, which cannot be undone\n");
    becomes("leader", &[json!(3), json!(1)]);

    let away = on("cluster reassign moved:1 --away-from 1 --wait");
    assert!(away.stdout.starts_with("moved\t1\t") && away.stdout.ends_with("\t1\n"), "{}", away.stdout);
    assert!(away.status.success() && !replicas("replicas")[1].as_array().unwrap().contains(&json!(1)));
}
