//! The broker in a bad environment: a disk that is full or fails, file descriptors that run out, a clock that is set.
//! What it says then is retriable, what can go on goes on, and nothing that was acknowledged is lost.

mod clock;
mod descriptors;
mod directories;
mod failing;
mod flips;
mod full;

use std::time::Duration;

use millstream_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, create_topics_request::CreatableTopic,
    delete_topics_request::DeleteTopicState,
};
use millstream_testkit::wait_until;
use millstream_types::ErrorCode;

use crate::session::{Session, batch, code};

const LIMIT: Duration = Duration::from_secs(30);

/// What a producer is told for one more record.
fn try_append(session: &mut Session, topic: &str, partition: i32, value: &str) -> ErrorCode {
    code(session.produce(topic, partition, batch(&[value])).error_code)
}

fn wait_until_it_takes(session: &mut Session, topic: &str, partition: i32, value: &str) {
    wait_until("a record to be taken", LIMIT, || {
        let code = try_append(session, topic, partition, value);
        assert!(code == ErrorCode::None || code == ErrorCode::KafkaStorageError, "{code}");
        Ok((code == ErrorCode::None).then_some(()))
    })
    .unwrap();
}

/// How many of the topic's partitions take a record; the others say that they cannot.
fn partitions_that_take(session: &mut Session, topic: &str, partitions: i32, value: &str) -> i32 {
    let mut count = 0;
    for partition in 0..partitions {
        match try_append(session, topic, partition, value) {
            ErrorCode::None => count += 1,
            code => assert_eq!(code, ErrorCode::KafkaStorageError, "{topic}-{partition}"),
        }
    }
    count
}

/// Whether or not its partitions can be served.
fn create(session: &mut Session, name: &str, partitions: i32) -> ErrorCode {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    code(session.call(7, &request).topics[0].error_code)
}

fn delete(session: &mut Session, name: &str) -> ErrorCode {
    let topic = DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    code(session.call(6, &request).responses[0].error_code)
}
