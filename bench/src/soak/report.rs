//! `SOAK.md` and `soak.svg`.

use std::fmt::{self, Write};

use anyhow::Result;

use super::{HELD, Held, Outcome, Sample};
use crate::chart::nice_above;

const ROWS_MAX: usize = 30;
const WIDTH: f64 = 800.0;
const PANEL_HEIGHT: f64 = 190.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 30.0;
const PLOT_WIDTH: f64 = WIDTH - LEFT - 20.0;
const PLOT_HEIGHT: f64 = PANEL_HEIGHT - TOP - 30.0;

pub(super) fn line(sample: &Sample) -> String {
    format!(
        "{} s: {:.1} MiB, {} descriptors, {} threads",
        sample.at.as_secs(),
        sample.rss_mib,
        sample.descriptors,
        sample.threads
    )
}

pub(super) fn render(outcome: &Outcome) -> Result<String> {
    let mut text = String::from("# Soak\n\n");
    let machine = &outcome.machine;
    writeln!(
        text,
        "`make soak`, {} minutes, {}, on {}, {:.0} GiB, kernel {}, commit {}. What is done and how it is judged is in \
         `bench/src/soak`.\n\n![resident memory, descriptors and threads over time](soak.svg)\n",
        outcome.duration.as_secs() / 60,
        machine.date,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        machine.commit
    )?;
    writeln!(text, "| median | second quarter | last quarter | may be | |\n|---|---|---|---|---|")?;
    for held in HELD {
        let growth = held.growth(&outcome.samples)?;
        let verdict = if growth.is_too_much() { "**grew**" } else { "steady" };
        writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.1} | {verdict} |",
            held.name, growth.second_quarter, growth.last_quarter, growth.limit
        )?;
    }
    writeln!(text, "\n| done meanwhile | |\n|---|---|")?;
    for (what, count) in &outcome.done {
        writeln!(text, "| {what} | {count} |")?;
    }
    match outcome.failures.as_slice() {
        [] => writeln!(text, "\nNothing went wrong.")?,
        failures => {
            writeln!(text, "\nWent wrong:\n")?;
            failures.iter().try_for_each(|failure| writeln!(text, "- {failure}"))?;
        }
    }
    writeln!(text, "\n| s | resident MiB | descriptors | threads |\n|---|---|---|---|")?;
    for sample in outcome.samples.iter().step_by(outcome.samples.len().div_ceil(ROWS_MAX).max(1)) {
        let Sample { at, rss_mib, descriptors, threads } = sample;
        writeln!(text, "| {} | {rss_mib:.1} | {descriptors} | {threads} |", at.as_secs())?;
    }
    Ok(text)
}

pub(super) fn plot(samples: &[Sample]) -> Result<String, fmt::Error> {
    let height = PANEL_HEIGHT * HELD.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (index, held) in HELD.iter().enumerate() {
        panel(&mut svg, PANEL_HEIGHT * index as f64, held, samples)?;
    }
    Ok(svg + "</svg>\n")
}

fn panel(svg: &mut String, offset: f64, held: &Held, samples: &[Sample]) -> fmt::Result {
    let (top, bottom) = (offset + TOP, offset + TOP + PLOT_HEIGHT);
    let most = nice_above(samples.iter().map(held.of).fold(0.0, f64::max));
    let end = samples.last().map_or(1.0, |last| last.at.as_secs_f64());
    let x = |seconds: f64| LEFT + PLOT_WIDTH * seconds / end;
    let y = |value: f64| bottom - PLOT_HEIGHT * value / most;
    writeln!(svg, "<text x=\"10\" y=\"{}\">{}</text>", top - 10.0, held.name)?;
    for step in 0..=4 {
        let value = most * f64::from(step) / 4.0;
        let (at, right, text) = (y(value), LEFT + PLOT_WIDTH, LEFT - 6.0);
        writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>")?;
        writeln!(svg, "<text x=\"{text}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>", at + 4.0)?;
        let (minutes, below) = (end / 60.0 * f64::from(step) / 4.0, bottom + 18.0);
        let at = LEFT + PLOT_WIDTH * f64::from(step) / 4.0;
        writeln!(svg, "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{minutes:.1} min</text>")?;
    }
    let point = |sample: &Sample| format!("{:.1},{:.1}", x(sample.at.as_secs_f64()), y((held.of)(sample)));
    let path = samples.iter().map(point).collect::<Vec<_>>().join(" ");
    writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"#0b6e99\" stroke-width=\"2\"/>")
}
