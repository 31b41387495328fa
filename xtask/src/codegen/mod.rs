//! `cargo xtask codegen`: from the schema tables to `crates/protocol/src/messages` and
//! `crates/record/src/messages`. Both directories hold nothing else; with `--check` nothing is written and
//! a difference is an error.

mod emit;
mod files;
pub(crate) mod table;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

/// A table file: where it stands below `xtask/schemas`, and what it holds.
pub(crate) struct Table {
    /// `client`, `kraft`, …
    pub(crate) group: String,
    /// `00_produce`
    pub(crate) stem: String,
    pub(crate) messages: Vec<table::Message>,
}

/// Paths from the root of the workspace and their text.
type Files = BTreeMap<PathBuf, String>;

const TARGETS: [&str; 2] = ["crates/protocol/src/messages", "crates/record/src/messages"];

pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("usage: cargo xtask codegen [--check]"),
    };
    let tables = tables(root)?;
    let wanted = formatted(root, &files::all(&tables))?;
    let present = present(root)?;
    let stale: Vec<&PathBuf> = present.keys().filter(|path| !wanted.contains_key(*path)).collect();
    let changed: Vec<&PathBuf> =
        wanted.iter().filter(|(path, text)| present.get(*path) != Some(text)).map(|(path, _)| path).collect();
    if check {
        for path in stale.iter().chain(&changed) {
            eprintln!("codegen: {} is not what the tables say", path.display());
        }
        ensure!(stale.is_empty() && changed.is_empty(), "run `cargo xtask codegen`");
        return Ok(());
    }
    for path in stale {
        fs::remove_file(root.join(path))?;
    }
    for path in &changed {
        let file = root.join(path);
        fs::create_dir_all(file.parent().expect("every file stands in a directory"))?;
        fs::write(&file, &wanted[*path])?;
    }
    let messages: usize = tables.iter().map(|t| t.messages.len()).sum();
    eprintln!("codegen: {messages} messages in {} files, {} changed", wanted.len(), changed.len());
    Ok(())
}

/// All tables, by group and name.
pub(crate) fn tables(root: &Path) -> Result<Vec<Table>> {
    let schemas = root.join("xtask/schemas");
    let mut tables = Vec::new();
    for group in sorted_entries(&schemas)?.into_iter().filter(|path| path.is_dir()) {
        for file in sorted_entries(&group)? {
            let text = fs::read_to_string(&file)?;
            let messages = table::parse(&text).map_err(|e| anyhow!("{}: {e}", file.display()))?;
            tables.push(Table { group: name(&group)?, stem: name(&file)?, messages });
        }
    }
    Ok(tables)
}

fn sorted_entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> Result<String> {
    let stem = path.file_stem().and_then(|s| s.to_str());
    stem.map(str::to_owned).with_context(|| format!("{} has a strange name", path.display()))
}

/// Lays the files out as `cargo fmt` would: in a directory of their own, where rustfmt follows the
/// modules from each `mod.rs` that is not itself a module.
fn formatted(root: &Path, files: &Files) -> Result<Files> {
    let scratch = std::env::temp_dir().join(format!("millstream-codegen-{}", std::process::id()));
    for (path, text) in files {
        let file = scratch.join(path);
        fs::create_dir_all(file.parent().expect("every file stands in a directory"))?;
        fs::write(file, text)?;
    }
    let roots = TARGETS.map(|target| scratch.join(target).join("mod.rs"));
    let config = format!("--config-path={}", root.display());
    let status = Command::new("rustfmt").args(["--edition", "2024"]).arg(config).args(roots).status()?;
    ensure!(status.success(), "rustfmt refused what was generated in {}", scratch.display());
    let formatted = files
        .keys()
        .map(|path| Ok((path.clone(), fs::read_to_string(scratch.join(path))?)))
        .collect::<Result<Files>>()?;
    fs::remove_dir_all(&scratch)?;
    Ok(formatted)
}

fn present(root: &Path) -> Result<Files> {
    let mut found = Files::new();
    let mut directories: Vec<PathBuf> = TARGETS.iter().map(|t| root.join(t)).filter(|d| d.exists()).collect();
    while let Some(directory) = directories.pop() {
        for path in sorted_entries(&directory)? {
            if path.is_dir() {
                directories.push(path);
            } else {
                let relative = path.strip_prefix(root).expect("the path was found below the root");
                found.insert(relative.to_owned(), fs::read_to_string(&path)?);
            }
        }
    }
    Ok(found)
}
