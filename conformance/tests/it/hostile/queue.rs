//! More requests at once than a broker should have begun.

use std::time::Duration;

use millstream_protocol::{
    encode_request,
    messages::{DescribeLogDirsRequest, ProduceRequest},
};
use millstream_testkit::{Kind, Process, Program, Running, Target, TargetOptions, skip, wait_until};
use millstream_types::ErrorCode;

use crate::session::{Session, batch, code, produce_request};

const TOPIC: &str = "queue";
const REQUESTS: usize = 20;
const LIMIT: Duration = Duration::from_secs(30);

/// Makes every flush take longer than the test, until it is killed.
fn hold_flushes(target: &Running) -> Process {
    let log = target.root().join("strace");
    let inject = "inject=fdatasync,syncfs:delay_enter=100000000";
    let arguments =
        ["-f", "-p", &target.pid().unwrap().to_string(), "-e", "trace=fdatasync,syncfs", "-e", inject];
    let strace = Program::new("strace").args(arguments).start(&log).unwrap();
    wait_until("strace to hold the broker", LIMIT, || Ok(strace.output().contains("attached").then_some(())))
        .unwrap();
    strace
}

fn partition_bytes(session: &mut Session) -> usize {
    let described = session.call(4, &DescribeLogDirsRequest { topics: None, ..Default::default() });
    let mut partitions = described.results.iter().flat_map(|dir| &dir.topics).filter(|t| t.name == TOPIC);
    usize::try_from(partitions.next().unwrap().partitions[0].partition_size).unwrap()
}

/// Of one connection that sends `REQUESTS` at once while nothing is flushed: how many records are written, at
/// least `expected`, and how many of them wait behind others by the broker's own count. Then all are answered, in
/// order.
fn begun(queued_max: usize, expected: usize) -> (usize, u64) {
    let target = Target::start(TargetOptions::default().set("queued.max.requests", queued_max)).unwrap();
    let (mut sender, mut other) = (Session::open(&target), Session::open(&target));
    sender.topic(TOPIC, &[]);
    let record = batch(&[[b'x'; 100]]);
    let request =
        encode_request(&produce_request(-1, TOPIC, 0, record.clone()), 9, 7, Some("queue")).unwrap();
    let frame = request.into_iter().collect::<Vec<_>>().concat();
    let mut strace = hold_flushes(&target);
    sender.0.send_bytes(&frame.repeat(REQUESTS)).unwrap();
    wait_until("requests to be begun", LIMIT, || {
        Ok((partition_bytes(&mut other) >= expected * record.len()).then_some(()))
    })
    .unwrap();
    // Whoever has none under way may always begin one; and what had been begun too many would be seen after it.
    let answer = other.produce_version(9, 1, TOPIC, 0, record.clone());
    assert_eq!(code(answer.error_code), ErrorCode::None, "{answer:?}");
    let begun = partition_bytes(&mut other) / record.len() - 1;
    let waiting = target.metric("kafka_network_requestchannel_requestqueuesize").unwrap();
    strace.kill().unwrap();
    let answered: Vec<i64> = (0..REQUESTS)
        .map(|_| {
            let (_, response) = sender.0.receive::<ProduceRequest>(9).unwrap();
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!(code(partition.error_code), ErrorCode::None, "{partition:?}");
            partition.base_offset
        })
        .collect();
    assert!(answered.is_sorted_by(|a, b| a < b), "{answered:?}");
    (begun, waiting)
}

/// Apache Kafka is not asked: it never begins a connection's next request before it has answered the last.
#[test]
fn no_more_requests_wait_behind_others_than_queued_max_requests_allows() {
    if Kind::from_env().unwrap() == Kind::Kafka {
        return;
    }
    if !Program::new("strace").args(["-o", "/dev/null", "true"]).run().is_ok_and(|done| done.status.success())
    {
        skip("queued.max.requests", "strace cannot trace here: conformance/install.sh strace");
        return;
    }
    assert_eq!(begun(500, REQUESTS), (REQUESTS, REQUESTS as u64 - 1), "the limit is far away");
    for queued_max in [1, 5] {
        let expected = (queued_max + 1, queued_max as u64);
        assert_eq!(begun(queued_max, queued_max + 1), expected, "the first and those behind it");
    }
}
