//! Records: read as members of groups, trimmed, counted, copied, and out of files.

use std::{fs, path::Path, time::Duration};

use millstream_testkit::wait_until;
use rustix::process::Signal;
use serde_json::Value;

use crate::command::{BOOTSTRAP, failed, json, json_lines, ok, program, run, run_with};

#[test]
fn a_group_reads_on_where_it_stopped() {
    ok("topic create shared -p 2");
    run_with("produce shared -p 0", "a\nb\nc\n").ok().unwrap();
    assert_eq!(ok("cat shared -g sharers -n 2"), "a\nb\n");
    assert_eq!(ok("cat shared -g sharers -o stored -e"), "c\n");
    assert_eq!(ok("cat shared -g sharers -e"), "c\n");
    run_with("produce shared -p 0", "d\n").ok().unwrap();
    assert_eq!(ok("cat shared -G sharers -e"), "d\n");
    assert!(ok("group lag sharers").starts_with("sharers\tshared\t0\t0.0\tEmpty\n"));
    let (code, said) = failed("cat shared -g sharers -p 0");
    assert_eq!(code, 2, "{said}");
}

#[test]
fn the_first_records_are_trimmed_and_counted() {
    ok("topic create trimmed -p 1");
    run_with("produce trimmed", "a\nb\nc\n").ok().unwrap();
    assert_eq!(ok("topic count trimmed"), "trimmed\t0\t3\n");
    let dry = run("topic trim trimmed --before 2 --dry-run");
    assert_eq!(dry.stderr, "2 records would be removed; nothing was changed\n");
    assert_eq!(ok("topic count trimmed"), "trimmed\t0\t3\n");
    let trimmed = run("topic trim trimmed --before -1");
    assert_eq!(trimmed.stdout, "trimmed\t0\t2\t0\t2\n");
    assert_eq!(trimmed.stderr, "2 records removed, which cannot be undone\n");
    assert_eq!(ok("cat trimmed -e"), "c\n");
    assert_eq!(ok("topic count trimmed -o wide"), "trimmed\t0\t1\t2\t3\n");
    assert_eq!(failed("topic trim trimmed --before end -p 7").0, 1);
    assert_eq!(failed("topic trim nosuch --before end").0, 3);
}

#[test]
fn a_topic_is_copied_with_all_that_its_records_have() {
    ok("topic create original -p 2");
    ok("topic create copy -p 2");
    let lines = "{\"key\":\"a\",\"value\":\"1\",\"headers\":{\"h\":\"x\"},\"timestamp\":1000,\"partition\":1}\n\
                 {\"key\":null,\"value\":null,\"timestamp\":2000,\"partition\":0}\n";
    run_with("produce original --json", lines).ok().unwrap();
    let dry = run("topic copy original copy --dry-run");
    assert_eq!(dry.stderr, "2 records would be copied; nothing was changed\n");
    let copied = run("topic copy original copy --same-partition");
    assert_eq!(copied.stderr, "2 records copied from original to copy\n");
    let read = |topic: &str| {
        let mut lines = json_lines(&ok(&format!("cat {topic} -e --json")));
        lines.iter_mut().for_each(|line| line["topic"] = "".into());
        lines.sort_by_key(ToString::to_string);
        lines
    };
    assert_eq!(read("copy"), read("original"));
    assert_eq!(read("copy").len(), 2);
    assert_eq!(failed("topic copy original original").0, 2);
    assert_eq!(failed("topic copy original nosuch").0, 3);
}

#[test]
fn records_come_out_of_files_with_any_delimiter() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = (place.path().join("one"), place.path().join("two"));
    fs::write(&one, "a;b").unwrap();
    fs::write(&two, "c;").unwrap();
    ok("topic create filed -p 1");
    let words = format!("produce filed {} {} -D ;", one.display(), two.display());
    assert_eq!(run(&words).stderr, "3 records written to filed\n");
    assert_eq!(ok("cat filed -e"), "a\nb\nc\n");
    let (code, said) = failed("produce filed /no/such/file");
    assert_eq!((code, said.as_str()), (3, "millstream: /no/such/file does not exist\n"));
    // A line that is no record does not take those before it along.
    let wrong = run_with("produce filed --json", "{\"value\":\"d\"}\n{\"vlaue\":1}\n");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.stderr.starts_with("1 record written to filed\nmillstream: line 2: "), "{}", wrong.stderr);
}

#[test]
fn a_topic_that_is_gone_holds_up_nobody_who_asks_for_a_group() {
    ok("topic create going -p 1");
    run_with("produce going", "a\n").ok().unwrap();
    ok("group reset leavers --to end -t going");
    ok("topic rm going");
    let shown = run("group show leavers --timeout 30s");
    // With the topic its offsets may be forgotten, and with them the group.
    assert!(matches!(shown.status.code(), Some(0 | 3)), "{:?}: {}", shown.status, shown.stderr);
}

#[test]
fn the_tail_of_a_topic_is_followed() {
    ok("topic create tailed -p 1");
    run_with("produce tailed", "a\nb\nc\n").ok().unwrap();
    let place = tempfile::tempdir().unwrap();
    let (log, limit) = (place.path().join("log"), Duration::from_secs(60));
    let tail = program("topic tail tailed -n 2 -K :").env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str());
    let mut tail = tail.start(&log).unwrap();
    wait_until("the last two", limit, || Ok((tail.output() == ":b\n:c\n").then_some(()))).unwrap();
    run_with("produce tailed -K :", "k:d\n").ok().unwrap();
    wait_until("a new one", limit, || Ok((tail.output() == ":b\n:c\nk:d\n").then_some(()))).unwrap();
    tail.signal(Signal::INT).unwrap();
    assert_eq!(tail.wait(limit).unwrap().code(), Some(130));
    assert_eq!(failed("topic tail nosuch").0, 3);
}

/// What `group watch -o json` has told in this file, which has what it says to people too.
fn events(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn what_happens_to_a_group_is_told_and_what_happened_is_known() {
    ok("topic create lived -p 1");
    run_with("produce lived", "a\nb\nc\n").ok().unwrap();
    let place = tempfile::tempdir().unwrap();
    let (log, limit) = (place.path().join("log"), Duration::from_secs(60));
    let watch = program("group watch livers -o json -i 50ms").env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str());
    let mut watch = watch.start(&log).unwrap();
    wait_until("a look", limit, || Ok(watch.output().contains("waiting for it").then_some(()))).unwrap();
    let count = |name: &str| events(&log).iter().filter(|event| event["event"] == name).count();
    for (round, records) in [(1, "a\nb\nc\n"), (2, "d\n")] {
        let cat = program("cat lived -g livers").env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str());
        let mut cat = cat.start(&place.path().join(round.to_string())).unwrap();
        wait_until("records", limit, || Ok((cat.output() == records).then_some(()))).unwrap();
        wait_until("a member with a partition", limit, || Ok((count("assigned") == round).then_some(())))
            .unwrap();
        cat.signal(Signal::INT).unwrap();
        assert_eq!(cat.wait(limit).unwrap().code(), Some(130));
        wait_until("the member to leave", limit, || Ok((count("left") == round).then_some(()))).unwrap();
        run_with("produce lived", "d\n").ok().unwrap();
    }
    watch.signal(Signal::INT).unwrap();
    assert_eq!(watch.wait(limit).unwrap().code(), Some(130));
    assert_eq!(count("joined"), 2);
    let given = events(&log).into_iter().find(|event| event["event"] == "assigned").unwrap();
    assert_eq!(given["partitions"], serde_json::json!([{ "topic": "lived", "partition": 0 }]));
    assert_eq!(failed("group watch livers -o name").0, 2);

    ok("group rm livers -t lived");
    let history = json("group history livers -o json");
    let history = history.as_array().unwrap();
    let of = |name: &str| history.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    let offsets: Vec<&Value> = of("committed").iter().map(|event| &event["offset"]).collect();
    assert_eq!(offsets.last(), Some(&&Value::from(4)), "{offsets:?}");
    assert_eq!(of("forgotten").len(), 1);
    let members = |event: &Value| event["members"].as_array().unwrap().len();
    let generations: Vec<_> = of("generation").iter().map(|event| members(event)).collect();
    assert!(generations.iter().filter(|count| **count == 1).count() >= 2, "{history:?}");
    assert_eq!(generations.last(), Some(&0));
    let last = run("group history livers -n 1");
    assert_eq!(last.stdout.lines().count(), 1);
    assert!(last.stderr.ends_with("events before these; --last shows more\n"), "{}", last.stderr);
    assert!(ok("group history livers --generations").lines().all(|line| line.contains("\tgeneration\t")));
    assert_eq!(ok("group history livers -t other"), "");
    assert_eq!(failed("group history nosuch").0, 3);
}
