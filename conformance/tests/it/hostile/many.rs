//! More connections than anybody needs.

use millstream_protocol::messages::ApiVersionsRequest;
use millstream_testkit::{Connection, TargetOptions};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::{Siege, scaled};

/// With those of the tests that run beside this one.
const OTHER_FILES: u64 = 2_000;

#[test]
fn ten_thousand_connections_are_served_and_cost_little() {
    let count = scaled(1_000);
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let possible = limit.maximum.unwrap_or(u64::MAX);
    assert!(count as u64 + OTHER_FILES <= possible, "{count} connections need more than {possible} files");

    let siege = Siege::begin("many connections", TargetOptions::default());
    let mut connections = siege.attack(|target| {
        let open = |_| {
            let mut connection = Connection::open(target.bootstrap()).unwrap();
            connection.call(0, &ApiVersionsRequest::default()).unwrap();
            connection
        };
        (0..count).map(open).collect::<Vec<_>>()
    });
    for connection in &mut connections {
        assert_eq!(connection.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
    }
}
