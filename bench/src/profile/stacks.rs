//! Sampled stacks, folded: a line for each that differs, `outermost;...;innermost count`.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use inferno::{
    collapse::{Collapse, perf},
    flamegraph,
};

/// How inferno marks a frame of the kernel's.
const KERNEL: &str = "_[k]";
/// How the allocator's functions begin.
const ALLOCATOR: [&str; 2] = ["mi_", "_mi_"];
/// How the names of our own crates begin.
const OWN: &str = "millstream_";
/// Narrower parts of a flame graph are left out, in per cent.
const WIDTH_MIN: f64 = 0.3;

pub(super) struct Stacks {
    folded: String,
}

/// A name, and its part of the whole.
pub(super) type Share = (String, f64);

impl Stacks {
    /// From what `perf script` printed.
    pub(super) fn of(script: &[u8]) -> Result<Self> {
        let mut options = perf::Options::default();
        options.annotate_kernel = true;
        let mut folded = Vec::new();
        perf::Folder::from(options).collapse(script, &mut folded)?;
        let stacks = Self { folded: String::from_utf8(folded)? };
        ensure!(stacks.count() > 0, "perf took no sample");
        Ok(stacks)
    }

    pub(super) fn count(&self) -> u64 {
        self.each().map(|(_, count)| count).sum()
    }

    /// What ran, whoever called it; the largest first.
    pub(super) fn innermost(&self) -> Vec<Share> {
        self.shares(|stack| stack.rsplit(';').next().unwrap_or(stack).to_owned())
    }

    /// The innermost function of our own crates.
    pub(super) fn innermost_own(&self) -> Vec<Share> {
        self.shares(|stack| {
            stack.rsplit(';').find(|frame| is_own(frame)).unwrap_or("none of ours").to_owned()
        })
    }

    pub(super) fn part(&self, innermost: fn(&str) -> bool) -> f64 {
        self.innermost().iter().filter(|(name, _)| innermost(name)).fold(0.0, |sum, (_, part)| sum + part)
    }

    pub(super) fn flame_graph(&self, title: &str) -> Result<Vec<u8>> {
        let mut options = flamegraph::Options::default();
        options.title = title.to_owned();
        options.min_width = WIDTH_MIN;
        options.deterministic = true;
        // It is under another licence than what is kept here.
        options.no_javascript = true;
        let mut svg = Vec::new();
        flamegraph::from_lines(&mut options, self.folded.lines(), &mut svg).context("the flame graph")?;
        Ok(svg)
    }

    fn shares(&self, name: impl Fn(&str) -> String) -> Vec<Share> {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for (stack, count) in self.each() {
            *counts.entry(name(stack)).or_default() += count;
        }
        let all = self.count() as f64;
        let mut shares: Vec<Share> =
            counts.into_iter().map(|(name, count)| (name, count as f64 / all)).collect();
        shares.sort_by(|(a, a_part), (b, b_part)| b_part.total_cmp(a_part).then_with(|| a.cmp(b)));
        shares
    }

    fn each(&self) -> impl Iterator<Item = (&str, u64)> {
        self.folded.lines().filter_map(|line| {
            let (stack, count) = line.rsplit_once(' ')?;
            Some((stack, count.parse().ok()?))
        })
    }
}

pub(super) fn is_kernels(frame: &str) -> bool {
    frame.ends_with(KERNEL)
}

pub(super) fn is_allocators(frame: &str) -> bool {
    ALLOCATOR.iter().any(|begin| frame.starts_with(begin))
}

pub(super) fn is_own(frame: &str) -> bool {
    frame.trim_start_matches(['<', '&']).starts_with(OWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
worker 7 1.000001: 1 cpu-clock:ppp:
\tffffffff81000130 copy_in+0x76 ([kernel.kallsyms])
\t          107228f write+0x6f (/usr/lib/libc.so.6)
\t          107228f millstream_log::log::append+0x6f (/millstream)
\t          1057ef6 start_thread+0x36 (/usr/lib/libc.so.6)

worker 7 1.000002: 1 cpu-clock:ppp:
\t          107228f mi_malloc+0x6f (/millstream)
\t          107228f <millstream_log::Log as core::ops::Drop>::drop+0x6f (/millstream)
\t          1057ef6 start_thread+0x36 (/usr/lib/libc.so.6)

";

    #[test]
    fn a_sample_counts_for_what_ran_and_for_who_called_it() {
        let stacks = Stacks::of(SCRIPT.as_bytes()).unwrap();
        assert_eq!(stacks.count(), 2);
        assert_eq!(stacks.innermost(), [("copy_in_[k]".to_owned(), 0.5), ("mi_malloc".to_owned(), 0.5)]);
        let own = ["<millstream_log::Log as core::ops::Drop>::drop", "millstream_log::log::append"];
        assert_eq!(stacks.innermost_own(), own.map(|name| (name.to_owned(), 0.5)));
        assert_eq!([is_kernels, is_allocators, is_own].map(|of| stacks.part(of)), [0.5, 0.5, 0.0]);
        let svg = String::from_utf8(stacks.flame_graph("two").unwrap()).unwrap();
        assert!(svg.contains("millstream_log::log::append") && svg.contains("two"));
    }

    #[test]
    fn no_sample_is_an_error() {
        assert!(Stacks::of(b"").is_err());
    }
}
