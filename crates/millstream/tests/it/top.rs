//! `millstream top` in a terminal, and without one.

use std::time::Duration;

use millstream_testkit::{Target, TargetOptions};
use rustix::process::Signal;

use crate::{
    command::{BOOTSTRAP, eventually, failed, json, ok, run_with},
    terminal::Terminal,
};

fn top(flags: &str, environment: &[(&str, &str)]) -> Terminal {
    let mut all = vec![("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str())];
    all.extend_from_slice(environment);
    Terminal::run(&format!("top -i 300ms {flags}"), &all)
}

/// The columns of the row that begins with this name.
fn row(text: &str, name: &str) -> Option<Vec<String>> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn rates_and_lag_are_seen_and_keys_do_what_the_help_says() {
    ok("topic create topped -p 1");
    run_with("produce topped", "1\n2\n3\n").ok().unwrap();
    ok("group reset top-readers --to beginning -t topped");
    let mut terminal = top("", &[]);
    terminal.wait_for("RECORDS");
    assert!(terminal.with_screen(|screen| screen.alternate_screen()), "a screen of its own");
    assert!(!terminal.is_restored());

    terminal.press("/topped\r");
    terminal.wait_for("/topped");
    terminal.wait("a rate of topped", |text| {
        run_with("produce topped", "one\nmore\n").ok().unwrap();
        let rate = row(text, "topped").and_then(|cells| cells[1].parse::<f64>().ok());
        rate.is_some_and(|rate| rate > 0.0)
    });
    terminal.press("\x1b");
    terminal.wait("no filter", |text| !text.contains("/topped"));
    terminal.press("2/top-readers\r");
    let written = json("topic count topped -o json")[0]["records"].to_string();
    terminal.wait("the lag of top-readers", |text| {
        row(text, "top-readers").is_some_and(|cells| cells[1] == "Empty" && cells[3] == written)
    });
    let behind = row(&terminal.text(), "top-readers").unwrap()[4].clone();
    assert!(behind.ends_with('s') || behind.ends_with('m'), "{behind}");

    // Together with the key behind it, Esc would be another.
    terminal.press("\x1b");
    terminal.wait("no filter", |text| !text.contains("/top-readers"));
    terminal.press("?");
    terminal.wait_for("hold still");
    terminal.press("?");
    terminal.wait("no help", |text| !text.contains("hold still"));
    terminal.press("p");
    terminal.wait_for("PAUSED");
    terminal.press("p>");
    terminal.wait_for("BEHIND ↓");
    terminal.press("r");
    terminal.wait_for("BEHIND ↑");
    terminal.press("\t");
    terminal.wait_for("BROKER ↑");
    terminal.wait_for(BOOTSTRAP.as_str());
    terminal.resize(200, 60);
    terminal.wait("sixty lines", |text| text.lines().nth(59).is_some_and(|line| line.contains("? help")));
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn the_terminal_is_as_before_however_it_ends() {
    for (how, code) in [("q", 0), ("\x1b", 0), ("\x03", 0)] {
        let mut terminal = top("groups", &[]);
        terminal.wait_for("BEHIND");
        terminal.press(how);
        assert_eq!(terminal.end(), Some(code), "{how:?}");
    }
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut terminal = top("brokers", &[]);
        terminal.wait_for("LEADS");
        terminal.signal(signal);
        assert_eq!(terminal.end(), Some(code), "{signal:?}");
    }
    let mut late = top("--timeout 1s", &[]);
    assert_eq!(late.end(), Some(124));
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let is_coloured = |terminal: &Terminal| {
        terminal.wait_for("RECORDS");
        terminal.with_screen(|screen| {
            let cells = (0..24).flat_map(|row| (0..80).filter_map(move |column| screen.cell(row, column)));
            cells.into_iter().any(|cell| cell.fgcolor() != vt100::Color::Default)
        })
    };
    assert!(is_coloured(&top("", &[])));
    assert!(!is_coloured(&top("", &[("NO_COLOR", "1")])));
}

#[test]
fn a_broker_that_goes_away_and_comes_back_is_no_end() {
    let mut target = Target::start(TargetOptions::default()).unwrap();
    let bootstrap = target.bootstrap().to_owned();
    let mut terminal = Terminal::run("top brokers -i 300ms", &[("MILLSTREAM_BOOTSTRAP", &bootstrap)]);
    terminal.wait_for(&bootstrap);
    target.stop().unwrap();
    terminal.wait_for("no answer for");
    assert!(terminal.text().contains(&bootstrap), "what was known stays");
    target.restart().unwrap();
    terminal.wait("an answer", |text| !text.contains("no answer for"));
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn without_a_terminal_it_is_wrong_usage_or_one_look() {
    let (code, said) = failed("top");
    assert_eq!(code, 2);
    assert!(said.contains("--once"), "{said}");
    let mut dumb = top("", &[("TERM", "dumb")]);
    assert_eq!(dumb.end(), Some(2));
    let mut explained = top("--explain", &[]);
    assert_eq!(explained.end(), Some(2));

    ok("topic create looked-at -p 2");
    run_with("produce looked-at", "1\n2\n3\n").ok().unwrap();
    ok("group reset lookers --to +1 -t looked-at");
    let named = |value: &serde_json::Value, kind: &str, key: &str, name: &str| {
        let found = value[kind].as_array().unwrap().iter().find(|row| row[key] == name).cloned();
        found.unwrap_or_default()
    };
    let looked = eventually("top -o json -i 100ms", |value| {
        named(value, "topics", "topic", "looked-at")["records"] == 3
            && named(value, "groups", "group", "lookers")["lag_seconds"].is_f64()
    });
    let topic = named(&looked, "topics", "topic", "looked-at");
    assert_eq!((&topic["records_in_per_second"], &topic["partitions"]), (&0.0.into(), &2.into()));
    let group = named(&looked, "groups", "group", "lookers");
    assert_eq!((&group["state"], &group["members"]), (&"Empty".into(), &0.into()));
    assert!(group["lag"].as_i64().unwrap() < 3, "{group}");
    assert_eq!(looked["brokers"][0]["state"], "controller");
    assert!(ok("top --once -i 100ms").contains("\ngroup\tlookers\tEmpty\t0\t"));
    let slow = Duration::from_secs(60);
    let timed = crate::command::program("top --once -i 1h --timeout 1s");
    let timed = timed.env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str()).limit(slow).run().unwrap();
    assert_eq!(timed.status.code(), Some(124));
}
