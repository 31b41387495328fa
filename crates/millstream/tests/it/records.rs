//! Records: read as members of groups, trimmed, counted, copied, and out of files.

use std::fs;

use crate::command::{failed, json_lines, ok, run, run_with};

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
