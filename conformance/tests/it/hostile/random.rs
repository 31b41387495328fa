//! Requests that no client means: random ones of every key and version, and those of real clients cut short and
//! with flipped bits.

use std::{thread, time::Duration};

use millstream_conformance::clients::{CLIENTS, Tier};
use millstream_protocol::{ApiKey, offered_versions, request_header_version};
use millstream_testkit::{Connection, Kind, Running, TargetOptions, skip};

use super::{Siege, recorder::Recorder, scaled, seed};
use crate::{kill::Random, session::frame};

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// What may rightly be held back: a long poll, a group that waits for its members, a write for its flush.
const MAY_WAIT: [ApiKey; 4] = [ApiKey::Produce, ApiKey::Fetch, ApiKey::JoinGroup, ApiKey::SyncGroup];

/// A sent request whose outcome is still to be seen.
struct Sent {
    connection: Connection,
    bytes: Vec<u8>,
}

impl Sent {
    fn send(target: &Running, bytes: Vec<u8>) -> Self {
        let mut connection = Connection::open(target.bootstrap()).unwrap();
        // A broker that has closed already does not take the rest.
        drop(connection.send_bytes(&bytes));
        drop(connection.finish_sending());
        Self { connection, bytes }
    }

    fn key(&self) -> Option<ApiKey> {
        ApiKey::try_from(i16::from_be_bytes([*self.bytes.get(4)?, *self.bytes.get(5)?])).ok()
    }

    /// Waits for an answer or the end.
    fn see(&mut self) -> Outcome {
        self.connection.set_answer_limit(ANSWER_LIMIT).unwrap();
        match self.connection.receive_frame() {
            Ok(_) => Outcome::Answered,
            Err(error) => match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
                Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => Outcome::Waiting,
                Some(_) => Outcome::Closed,
                None => panic!("{error:#}: {:02x?}", self.bytes),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Closed,
    Waiting,
}

/// Sees what became of them, and demands that none is left hanging without a reason.
fn outcomes(name: &str, sent: Vec<Sent>) {
    let mut counts = [0; 3];
    for mut sent in sent {
        let outcome = sent.see();
        let may_wait = sent.key().is_some_and(|key| MAY_WAIT.contains(&key));
        assert!(outcome != Outcome::Waiting || may_wait, "neither answer nor close: {:02x?}", sent.bytes);
        counts[outcome as usize] += 1;
    }
    eprintln!("hostile: {name}: {} answered, {} closed, {} waiting", counts[0], counts[1], counts[2]);
}

/// Every key in each of its versions, and in the one before them and the one after.
fn keys_and_versions() -> Vec<(ApiKey, i16)> {
    let versions = |&key: &ApiKey| {
        let offered = offered_versions(key);
        (offered.start() - 1..=offered.end() + 1).map(move |version| (key, version))
    };
    ApiKey::ALL.iter().flat_map(versions).collect()
}

fn random_request(random: &mut Random, key: ApiKey, version: i16) -> Vec<u8> {
    let known = offered_versions(key).contains(&version);
    let header = if known { request_header_version(key, version) } else { 1 + random.below(2) as i16 };
    let length = random.below(200);
    // Small numbers lead a reader deeper than large ones.
    let small = random.below(3) > 0;
    let mut byte = |_| {
        let byte = random.below(256) as u8;
        if small && byte < 200 { byte % 4 } else { byte }
    };
    frame(key as i16, version, header, &(0..length).map(&mut byte).collect::<Vec<u8>>())
}

#[test]
fn a_random_request_of_any_key_and_version_is_answered_or_closes_its_connection() {
    let mut random = Random::new(seed("random"));
    let siege = Siege::begin("random requests", TargetOptions::default());
    let all = keys_and_versions();
    let count = all.len().max(scaled(300));
    siege.attack(|target| {
        let some = all.iter().cycle().take(count);
        let requests: Vec<_> =
            some.map(|(key, version)| random_request(&mut random, *key, *version)).collect();
        outcomes("random requests", requests.into_iter().map(|bytes| Sent::send(target, bytes)).collect());
    });
}

/// The requests of one client, as they were, with something wrong in each.
fn mutated(random: &mut Random, frames: &[Vec<u8>]) -> Vec<u8> {
    let some = |random: &mut Random| &frames[random.below(frames.len() as u64) as usize];
    let mut bytes = some(random).clone();
    let place =
        |random: &mut Random, bytes: &[u8]| 4 + random.below((bytes.len() - 4).max(1) as u64) as usize;
    match random.below(5) {
        0 => {
            for _ in 0..=random.below(8) {
                let at = place(random, &bytes).min(bytes.len() - 1);
                bytes[at] ^= 1 << random.below(8);
            }
        }
        // What is announced does not come.
        1 => bytes.truncate(place(random, &bytes)),
        2 => {
            bytes.truncate(place(random, &bytes));
            set_length(&mut bytes);
        }
        3 => {
            let extremes = [[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0x40, 0, 0, 0], [0xff, 0xff, 0xff, 0x7f]];
            let extreme = extremes[random.below(4) as usize];
            let at = place(random, &bytes);
            let end = bytes.len().min(at + 4);
            bytes[at.min(end)..end].copy_from_slice(&extreme[..end - at.min(end)]);
        }
        _ => {
            let other = some(random);
            let (head, tail) = (place(random, &bytes), place(random, other).min(other.len()));
            bytes.truncate(head);
            bytes.extend_from_slice(&other[tail..]);
            set_length(&mut bytes);
        }
    }
    bytes
}

fn set_length(bytes: &mut [u8]) {
    let length = u32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&length.to_be_bytes());
}

/// For 3,000 connections and 5,000 partitions.
const FILES: usize = 10_000;

#[test]
fn a_damaged_request_of_a_real_client_is_answered_or_closes_its_connection() {
    let mut random = Random::new(seed("random"));
    let recorder = Recorder::bind();
    let advertised = format!("PLAINTEXT://{}", recorder.address());
    // Where a topic's partitions become thousands by a flipped bit, that is a request like any other, and takes the
    // memory of so many.
    let options = TargetOptions::default().set("advertised.listeners", advertised).open_files(FILES);
    let mut siege = Siege::begin("damaged requests", options.set("auto.create.topics.enable", false));
    recorder.record(siege.target.bootstrap());
    // All clients that `make test` has, or the quickest.
    for client in CLIENTS.iter().filter(|client| client.tier == Tier::Test).take(scaled(1).min(CLIENTS.len()))
    {
        match client.missing().unwrap() {
            Some(missing) => skip(client.name, &missing),
            None => drop(client.run(&recorder.address()).unwrap()),
        }
    }
    let frames = recorder.frames();
    eprintln!("hostile: {} requests recorded", frames.len());
    if frames.is_empty() {
        return;
    }
    siege.attack(|target| {
        let requests = (0..scaled(300)).map(|_| mutated(&mut random, &frames));
        outcomes("damaged requests", requests.map(|bytes| Sent::send(target, bytes)).collect());
    });
    // Nothing of it is on disk in a form that stands in the way.
    if siege.target.kind() == Kind::Millstream {
        siege.target.restart().unwrap();
        siege.attack(|_| thread::sleep(Duration::from_millis(1)));
    }
}
