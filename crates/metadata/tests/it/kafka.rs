//! Kafka's own tools, run on files that were written here. They need a JDK and Kafka's jars: in
//! `$MILLSTREAM_KAFKA_LIBS`, or where the project keeps them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The class path, or `None`, said aloud, where a JDK or the jars are missing. With `CI=true` that is a
/// failure.
pub(crate) fn class_path() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let places = [
        std::env::var_os("MILLSTREAM_KAFKA_LIBS").map(PathBuf::from),
        Some(home.join(".cache/millstream/kafka-4.3.1/libs")),
        Some(home.join(".cache/millstream-peers/kafka-4.3.1")),
    ];
    let has_jars = |dir: &PathBuf| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("kafka-")).count() > 0
    };
    let jars = places.into_iter().flatten().find(has_jars);
    let java = Command::new("java").arg("-version").output().is_ok();
    if java && let Some(jars) = jars {
        return Some(jars.join("*"));
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a JDK and Kafka's jars are needed");
    println!("skipped: a JDK and Kafka's jars are needed");
    None
}

/// What a class of Kafka's prints, if it succeeds.
pub(crate) fn run(class_path: &Path, class: &str, arguments: &[&str]) -> String {
    let output = Command::new("java")
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(class_path)
        .arg(class)
        .args(arguments)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class} {arguments:?}\n{printed}\n{complained}");
    printed
}
