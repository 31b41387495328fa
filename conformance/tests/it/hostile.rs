//! What strangers may do to the port: each attack ends in a correct answer or a closed connection, the broker's
//! memory grows by no more than 30 MB, and whoever behaves is served meanwhile.
//!
//! `MILLSTREAM_HOSTILE_SCALE` says how much of everything there is: 1 unless set, 10 in `make torture`, where each
//! attack is alone on the machine and its figures are worth reading. `MILLSTREAM_SEED` repeats random choices.

mod bombs;
mod bytes;
mod limits;
mod many;
mod queue;
mod random;
mod recorder;
mod slow;

use std::{
    fs, iter,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
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
/// Of each bystander, while there is quiet.
const QUIET_CALLS: usize = 500;
/// And during an attack, at scale 1: fewer say nothing of the slowest.
const CALLS_MIN: usize = 100;

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

/// A broker of its own, and how it serves while nobody does it harm. Beside it runs another that nobody attacks:
/// what its clients notice all the same is the attackers' share of the machine, which no broker can give back.
struct Siege {
    name: &'static str,
    target: Running,
    neighbour: Option<Running>,
    quiet: Vec<Served>,
}

impl Siege {
    fn begin(name: &'static str, options: TargetOptions) -> Self {
        let target = Target::start(options).unwrap();
        // A second JVM would tell nothing of the first.
        let is_millstream = target.kind() == Kind::Millstream;
        let neighbour = is_millstream.then(|| Target::start(TargetOptions::default()).unwrap());
        let mut siege = Self { name, target, neighbour, quiet: Vec::new() };
        for broker in siege.brokers() {
            Session::open(broker).topic(BYSTANDERS_TOPIC, &[]);
        }
        siege.quiet = siege.meanwhile(|watch| wait_for_calls(watch, QUIET_CALLS)).1;
        siege
    }

    fn brokers(&self) -> impl Iterator<Item = &Running> {
        iter::once(&self.target).chain(&self.neighbour)
    }

    /// How a client of each broker is served while something goes on.
    fn meanwhile<T>(&self, something: impl FnOnce(&Watch) -> T) -> (T, Vec<Served>) {
        let calls = self.brokers().map(|_| AtomicUsize::new(0)).collect();
        let watch = Watch { is_over: AtomicBool::new(false), calls };
        thread::scope(|scope| {
            let brokers = self.brokers().zip(&watch.calls);
            let clients: Vec<_> =
                brokers.map(|(broker, calls)| scope.spawn(|| watch.client_of(broker, calls))).collect();
            let outcome = {
                let _over = SetOnDrop(&watch.is_over);
                something(&watch)
            };
            (outcome, clients.into_iter().map(|client| client.join().unwrap()).collect())
        })
    }

    /// Attacks, again and again until enough is known of how others are served, and demands that they are, and
    /// that memory stays within its bounds. What the last attack returns is held until then.
    fn attack<T>(&self, mut attack: impl FnMut(&Running) -> T) -> T {
        let before = Memory::now(&self.target);
        let (held, served) = self.meanwhile(|watch| {
            loop {
                let held = attack(&self.target);
                if watch.calls() >= scaled(CALLS_MIN) {
                    break held;
                }
            }
        });
        let after = Memory::now(&self.target);
        let growth_kb = after.peak_kb.saturating_sub(before.kb);
        eprintln!(
            "hostile: {}: RSS {:.1} MB, at most {:.1} MB during the attack, {:.1} MB after it",
            self.name,
            before.kb as f64 / 1024.0,
            after.peak_kb as f64 / 1024.0,
            after.kb as f64 / 1024.0,
        );
        for ((whose, quiet), served) in ["attacked", "beside it"].iter().zip(&self.quiet).zip(&served) {
            eprintln!("  {whose}: write and read {}", served.write_and_read.beside(&quiet.write_and_read));
            eprintln!("  {whose}: connect {}", served.connect.beside(&quiet.connect));
        }
        // A JVM's memory is its heap, which does not tell who had it.
        if self.target.kind() == Kind::Millstream {
            assert!(growth_kb <= GROWTH_MAX_KB, "{}: RSS grew by {growth_kb} KB", self.name);
        }
        held
    }
}

/// What the clients of good manners go by.
struct Watch {
    is_over: AtomicBool,
    /// How many each has made.
    calls: Vec<AtomicUsize>,
}

impl Watch {
    fn client_of(&self, broker: &Running, calls: &AtomicUsize) -> Served {
        let mut served = Served::default();
        let mut bystander = Bystander::new(broker);
        while served.connect.0.is_empty() || !self.is_over.load(Ordering::Relaxed) {
            bystander.call(&mut served);
            calls.fetch_add(1, Ordering::Relaxed);
        }
        served
    }

    /// Of the client that is served least.
    fn calls(&self) -> usize {
        self.calls.iter().map(|calls| calls.load(Ordering::Relaxed)).min().unwrap_or_default()
    }
}

fn wait_for_calls(watch: &Watch, count: usize) {
    while watch.calls() < count {
        thread::sleep(Duration::from_millis(1));
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

    /// With what it was without an attack.
    fn beside(&self, quiet: &Self) -> String {
        format!("{quiet} without, {self} with: p99 × {:.1}", self.at_ms(990) / quiet.at_ms(990))
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.2} p99 {:.2} ms ({} calls)", self.at_ms(500), self.at_ms(990), self.0.len())
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
