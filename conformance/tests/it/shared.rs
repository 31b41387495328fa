//! A target that tests share while their settings allow it: each uses topics and groups of its own name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use millstream_testkit::{Running, Target, TargetOptions};

/// The running target with these settings, started when none of the tests at work holds one. The last
/// holder takes it down.
pub(crate) fn shared(settings: &[(&str, &str)]) -> Arc<Running> {
    static RUNNING: Mutex<Option<HashMap<String, Weak<Running>>>> = Mutex::new(None);
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let known = running.get_or_insert_default().entry(format!("{settings:?}")).or_default();
    if let Some(target) = known.upgrade() {
        return target;
    }
    let options = settings.iter().fold(TargetOptions::default(), |o, (key, value)| o.set(key, value));
    let target = Arc::new(Target::start(options).unwrap());
    *known = Arc::downgrade(&target);
    target
}

/// The one with default settings.
pub(crate) fn broker() -> Arc<Running> {
    shared(&[])
}
