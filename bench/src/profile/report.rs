//! `PROFILE.md`, and the flame graphs beside it.

use std::{
    fmt::{Display, Write},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

use super::{
    Profile,
    stacks::{Share, is_allocators, is_kernels, is_own},
};
use crate::machine::Machine;

const ROWS: usize = 12;
const GRAPHS: &str = "profile";

pub(super) fn write(out: &Path, machine: &Machine, seconds: u64, profiles: &[Profile]) -> Result<()> {
    let graphs = out.join(GRAPHS);
    fs::create_dir_all(&graphs).with_context(|| graphs.display().to_string())?;
    for profile in profiles {
        let graph = profile.cpu.flame_graph(&format!("{}: processor time", profile.load))?;
        fs::write(graphs.join(file(&profile.load)), graph)?;
    }
    let text = render(machine, seconds, profiles)?;
    fs::write(out.join("PROFILE.md"), &text)?;
    println!("{text}");
    Ok(())
}

fn file(load: &impl Display) -> String {
    let words: Vec<String> = load
        .to_string()
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    format!("{}.svg", words.join("-"))
}

fn render(machine: &Machine, seconds: u64, profiles: &[Profile]) -> Result<String> {
    let mut text = String::from("# Profile\n\n");
    writeln!(
        text,
        "`make profile`, {seconds} s of each load, {machine}, Millstream {}. What was concluded is in \
         [performance.md](../docs/internals/performance.md).\n",
        machine.millstream()
    )?;
    writeln!(
        text,
        "| load | processor time: kernel | own code | allocator | other libraries | allocations per request | requests |\n\
         |---|---:|---:|---:|---:|---:|---:|"
    )?;
    for Profile { load, cpu, allocations, requests, .. } in profiles {
        let [kernel, own, allocator] = [is_kernels, is_own, is_allocators].map(|of| cpu.part(of));
        let libraries = (1.0 - kernel - own - allocator).max(0.0);
        writeln!(
            text,
            "| [{load}]({GRAPHS}/{}) | {} | {} | {} | {} | {:.1} | {requests:.0} |",
            file(load),
            per_cent(kernel),
            per_cent(own),
            per_cent(allocator),
            per_cent(libraries),
            *allocations as f64 / requests
        )?;
    }
    writeln!(
        text,
        "\nA request is one of the kind that the load is made of: Produce or Fetch. An allocation is one that Rust asks \
         of the allocator, a larger block for an old one included."
    )?;
    for profile in profiles {
        writeln!(text, "\n## {}\n", profile.load)?;
        writeln!(text, "| of {} samples, what ran | |\n|---|---:|", profile.cpu.count())?;
        rows(&mut text, profile.cpu.innermost(), per_cent)?;
        writeln!(
            text,
            "\n| of {} allocations, who asked | per request |\n|---|---:|",
            profile.allocating.count()
        )?;
        let per_request = profile.allocations as f64 / profile.requests;
        rows(&mut text, profile.allocating.innermost_own(), |part| format!("{:.2}", part * per_request))?;
    }
    Ok(text)
}

fn rows(text: &mut String, shares: Vec<Share>, shown: impl Fn(f64) -> String) -> Result<()> {
    for (name, part) in shares.into_iter().take(ROWS) {
        writeln!(text, "| `{name}` | {} |", shown(part))?;
    }
    Ok(())
}

fn per_cent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}
