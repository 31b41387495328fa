//! Where things are: the repository, the cache of installed clients, the binary under test.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// The Apache Kafka that answers what is right.
const KAFKA: &str = "kafka-4.3.1";

/// The root of the checkout.
pub fn repository() -> PathBuf {
    // Where cargo runs it now, not where it was built: clones may share a target directory.
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&package).ancestors().find(|path| path.join("crates/testkit").exists());
    root.expect("the package lies in the checkout").to_owned()
}

/// What `conformance/install.sh` fills: `$XDG_CACHE_HOME/millstream`.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(home) = env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(home).join("millstream"));
    }
    let home = env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/millstream"))
}

/// The directory of Apache Kafka's jars; installs them when they are not there.
pub fn kafka_libs() -> Result<PathBuf> {
    let directory = cache_dir()?.join(KAFKA);
    if !directory.join(".complete").exists() {
        let script = repository().join("conformance/install.sh");
        let status =
            Command::new(&script).arg("kafka").status().with_context(|| script.display().to_string())?;
        ensure!(status.success(), "{} kafka: {status}", script.display());
    }
    Ok(directory.join("libs"))
}

/// The `millstream` under test: `MILLSTREAM_BIN`, or the younger of the release and the debug build.
pub fn millstream_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("MILLSTREAM_BIN") {
        return Ok(path.into());
    }
    let target = target_dir()?;
    let built = ["release", "debug"].map(|profile| target.join(profile).join("millstream"));
    let age = |path: &PathBuf| fs::metadata(path).and_then(|m| m.modified()).ok();
    match built.iter().filter(|path| path.exists()).max_by_key(|path| age(path)) {
        Some(path) => Ok(path.clone()),
        None => bail!(
            "no millstream binary in {}: build it with `cargo build -p millstream`, or set MILLSTREAM_BIN",
            target.display()
        ),
    }
}

fn target_dir() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CARGO_TARGET_DIR") {
        return Ok(path.into());
    }
    // A test binary is TARGET/PROFILE/deps/NAME.
    let own = env::current_exe()?;
    let found = own.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    Ok(found.map_or_else(|| repository().join("target"), Path::to_owned))
}
