//! Commits offsets and creates topics, one thing after the other for as long as the broker is there, and
//! remembers what was acknowledged.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Result, ensure};
use millstream_protocol::messages::{
    CreateTopicsRequest, create_topics_request::CreatableTopic, create_topics_response::CreatableTopicResult,
};
use millstream_testkit::{Connection, Running, wait_until};
use millstream_types::ErrorCode;

use crate::{
    kill::{load::ROUND_LIMIT, writer::Broker},
    semantics::{
        committed::{commit_request, committed},
        groups::find_coordinator,
    },
    session::{Session, code},
};

const GROUP: &str = "clerk";
const TOPIC: &str = "clerk";
/// A topic is created after so many commits.
const COMMITS_PER_TOPIC: i64 = 5;

#[derive(Clone)]
struct Promised {
    /// The offset committed last; -1, as the broker says it, before there is one.
    committed: i64,
    /// How many topics there are for certain.
    topics: usize,
}

pub(super) struct Clerk {
    promised: Arc<Mutex<Promised>>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Clerk {
    pub(super) fn start(target: &Running, broker: &Arc<Broker>) -> Self {
        let mut session = Session::open(target);
        session.topic(TOPIC, &[]);
        find_coordinator(&mut session, GROUP);
        let promised = Arc::new(Mutex::new(Promised { committed: -1, topics: 0 }));
        let stopping = Arc::new(AtomicBool::new(false));
        let work = Work { promised: Arc::clone(&promised), next: 0 };
        let (broker, stop) = (Arc::clone(broker), Arc::clone(&stopping));
        Self { promised, stopping, thread: thread::spawn(move || work.run(&broker, &stop)) }
    }

    /// Waits until one more commit is acknowledged, so that there is something to lose.
    pub(super) fn wait(&self) {
        let before = locked(&self.promised).committed;
        wait_until("a commit to be acknowledged", ROUND_LIMIT, || {
            assert!(!self.thread.is_finished(), "the clerk goes on");
            Ok((locked(&self.promised).committed > before).then_some(()))
        })
        .unwrap();
    }

    /// What was promised is there.
    pub(super) fn check(&self, target: &Running) -> Result<()> {
        let promised = locked(&self.promised).clone();
        let mut session = Session::open(target);
        find_coordinator(&mut session, GROUP);
        let found = committed(&mut session, GROUP, TOPIC, 0).committed_offset;
        ensure!(
            (promised.committed..=promised.committed + 1).contains(&found),
            "offset {} was committed last, {found} is there",
            promised.committed
        );
        for topic in (0..promised.topics).map(topic_name) {
            let described = session.describe(&topic);
            let whole =
                described.partitions.len() == 2 && described.partitions.iter().all(|p| p.error_code == 0);
            ensure!(described.error_code == 0 && whole, "{topic} was created, and is {described:?}");
        }
        Ok(())
    }

    /// What was acknowledged in all: the last commit, and topics.
    pub(super) fn finish(self) -> (i64, usize) {
        self.stopping.store(true, Ordering::SeqCst);
        self.thread.join().expect("the clerk does not panic").unwrap();
        let promised = locked(&self.promised);
        (promised.committed, promised.topics)
    }
}

struct Work {
    promised: Arc<Mutex<Promised>>,
    /// The next offset to commit.
    next: i64,
}

impl Work {
    fn run(mut self, broker: &Broker, stopping: &AtomicBool) -> Result<()> {
        while !stopping.load(Ordering::SeqCst) {
            let Some(mut connection) = broker.connect() else { continue };
            while !stopping.load(Ordering::SeqCst) && self.step(&mut connection)? {}
        }
        Ok(())
    }

    /// False when the broker is gone, or asks to come again.
    fn step(&mut self, connection: &mut Connection) -> Result<bool> {
        let topics = locked(&self.promised).topics;
        if self.next > topics as i64 * COMMITS_PER_TOPIC {
            let Some(code) = create(connection, &topic_name(topics)) else { return Ok(false) };
            // An attempt whose answer was lost may have succeeded.
            let created = code == ErrorCode::None || code == ErrorCode::TopicAlreadyExists;
            ensure!(created || code.is_retriable(), "{code} for a new topic");
            locked(&self.promised).topics += usize::from(created);
            return Ok(created);
        }
        let Ok(answer) = connection.call(9, &commit_request(GROUP, TOPIC, 0, self.next)) else {
            return Ok(false);
        };
        let code = code(answer.topics[0].partitions[0].error_code);
        ensure!(code == ErrorCode::None || code.is_retriable(), "{code} for a commit");
        if code == ErrorCode::None {
            locked(&self.promised).committed = self.next;
            self.next += 1;
        }
        Ok(code == ErrorCode::None)
    }
}

fn topic_name(number: usize) -> String {
    format!("clerk-{number}")
}

fn create(connection: &mut Connection, name: &str) -> Option<ErrorCode> {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let answer: CreatableTopicResult = connection.call(7, &request).ok()?.topics.remove(0);
    Some(code(answer.error_code))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
