//! `cargo xtask tidy`: the rules of the house that a compiler does not check. Layers
//! (`xtask/layers.toml`), lengths of files and functions (`xtask/exceptions.toml` may only shrink),
//! and that ARCHITECTURE.md names every crate.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const PREFIX: &str = "millstream-";

pub(crate) fn run(root: &Path) -> Result<()> {
    let mut complaints = Vec::new();
    let crates = crates(root)?;
    check_layers(root, &crates, &mut complaints)?;
    check_lengths(root, &mut complaints)?;
    check_architecture(root, &crates, &mut complaints)?;
    if complaints.is_empty() {
        eprintln!("tidy: {} crates, nothing to complain of", crates.len());
        return Ok(());
    }
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    bail!("{} complaint(s)", complaints.len())
}

struct Crate {
    /// Without the `millstream-` in front.
    name: String,
    dependencies: Vec<String>,
    dev_dependencies: Vec<String>,
}

fn crates(root: &Path) -> Result<Vec<Crate>> {
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> =
        fs::read_dir(root.join("crates"))?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    directories.push(root.join("conformance"));
    for directory in directories {
        let manifest = directory.join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        let value: toml::Table = text.parse().with_context(|| manifest.display().to_string())?;
        let package = value["package"]["name"].as_str().unwrap_or_default();
        let keys = |section: &str| {
            let table = value.get(section).and_then(|s| s.as_table());
            table.map(|t| t.keys().cloned().collect()).unwrap_or_default()
        };
        found.push(Crate {
            name: package.trim_start_matches(PREFIX).to_owned(),
            dependencies: keys("dependencies"),
            dev_dependencies: keys("dev-dependencies"),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

#[derive(Deserialize)]
struct Layers {
    dev: BTreeMap<String, Vec<String>>,
    #[serde(rename = "no-tokio")]
    no_tokio: BTreeMap<String, Vec<String>>,
    #[serde(rename = "unsafe")]
    with_unsafe: BTreeMap<String, Vec<String>>,
    #[serde(flatten)]
    edges: BTreeMap<String, Vec<String>>,
}

fn check_layers(root: &Path, crates: &[Crate], complaints: &mut Vec<String>) -> Result<()> {
    let layers: Layers = toml::from_str(&fs::read_to_string(root.join("xtask/layers.toml"))?)?;
    for krate in crates {
        let Some(allowed) = layers.edges.get(&krate.name) else {
            complaints.push(format!("crate {} is not in xtask/layers.toml", krate.name));
            continue;
        };
        let ours = |name: &String| name.strip_prefix(PREFIX).map(str::to_owned);
        for dependency in krate.dependencies.iter().filter_map(ours) {
            if !allowed.contains(&dependency) {
                complaints.push(format!("{} may not depend on {dependency} (xtask/layers.toml)", krate.name));
            }
        }
        let everywhere = &layers.dev["any"];
        for dependency in krate.dev_dependencies.iter().filter_map(ours) {
            if !allowed.contains(&dependency) && !everywhere.contains(&dependency) {
                complaints.push(format!("{} may not dev-depend on {dependency}", krate.name));
            }
        }
        let async_free = layers.no_tokio["crates"].contains(&krate.name);
        if async_free && krate.dependencies.iter().any(|d| d.starts_with("tokio")) {
            complaints.push(format!("{} must build without tokio", krate.name));
        }
    }
    check_unsafe(root, &layers.with_unsafe["allowed"], complaints)
}

/// `unsafe_code` is denied for the whole workspace; only the crates named may lift it.
fn check_unsafe(root: &Path, allowed: &[String], complaints: &mut Vec<String>) -> Result<()> {
    for file in rust_files(root)? {
        let path = relative(root, &file);
        let text = fs::read_to_string(&file)?;
        let lifts = text.contains(concat!("expect(", "unsafe_code"))
            || text.contains(concat!("allow(", "unsafe_code"));
        if lifts && !allowed.iter().any(|directory| path.starts_with(&format!("{directory}/"))) {
            complaints.push(format!(
                "{path} lifts the ban on unsafe, but its directory is not in [unsafe] (xtask/layers.toml)"
            ));
        }
    }
    Ok(())
}

#[derive(Deserialize, Default)]
struct Exceptions {
    files: BTreeMap<String, usize>,
    functions: BTreeMap<String, usize>,
}

fn check_lengths(root: &Path, complaints: &mut Vec<String>) -> Result<()> {
    let mut exceptions: Exceptions =
        toml::from_str(&fs::read_to_string(root.join("xtask/exceptions.toml"))?)?;
    for file in rust_files(root)? {
        let text = fs::read_to_string(&file)?;
        if text.starts_with("// @generated") {
            continue;
        }
        let path = relative(root, &file);
        let lines = text.lines().count();
        judge(&path, lines, FILE_LINES_MAX, &mut exceptions.files, complaints);
        for (name, lines) in functions(&text) {
            judge(
                &format!("{path}::{name}"),
                lines,
                FUNCTION_LINES_MAX,
                &mut exceptions.functions,
                complaints,
            );
        }
    }
    for stale in exceptions.files.keys().chain(exceptions.functions.keys()) {
        complaints.push(format!("{stale} is within the limits: take it out of xtask/exceptions.toml"));
    }
    Ok(())
}

fn judge(what: &str, lines: usize, limit: usize, known: &mut BTreeMap<String, usize>, out: &mut Vec<String>) {
    if lines <= limit {
        return;
    }
    match known.remove(what) {
        Some(listed) if listed == lines => {}
        Some(listed) if lines < listed => {
            out.push(format!("{what} shrank to {lines} lines: write that into xtask/exceptions.toml"));
        }
        _ => out.push(format!("{what} has {lines} lines, more than {limit}")),
    }
}

/// Names and lengths of the functions of a rustfmt'ed file: from the line with `fn name` to the line
/// that closes its body at the same indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[index..].iter().position(|l| {
            *l == closing || (l.trim_end().ends_with(';') && l.len() - l.trim_start().len() == indent)
        });
        found.push((name, end.map_or(1, |e| e + 1)));
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.trim_start();
    for modifier in ["pub(crate) ", "pub(super) ", "pub ", "async ", "const ", "unsafe "] {
        words = words.strip_prefix(modifier).unwrap_or(words);
    }
    let rest = words.strip_prefix("fn ")?;
    let one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!one_line && !name.is_empty()).then_some(name)
}

fn check_architecture(root: &Path, crates: &[Crate], complaints: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    for krate in crates {
        if !text.contains(&format!("`{}`", krate.name)) {
            complaints.push(format!("ARCHITECTURE.md does not name the crate `{}`", krate.name));
        }
    }
    Ok(())
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = ["crates", "xtask", "conformance", "bench", "fuzz"].map(|d| root.join(d)).to_vec();
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_length_ends_at_its_own_brace() {
        let text = "fn a() {\n    if x {\n    }\n}\n\nimpl B {\n    pub async fn b(\n        x: u8,\n    ) {\n        y();\n    }\n\n    fn c() {}\n}\n";
        assert_eq!(functions(text), [("a".to_owned(), 4), ("b".to_owned(), 5)]);
    }

    #[test]
    fn a_long_function_is_refused_unless_listed_at_its_length() {
        let mut complaints = Vec::new();
        let mut known = BTreeMap::from([("f".to_owned(), 80)]);
        judge("f", 80, 70, &mut known, &mut complaints);
        assert!(complaints.is_empty() && known.is_empty());
        judge("g", 71, 70, &mut known, &mut complaints);
        assert_eq!(complaints.len(), 1);
    }
}
