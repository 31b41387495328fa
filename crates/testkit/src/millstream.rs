//! Starting Millstream, as a user does: `millstream up` in an empty directory.

use std::fs;

use anyhow::{Context, Result};

use crate::{
    paths::millstream_binary,
    process::Process,
    target::{Place, Ready},
};

pub(crate) fn spawn(place: &Place) -> Result<Process> {
    let binary = millstream_binary()?;
    let ready_file = place.root.join("ready.json");
    // What an earlier start said would be taken for this one's.
    drop(fs::remove_file(&ready_file));
    let mut program = place
        .wrapped(&binary.display().to_string())
        .args(["up", "--data"])
        .arg(place.data_dir().display().to_string())
        .arg("--listen")
        .arg(format!("PLAINTEXT://127.0.0.1:{}", place.port))
        .args(["--console-port", "0", "--ready-file"])
        .arg(ready_file.display().to_string());
    for (key, value) in &place.options.settings {
        program = program.arg("--set").arg(format!("{key}={value}"));
    }
    program.args(place.options.arguments.clone()).start(&place.output_file())
}

/// The ready file appears whole: Millstream writes it beside and renames it.
pub(crate) fn ready(place: &Place) -> Result<Option<Ready>> {
    let Ok(text) = fs::read_to_string(place.root.join("ready.json")) else {
        return Ok(None);
    };
    let line: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("ready file: {text:?}"))?;
    let bootstrap =
        line["bootstrap"].as_str().with_context(|| format!("ready file without bootstrap: {text}"))?;
    Ok(Some(Ready { bootstrap: bootstrap.to_owned(), line: line.clone() }))
}
