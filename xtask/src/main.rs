//! The house's own chores: `cargo xtask` alone lists them.

mod codegen;
mod schema_compare;
mod tidy;

use std::{env, path::PathBuf, process::ExitCode};

const USAGE: &str = "\
usage: cargo xtask CHORE
  codegen    Rust for the messages of xtask/schemas; --check: only see whether it is what is there
  compare-schemas JARS_DIRECTORY
             every difference between xtask/schemas and the schemas in Kafka's jars
  tidy       layers, lengths of files and functions, ARCHITECTURE.md";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // Where cargo runs it now, not where it was built: clones may share a target directory.
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = PathBuf::from(here).join("..");
    let done = match arguments.first().map(String::as_str) {
        Some("codegen") => codegen::run(&root, &arguments[1..]),
        Some("compare-schemas") => schema_compare::run(&root, &arguments[1..]),
        Some("tidy") => tidy::run(&root),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
