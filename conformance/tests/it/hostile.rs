//! What strangers may do to the port: each attack ends in a correct answer or a closed connection, the broker's
//! memory grows by no more than 30 MB, and whoever behaves is served meanwhile.
//!
//! `MILLSTREAM_HOSTILE_SCALE` says how much of everything there is: 1 unless set, 10 in `make torture`, where each
//! attack is alone on the machine and its figures are worth reading. `MILLSTREAM_SEED` repeats random choices.

mod bombs;
mod bytes;
mod many;
mod queue;
mod random;
mod recorder;
mod slow;

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use millstream_protocol::messages::ApiVersionsRequest;
use millstream_testkit::{Connection, Kind, Running, Target, TargetOptions, skip};

use crate::{
    kill::from_env,
    session::{Session, batch},
};

const GROWTH_MAX_KB: u64 = 30 << 10;
const BYSTANDERS_TOPIC: &str = "bystander";
const QUIET_CALLS: usize = 500;

/// How many of something there are: `count` at scale 1.
fn scaled(count: usize) -> usize {
    count * usize::try_from(from_env("MILLSTREAM_HOSTILE_SCALE").unwrap_or(1)).unwrap()
}

/// A seed, with how to repeat what follows from it.
fn seed(test: &str) -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let seed = from_env("MILLSTREAM_SEED").unwrap_or(clock as u64);
    let scale = scaled(1);
    eprintln!(
        "to repeat: MILLSTREAM_SEED={seed} MILLSTREAM_HOSTILE_SCALE={scale} \
         cargo test -p millstream-conformance --test it -- hostile::{test}"
    );
    seed
}

/// Kafka takes memory for a frame as soon as it is announced, and with many of them serves nobody any more: not
/// a question to put to it.
fn is_too_much_for_the_target(test: &str) -> bool {
    let is_kafka = Kind::from_env().unwrap() == Kind::Kafka;
    if is_kafka {
        skip(test, "a target that survives it");
    }
    is_kafka
}

/// A broker of its own, and how it serves while nobody does it harm.
struct Siege {
    name: &'static str,
    target: Running,
    quiet: Served,
}

impl Siege {
    fn begin(name: &'static str, options: TargetOptions) -> Self {
        let target = Target::start(options).unwrap();
        Session::open(&target).topic(BYSTANDERS_TOPIC, &[]);
        let mut quiet = Served::default();
        let mut bystander = Bystander::new(&target);
        (0..QUIET_CALLS).for_each(|_| bystander.call(&mut quiet));
        Self { name, target, quiet }
    }

    /// Attacks while somebody else goes on with what it does, and demands that both fare as they should. What
    /// the attack returns is held until then.
    fn attack<T>(&self, attack: impl FnOnce(&Running) -> T) -> T {
        let before = Memory::now(&self.target);
        let is_over = AtomicBool::new(false);
        let (held, beside, after) = thread::scope(|scope| {
            let bystander = scope.spawn(|| {
                let mut beside = Served::default();
                let mut bystander = Bystander::new(&self.target);
                while beside.write_and_read.0.is_empty() || !is_over.load(Ordering::Relaxed) {
                    bystander.call(&mut beside);
                }
                beside
            });
            let held = {
                let _over = SetOnDrop(&is_over);
                attack(&self.target)
            };
            (held, bystander.join().unwrap(), Memory::now(&self.target))
        });
        let growth_kb = after.peak_kb.saturating_sub(before.kb);
        eprintln!(
            "hostile: {}: RSS {:.1} MB, at most {:.1} MB during the attack\n  \
             write and read: {} without, {} with: p99 × {:.1}\n  connect: {} without, {} with: p99 × {:.1}",
            self.name,
            before.kb as f64 / 1024.0,
            after.peak_kb as f64 / 1024.0,
            self.quiet.write_and_read,
            beside.write_and_read,
            beside.write_and_read.p99_ms() / self.quiet.write_and_read.p99_ms(),
            self.quiet.connect,
            beside.connect,
            beside.connect.p99_ms() / self.quiet.connect.p99_ms(),
        );
        // A JVM's memory is its heap, which does not tell who had it.
        if self.target.kind() == Kind::Millstream {
            assert!(growth_kb <= GROWTH_MAX_KB, "{}: RSS grew by {growth_kb} KB", self.name);
        }
        held
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client of good manners. Whatever it is not served fails the test.
struct Bystander<'a> {
    target: &'a Running,
    session: Session,
}

impl<'a> Bystander<'a> {
    fn new(target: &'a Running) -> Self {
        Self { target, session: Session::open(target) }
    }

    /// Writes a record and reads it back, then asks something on a connection of its own.
    fn call(&mut self, served: &mut Served) {
        let started = Instant::now();
        let offset = self.session.append(BYSTANDERS_TOPIC, 0, batch(&[[b'x'; 100]]));
        assert_eq!(self.session.fetch(BYSTANDERS_TOPIC, offset).error_code, 0);
        served.write_and_read.0.push(started.elapsed());
        let started = Instant::now();
        let mut fresh = Connection::open(self.target.bootstrap()).unwrap();
        assert_eq!(fresh.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
        served.connect.0.push(started.elapsed());
    }
}

/// How long it took to be served.
#[derive(Default)]
struct Served {
    write_and_read: Latencies,
    connect: Latencies,
}

#[derive(Default)]
struct Latencies(Vec<Duration>);

impl Latencies {
    fn at_ms(&self, per_mille: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[(sorted.len() - 1) * per_mille / 1000].as_secs_f64() * 1000.0
    }

    fn p99_ms(&self) -> f64 {
        self.at_ms(990)
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.2} p99 {:.2} ms ({} calls)", self.at_ms(500), self.p99_ms(), self.0.len())
    }
}

/// What the broker's process has in memory, and the most it had since it was last looked at.
struct Memory {
    kb: u64,
    peak_kb: u64,
}

impl Memory {
    fn now(target: &Running) -> Self {
        let pid = target.pid().unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let memory = Self { kb: field("VmRSS:"), peak_kb: field("VmHWM:") };
        // 5 makes the peak what it is now.
        fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        memory
    }
}
