//! What a record costs as there is more around it: the same load, so many requests a second with so many
//! records each, spread over one or over a thousand partitions or connections. What each costs by being
//! one of many shows in the broker's processor time for a record.
//!
//! One thread, all connections in one epoll; requests and frames are made before. Writing blocks, which
//! the broker resolves, since it reads on whether its answers are read or not.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use millstream_protocol::{decode_response, messages::produce_request::ProduceRequest};
use millstream_testkit::Running;
use rustix::event::{Timespec, epoll};

use crate::{
    floor::client::{self, Floor},
    plan::{Along, Extent, Growth},
    samples::{Figures, Metric},
    topics::Topic,
    usage,
    wire::{self, Batch},
};

const REQUESTS_PER_SECOND: u32 = 2_000;
const BATCH: Batch = Batch { records: 100, value_bytes: 100 };
/// What is due is sent this often.
const TICK: Duration = Duration::from_millis(5);
/// Not counted: first connections, and in the floor first writes to new files.
const WARM_UP: Duration = Duration::from_millis(1_000);
/// Unanswered requests, after which the load waits and is no longer the same.
const UNANSWERED_MAX: u64 = 1_000;
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(crate) fn broker(broker: &Running, growth: Growth, extent: &Extent) -> Result<Figures> {
    let (partitions, connections) = spread(growth);
    let partitions = i32::try_from(partitions)?;
    let topic = Topic::create(broker, "growth", partitions)?;
    let frames = wire::produce_frames(&topic.name, partitions, &BATCH.encode()?)?;
    wire::warm_up(broker.bootstrap(), &frames)?;
    let load = Load::connect(broker.bootstrap(), connections, frames, Answers::Kafka)?;
    load.run(broker.pid()?, extent.growth_duration())
}

pub(crate) fn floor(floor: &Floor, growth: Growth, extent: &Extent) -> Result<Figures> {
    let (partitions, connections) = spread(growth);
    let batch = BATCH.encode()?;
    let frames = (0..partitions).map(|index| client::frame(index, &batch)).collect();
    let load = Load::connect(&floor.address(), connections, frames, Answers::Floor)?;
    let figures = load.run(floor.pid(), extent.growth_duration());
    floor.clear()?;
    figures
}

fn spread(growth: Growth) -> (u32, u32) {
    match growth.along {
        Along::Partitions => (growth.count, 1),
        // As many partitions as a busy topic has, the same for every number of connections.
        Along::Connections => (12, growth.count),
    }
}

#[derive(Clone, Copy)]
enum Answers {
    /// A response a request.
    Kafka,
    /// Four bytes: how many frames are durable.
    Floor,
}

struct Load {
    epoll: rustix::fd::OwnedFd,
    connections: Vec<(TcpStream, BytesMut)>,
    /// By partition.
    frames: Vec<Vec<u8>>,
    answers: Answers,
    sent: u64,
    answered: u64,
}

impl Load {
    fn connect(address: &str, count: u32, frames: Vec<Vec<u8>>, answers: Answers) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for index in 0..count {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(index.into()), epoll::EventFlags::IN)?;
            connections.push((stream, BytesMut::new()));
        }
        Ok(Self { epoll, connections, frames, answers, sent: 0, answered: 0 })
    }

    fn run(mut self, pid: u32, duration: Duration) -> Result<Figures> {
        let mut warm = None;
        let started = Instant::now();
        while started.elapsed() < WARM_UP + duration {
            let due = (started.elapsed().as_secs_f64() * f64::from(REQUESTS_PER_SECOND)) as u64;
            while self.sent < due && self.sent - self.answered < UNANSWERED_MAX {
                self.send()?;
            }
            let next = Instant::now() + TICK;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                self.receive(left)?;
            }
            if warm.is_none() && started.elapsed() >= WARM_UP {
                warm = Some((usage::cpu(pid)?, self.answered, Instant::now()));
            }
        }
        let mut heard = Instant::now();
        while self.answered < self.sent {
            let before = self.answered;
            self.receive(TICK)?;
            if self.answered > before {
                heard = Instant::now();
            }
            ensure!(
                heard.elapsed() < SILENCE_MAX,
                "{} of {} requests were answered",
                self.answered,
                self.sent
            );
        }
        let (cpu_before, answered_before, warm) = warm.context("no time to measure")?;
        let records = ((self.answered - answered_before) * u64::from(BATCH.records)) as f64;
        let cpu = usage::cpu(pid)? - cpu_before;
        Ok(Figures::from([
            (Metric::ProduceCpu, cpu.as_secs_f64() / records * 1e6),
            (Metric::ProducedPerSecond, records / warm.elapsed().as_secs_f64()),
        ]))
    }

    /// To the next partition by the next connection.
    fn send(&mut self) -> Result<()> {
        let frame = &self.frames[(self.sent % self.frames.len() as u64) as usize];
        let connection = (self.sent % self.connections.len() as u64) as usize;
        self.connections[connection].0.write_all(frame)?;
        self.sent += 1;
        Ok(())
    }

    /// Waits for answers, and takes those that are there.
    fn receive(&mut self, limit: Duration) -> Result<()> {
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        let mut events = Vec::with_capacity(64);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&limit)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            waited => waited?,
        };
        for event in events {
            let (stream, received) = &mut self.connections[event.data.u64() as usize];
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer)? {
                0 => bail!("a connection was closed"),
                read => received.extend_from_slice(&buffer[..read]),
            }
            self.answered += self.answers.take(received)?;
        }
        Ok(())
    }
}

impl Answers {
    /// How many requests the whole answers in it stand for; they are taken out.
    fn take(self, received: &mut BytesMut) -> Result<u64> {
        let mut count = 0;
        while let Some(word) = received.first_chunk().map(|word| u32::from_be_bytes(*word)) {
            match self {
                Self::Floor => {
                    received.advance(4);
                    count += u64::from(word);
                }
                Self::Kafka if received.len() < 4 + word as usize => break,
                Self::Kafka => {
                    received.advance(4);
                    let frame: Bytes = received.split_to(word as usize).freeze();
                    let (_, response) = decode_response::<ProduceRequest>(frame, wire::PRODUCE_VERSION)?;
                    wire::check(&response)?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_when_all_of_it_has_come() {
        let mut received = BytesMut::from(&[0, 0, 0, 3, 0, 0, 0][..]);
        assert_eq!(Answers::Floor.take(&mut received).unwrap(), 3);
        received.extend_from_slice(&[2]);
        assert_eq!(Answers::Floor.take(&mut received).unwrap(), 2);
        let mut received = BytesMut::from(&[0, 0, 0, 9, 0][..]);
        assert_eq!(Answers::Kafka.take(&mut received).unwrap(), 0);
        assert_eq!(received.len(), 5);
    }
}
