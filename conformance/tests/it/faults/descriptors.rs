//! More partitions than the process may have files open: what needs one more fails and says so, what is open goes
//! on, and when there are fewer partitions everything works, without a restart.

use millstream_testkit::{Target, TargetOptions};
use millstream_types::ErrorCode;

use super::{create, delete, partitions_that_take, try_append, wait_until_it_takes};
use crate::{
    mounted::asks_kafka,
    session::{Session, batch},
};

const FILES: i32 = 150;

#[test]
fn too_many_partitions_for_the_open_file_limit_leave_those_that_are_open_alone() {
    if asks_kafka("a want of file descriptors") {
        return;
    }
    let limited = ["sh", "-c", &format!("ulimit -n {FILES}; exec \"$@\""), "sh"];
    let mut target = Target::start(TargetOptions::default().wrapper(limited)).unwrap();
    let mut session = Session::open(&target);
    session.topic("open", &[]);
    session.append("open", 0, batch(&["before"]));
    assert_eq!(create(&mut session, "many", FILES), ErrorCode::None);
    let taking = partitions_that_take(&mut session, "many", FILES, "first");
    assert!(taking > FILES / 4 && taking < FILES, "{taking}");
    assert_eq!(try_append(&mut session, "open", 0, "meanwhile"), ErrorCode::None);
    assert_eq!(session.values("open"), ["before", "meanwhile"]);
    let said = target.output();
    assert!(said.contains("ulimit -n") && !said.contains("is offline"), "{said}");
    // A topic that is created now gets all its logs when the other has gone.
    assert_eq!(create(&mut session, "later", FILES / 3), ErrorCode::None);
    assert!(partitions_that_take(&mut session, "later", FILES / 3, "early") < FILES / 3);
    assert_eq!(delete(&mut session, "many"), ErrorCode::None);
    for partition in 0..FILES / 3 {
        wait_until_it_takes(&mut session, "later", partition, "later");
    }
    target.restart().unwrap();
    let mut session = Session::open(&target);
    assert_eq!(session.values("open"), ["before", "meanwhile"]);
    assert_eq!(session.values("later").last().unwrap(), "later");
}
