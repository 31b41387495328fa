//! One simulation: in each step somebody does something, or something happens to the process or its disk;
//! after each step, and above all after each restart, what was promised is checked.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use millstream_types::{ErrorCode, TimestampMs};

use crate::{
    Failure, Options, Plant, Summary,
    data::Data,
    disk::{Disk, DiskError, Lies},
    groups::Groups,
    node::{Node, Stopped, first_files},
    random::{Random, mix},
};

const RUNNING: &str = "there is a process but while it restarts";

/// How many steps a failure shows.
const STEPS_SHOWN: usize = 60;

const START: TimestampMs = TimestampMs(1_700_000_000_000);

struct World {
    random: Random,
    disk: Disk,
    plant: Option<Plant>,
    /// `None` only while it is being restarted.
    node: Option<Node>,
    data: Data,
    groups: Groups,
    now: TimestampMs,
    /// How often something goes wrong, of a thousand steps; some seeds are calm and some are not.
    trouble: u32,
    /// Lives of the process so far.
    incarnation: u64,
    power_cuts: usize,
    steps: VecDeque<String>,
    step_trace: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    Clean,
    Killed,
    PowerCut,
}

/// Whether a restart itself goes without incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calm {
    Yes,
    No,
}

/// Runs one seed to its end.
pub(crate) fn run(seed: u64, options: &Options) -> Result<Summary, Box<Failure>> {
    let mut world = World::new(seed, options.plant);
    let played = catch_unwind(AssertUnwindSafe(|| world.play(options.steps)));
    let reason = match played {
        Ok(Ok(())) => return Ok(world.summary()),
        Ok(Err(reason)) => reason,
        Err(panic) => format!("panic: {}", panic_message(&*panic)),
    };
    Err(Box::new(Failure { seed, options: options.clone(), reason, steps: world.steps.into() }))
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

impl World {
    fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut random = Random::new(mix(seed));
        let lies = Lies {
            syncs_no_files: plant == Some(Plant::SyncNoFiles),
            syncs_no_dirs: plant == Some(Plant::SyncNoDirectories),
        };
        let disk = Disk::new(random.fork(), lies, &first_files());
        let node = Node::start(&disk, plant, 1, START).expect("an empty disk takes a node");
        let trouble = [5, 20, 50][random.below(3)];
        Self {
            random,
            trouble,
            disk,
            plant,
            node: Some(node),
            data: Data::new(),
            groups: Groups::new(),
            now: START,
            incarnation: 1,
            power_cuts: 0,
            steps: VecDeque::new(),
            step_trace: 0,
        }
    }

    fn summary(&self) -> Summary {
        Summary {
            acked_batches: self.data.acked_count,
            committed_offsets: self.groups.committed_count,
            generations: self.groups.generation_count,
            restarts: self.incarnation as usize - 1,
            power_cuts: self.power_cuts,
            trace: mix(self.step_trace ^ self.disk.trace()),
        }
    }

    fn play(&mut self, steps: usize) -> Result<(), String> {
        for _ in 0..steps {
            self.step()?;
            self.after_step()?;
        }
        self.finish()
    }

    fn note(&mut self, step: String) {
        self.step_trace = step.bytes().fold(self.step_trace, |trace, byte| mix(trace ^ u64::from(byte)));
        if self.steps.len() == STEPS_SHOWN {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }

    fn step(&mut self) -> Result<(), String> {
        if self.random.chance(self.trouble) {
            self.arm();
        }
        if self.random.chance(self.trouble) {
            let restart = match self.random.below(10) {
                0..2 => Restart::Clean,
                2..5 => Restart::Killed,
                _ => Restart::PowerCut,
            };
            return self.restart(restart, Calm::No);
        }
        let (random, now) = (&mut self.random, self.now);
        let node = self.node.as_mut().expect(RUNNING);
        let done = match random.below(100) {
            0..30 => format!("produce: {}", self.data.produce(node, self.plant, random, now)?),
            30..33 => format!("repeat an acknowledged batch: {}", self.data.repeat(node, random, now)?),
            33..68 => format!("act in the group: {}", self.groups.act(node, random, now)),
            68..83 => {
                node.flush();
                "flush".to_owned()
            }
            83..88 => format!("consume: {}", self.data.consume(node, random)?),
            88..90 => format!("delete records: {}", self.data.delete_records(node, random)?),
            _ => return self.pass_time(),
        };
        self.note(done);
        Ok(())
    }

    fn pass_time(&mut self) -> Result<(), String> {
        let ms = match self.random.below(8) {
            0 => 15_000,
            1..3 => 3_000,
            _ => 300,
        };
        self.now = self.now.plus_ms(ms);
        self.note(format!("{ms} ms pass"));
        self.node.as_mut().expect(RUNNING).tick(self.now)
    }

    /// Something is going to fail soon.
    fn arm(&mut self) {
        let after = self.random.below(12);
        let step = match self.random.below(10) {
            0..5 => {
                self.disk.arm_power_cut(after);
                format!("the power will go after {after} operations")
            }
            5 => {
                self.disk.arm_error(DiskError::Write, after);
                format!("a write will fail after {after} others")
            }
            6 => {
                self.disk.arm_error(DiskError::Sync, after / 4);
                format!("a sync will fail after {} others", after / 4)
            }
            7 => {
                self.disk.arm_error(DiskError::Read, after);
                format!("a read will fail after {after} others")
            }
            8 => {
                self.node.as_mut().expect(RUNNING).refuse_next_append(ErrorCode::NotEnoughReplicas);
                "the group's next append is refused".to_owned()
            }
            _ => {
                let free = (!self.disk.is_limited()).then_some(after as u64 * 100);
                self.disk.set_free(free);
                format!("free space is {free:?}")
            }
        };
        self.note(step);
    }

    /// Hears the answers, unless there is nobody left to give them.
    fn after_step(&mut self) -> Result<(), String> {
        if self.disk.is_off() {
            return self.restart(Restart::PowerCut, Calm::No);
        }
        let node = self.node.as_mut().expect(RUNNING);
        if node.has_offline_dir() {
            if !self.disk.error_happened() {
                return Err("a log directory is offline though the disk is well".to_owned());
            }
            // It goes on for a while with what it has left.
            if self.random.chance(500) {
                return self.restart(Restart::Killed, Calm::No);
            }
        }
        node.run_timers(self.now)?;
        self.groups.hear(node.take_answers())?;
        self.data.acknowledge(node, self.plant)
    }

    fn restart(&mut self, restart: Restart, calm: Calm) -> Result<(), String> {
        self.note(format!("restart: {restart:?}"));
        if restart == Restart::Clean {
            self.node.as_ref().expect(RUNNING).close(self.now);
        }
        self.node = None;
        if self.disk.is_off() || restart == Restart::PowerCut {
            self.cut_power();
        } else {
            self.disk.evict_some();
        }
        self.disk.disarm();
        self.data.node_died();
        self.groups.node_died();
        let mut node = self.start(calm)?;
        let (start, end) = (node.data.log_start_offset(), node.data.log_end_offset());
        self.note(format!("started: the log is {start} to {end}"));
        if !self.disk.is_off() {
            self.disk.disarm();
            self.data.check(&node)?;
            self.groups.fetch_all(&mut node, self.now);
        }
        self.node = Some(node);
        Ok(())
    }

    /// The power may go again while the process starts, and more than once.
    fn start(&mut self, calm: Calm) -> Result<Node, String> {
        for attempt in 0..10 {
            if calm == Calm::No && attempt < 3 && self.random.chance(250) {
                let after = self.random.below(25);
                self.note(format!("while it starts the power will go after {after} operations"));
                self.disk.arm_power_cut(after);
            }
            if attempt >= 3 {
                self.disk.set_free(None);
            }
            self.incarnation += 1;
            self.now = self.now.plus_ms(100);
            match Node::start(&self.disk, self.plant, self.incarnation, self.now) {
                Ok(node) => return Ok(node),
                Err(Stopped::Wrong(reason)) => return Err(reason),
                Err(Stopped::ByDisk(reason)) => self.note(format!("it does not start: {reason}")),
            }
            if self.disk.is_off() {
                self.cut_power();
            }
            self.disk.disarm();
        }
        Err("it does not start any more".to_owned())
    }

    fn cut_power(&mut self) {
        self.power_cuts += 1;
        self.disk.power_cut();
    }

    /// Nothing fails any more: everything that was begun must come to an end, and be there after a last
    /// power cut, and after a last clean stop.
    fn finish(&mut self) -> Result<(), String> {
        self.note("the end: nothing fails any more".to_owned());
        self.disk.set_free(None);
        self.disk.settle_errors();
        for restart in [Restart::Killed, Restart::PowerCut, Restart::Clean] {
            self.disk.disarm();
            self.restart(restart, Calm::Yes)?;
            let node = self.node.as_mut().expect(RUNNING);
            for _ in 0..65 {
                self.now = self.now.plus_ms(5_000);
                node.tick(self.now)?;
                self.data.settle(node, self.now)?;
                node.flush();
                self.groups.hear(node.take_answers())?;
                self.data.acknowledge(node, self.plant)?;
            }
            self.data.check(node)?;
            if !self.data.is_settled() || !self.groups.is_settled() {
                return Err("not everything that was begun comes to an end".to_owned());
            }
        }
        Ok(())
    }
}
