//! Waiting for a condition, and saying that a test could not be run here.

use std::{
    env,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Asks `check` again and again until it answers. It is the condition that ends the wait; the time between
/// two questions only keeps the processor free for whoever makes it true.
pub fn wait_until<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = check()? {
            return Ok(answer);
        }
        if started.elapsed() > limit {
            bail!("waited {:.1} s in vain for {what}", limit.as_secs_f64());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Says aloud that a test cannot run because `missing`. Under `CI=true` that is a failure.
pub fn skip(test: &str, missing: &str) {
    let line = format!("SKIPPED {test}: {missing}\n");
    assert!(env::var("CI").as_deref() != Ok("true"), "{line}with CI=true a skip is a failure");
    // Past the capture of the test harness, so that a skip is seen also when all is green.
    let written = std::io::stderr().lock().write_all(line.as_bytes());
    drop(written);
}
