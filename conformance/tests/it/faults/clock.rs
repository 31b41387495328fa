//! A clock that is set, forward and back: nobody's session ends by it, what was acknowledged stays, and records are
//! stamped and judged by the clock as it is. The broker's calls for the time go through `libfaketime`.

use std::{fs, path::PathBuf};

use millstream_testkit::{Target, TargetOptions, skip};
use millstream_types::ErrorCode;
use tempfile::TempDir;

use super::try_append;
use crate::{
    semantics::{
        committed::{commit, commit_request, committed},
        groups::{Member, find_coordinator},
    },
    session::{Session, batch, decoded, now_ms},
};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// How far a stamp may be from what the clock was set to: a slow machine, not the next jump.
const NEAR_MS: i64 = 5 * MINUTE * 1000;

/// A clock that is off by what its file says. Monotonic time goes on as it does.
struct Clock {
    directory: TempDir,
    library: PathBuf,
}

impl Clock {
    /// None, and said so, where there is no such library.
    fn wound(test: &str) -> Option<Self> {
        let Some(library) = library() else {
            skip(test, "libfaketime is not here: conformance/install.sh faketime");
            return None;
        };
        let clock = Self { directory: tempfile::tempdir().unwrap(), library };
        clock.set(0);
        Some(clock)
    }

    fn set(&self, ahead_seconds: i64) {
        // Renamed, for it is read at every call.
        let next = self.directory.path().join("next");
        fs::write(&next, format!("{ahead_seconds:+}")).unwrap();
        fs::rename(next, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("now")
    }

    fn options(&self) -> TargetOptions {
        TargetOptions::default().wrapper([
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            // Waits are left alone too, or a JVM wakes at once from all of them.
            "FAKETIME_FORCE_MONOTONIC_FIX=0".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ])
    }
}

fn library() -> Option<PathBuf> {
    let of_architectures = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let directories = of_architectures.chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64")]);
    directories.map(|path| path.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

#[test]
fn a_clock_that_is_set_ends_no_session_and_loses_nothing() {
    let Some(clock) = Clock::wound("a clock that is set") else { return };
    let mut target = Target::start(clock.options()).unwrap();
    let mut session = Session::open(&target);
    session.topic("sent", &[]);
    session.topic("stamped", &[("message.timestamp.type", "LogAppendTime")]);
    let mut member = Member::new(&target, "clocked");
    member.settle();

    let jumps = [HOUR, 0, -30 * MINUTE, DAY, -30 * MINUTE];
    let mut values = Vec::new();
    for (nth, ahead) in (1_i64..).zip(jumps) {
        clock.set(ahead);
        let value = format!("{nth}: {ahead} s");
        for topic in ["sent", "stamped"] {
            assert_eq!(try_append(&mut session, topic, 0, &value), ErrorCode::None, "{topic}, {value}");
        }
        values.push(value.clone());
        let stamped = decoded(&session.fetch("stamped", 0)).last().unwrap().header.max_timestamp;
        assert!((stamped - now_ms() - ahead * 1000).abs() < NEAR_MS, "{value}: stamped {stamped}");
        assert_eq!(member.heartbeat(), ErrorCode::None, "{value}");
        assert_eq!(commit(&mut session, &commit_request("outside", "sent", 0, nth)), ErrorCode::None);
    }

    target.kill().unwrap();
    clock.set(HOUR);
    target.restart().unwrap();
    let mut session = Session::open(&target);
    for topic in ["sent", "stamped"] {
        session.wait_served(topic, 0);
        assert_eq!(session.values(topic), values, "{topic}");
    }
    find_coordinator(&mut session, "outside");
    assert_eq!(committed(&mut session, "outside", "sent", 0).committed_offset, jumps.len() as i64);
    member.session = Session::open(&target);
    find_coordinator(&mut session, "clocked");
    assert_eq!(member.heartbeat(), ErrorCode::None);
}

#[test]
fn records_are_judged_by_the_clock_as_it_is() {
    let Some(clock) = Clock::wound("records under a clock that is set") else { return };
    let target = Target::start(clock.options()).unwrap();
    let mut session = Session::open(&target);
    session.topic("sent", &[]);
    // More than message.timestamp.after.max.ms ahead of the broker.
    clock.set(-2 * HOUR);
    assert_eq!(try_append(&mut session, "sent", 0, "too new"), ErrorCode::InvalidTimestamp);
    clock.set(0);
    session.append("sent", 0, batch(&["as it should be"]));
    assert_eq!(session.values("sent"), ["as it should be"]);
}
