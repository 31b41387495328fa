//! `millstream bench`: how quickly records are produced and consumed, and how long one takes from end to
//! end. Results can be saved, compared, and held against what was to be reached.

mod consume;
mod end_to_end;
mod payload;
mod produce;
mod progress;
mod report;
mod topic;

use std::{path::PathBuf, str::FromStr};

use anyhow::{Result, anyhow};
use serde_json::Value;

use self::report::Report;
use super::{
    failure::{Failure, usage},
    output::{Answer, OutputArguments, Section, say},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Produce records as quickly as they are taken, or at a rate
    Produce(produce::Arguments),
    /// Consume a topic from its beginning as quickly as it comes
    Consume(consume::Arguments),
    /// Measure how long records take from the producer to a consumer
    #[command(alias = "latency")]
    E2e(end_to_end::Arguments),
    /// List results that were saved
    Ls(ListArguments),
    /// Show a result
    Show(ShowArguments),
    /// Put two results beside each other
    Compare(CompareArguments),
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    match arguments.verb {
        Verb::Produce(arguments) => arguments.connect.clone().run_on_threads(produce::run(arguments)),
        Verb::Consume(arguments) => arguments.connect.clone().run_on_threads(consume::run(arguments)),
        Verb::E2e(arguments) => arguments.connect.clone().run_on_threads(end_to_end::run(arguments)),
        Verb::Ls(arguments) => list(&arguments),
        Verb::Show(arguments) => arguments.output.print(&Report::load(&arguments.name)?.answer()),
        Verb::Compare(arguments) => compare(&arguments),
    }
}

/// What is done with a result.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Result")]
struct ResultArguments {
    /// Keep the result under this name, or in this file
    #[arg(long, value_name = "NAME|FILE")]
    save: Option<String>,
    /// Show it beside an earlier one
    #[arg(long, value_name = "NAME|FILE")]
    compare: Option<String>,
    /// Exit with code 4 if it is less: records a second (100000), or so many times what it is compared with (2x)
    #[arg(long, value_name = "RATE|FACTORx")]
    at_least: Option<Goal>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Goal {
    RecordsPerSecond(f64),
    Times(f64),
}

impl FromStr for Goal {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| {
            let number = text.replace('_', "").parse::<f64>().ok();
            let number = number.filter(|number| number.is_finite() && *number > 0.0);
            number.ok_or_else(|| {
                anyhow!("expected a rate such as 100000 or a factor such as 2x, found {text:?}")
            })
        };
        match text.strip_suffix('x') {
            Some(factor) => number(factor).map(Self::Times),
            None => number(text).map(Self::RecordsPerSecond),
        }
    }
}

impl ResultArguments {
    /// Reads what is compared with before anything is measured.
    fn earlier(&self) -> Result<Option<Report>> {
        if matches!(self.at_least, Some(Goal::Times(_))) && self.compare.is_none() {
            return Err(usage("--at-least: so many times what? Say --compare NAME"));
        }
        self.compare.as_deref().map(Report::load).transpose()
    }

    fn finish(&self, report: &Report, earlier: Option<&Report>) -> Result<()> {
        if let Some(name) = &self.save {
            let path = report.save(name)?;
            say(&format!("saved as {}", path.display()));
        }
        let answer = match earlier {
            Some(earlier) => beside(earlier, report),
            None => report.answer(),
        };
        self.output.print(&answer)?;
        check(self.at_least, report, earlier)
    }
}

fn check(goal: Option<Goal>, report: &Report, earlier: Option<&Report>) -> Result<()> {
    let rate = report.records_per_second;
    let (is_met, text) = match (goal, earlier) {
        (None, _) => return Ok(()),
        (Some(Goal::RecordsPerSecond(least)), _) => {
            (rate >= least, format!("{rate:.0} records/s, {least:.0} were to be reached"))
        }
        (Some(Goal::Times(factor)), Some(earlier)) => {
            let times = rate / earlier.records_per_second.max(f64::MIN_POSITIVE);
            (
                times >= factor,
                format!("{times:.2} times as many records/s, {factor} times were to be reached"),
            )
        }
        (Some(Goal::Times(_)), None) => return Err(usage("--at-least: so many times what?")),
    };
    if !is_met {
        return Err(Failure::CheckFailed(text).into());
    }
    say(&text);
    Ok(())
}

#[derive(clap::Args)]
struct ListArguments {
    #[command(flatten)]
    output: OutputArguments,
}

fn list(arguments: &ListArguments) -> Result<()> {
    let mut section = Section::new("result", &["NAME", "KIND", "WHEN", "RECORDS/S", "MB/S", "P99-MS"]);
    let mut values = Vec::new();
    for (name, report) in Report::saved()? {
        section.row([
            name.clone(),
            report.kind.clone(),
            report.when.clone(),
            format!("{:.0}", report.records_per_second),
            format!("{:.2}", report.megabytes_per_second),
            report.latency_ms.as_ref().map_or("-".to_owned(), |latency| format!("{:.2}", latency.p99)),
        ]);
        let mut value = serde_json::to_value(&report)?;
        value["name"] = Value::from(name);
        values.push(value);
    }
    let mut answer = Answer::new(values, vec![section]);
    if answer.sections[0].is_empty() {
        answer.note = Some("no results; `millstream bench produce --save NAME` keeps one".to_owned());
    }
    arguments.output.print(&answer)
}

#[derive(clap::Args)]
struct ShowArguments {
    /// A result's name, or its file
    name: String,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(clap::Args)]
struct CompareArguments {
    /// The result before
    before: String,
    /// The result after
    after: String,
    /// Exit with code 4 if the second is less: records a second (100000), or so many times the first (2x)
    #[arg(long, value_name = "RATE|FACTORx")]
    at_least: Option<Goal>,
    #[command(flatten)]
    output: OutputArguments,
}

fn compare(arguments: &CompareArguments) -> Result<()> {
    let (before, after) = (Report::load(&arguments.before)?, Report::load(&arguments.after)?);
    arguments.output.print(&beside(&before, &after))?;
    check(arguments.at_least, &after, Some(&before))
}

/// Two results and how many times the second is the first.
fn beside(before: &Report, after: &Report) -> Answer {
    let mut section = Section::new("metric", &["METRIC", "BEFORE", "AFTER", "TIMES"]);
    let mut values = Vec::new();
    let (left, right) = (before.metrics(), after.metrics());
    for (name, after) in right {
        let before = left.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        let times = before.filter(|before| *before > 0.0).map(|before| after / before);
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        section.row([name.to_owned(), number(before), number(Some(after)), number(times)]);
        values.push(serde_json::json!({ "metric": name, "before": before, "after": after, "times": times }));
    }
    let mut answer = Answer::new(values, vec![section]);
    let differ: Vec<String> = before.differences(after);
    if !differ.is_empty() {
        answer.note = Some(format!("they differ in {}", differ.join(", ")));
    }
    answer
}

/// `~/.local/share/millstream/bench`
fn dir() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    let missing = || anyhow!("no place for results: neither HOME nor XDG_DATA_HOME is set");
    Ok(home.ok_or_else(missing)?.join("millstream/bench"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_a_rate_or_a_factor() {
        assert_eq!("100_000".parse::<Goal>().unwrap(), Goal::RecordsPerSecond(100_000.0));
        assert_eq!("2.5x".parse::<Goal>().unwrap(), Goal::Times(2.5));
        for wrong in ["", "x", "-1", "0", "inf", "NaNx", "fast"] {
            assert!(wrong.parse::<Goal>().is_err(), "{wrong}");
        }
    }
}
