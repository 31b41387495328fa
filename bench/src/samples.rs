//! What was measured, in memory and in a file. Each run adds a line to the file (JSON), so that a benchmark
//! that is cut off can be rendered, and resumed where it stopped.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    fleet::Subject,
    machine::Machine,
    plan::{Extent, Scenario},
};

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    ProducedPerSecond,
    /// Seconds of the broker's processor time for a million records produced.
    ProduceCpu,
    ConsumedPerSecond,
    /// Seconds of the broker's processor time for a million records consumed.
    ConsumeCpu,
    /// What a record takes in the log.
    RecordBytes,
    /// The mean of the batches in the log, which are those that the client sent.
    BatchBytes,
    P50Ms,
    P99Ms,
    P999Ms,
    /// While nobody reads cold data.
    QuietP50Ms,
    QuietP99Ms,
    ReadMibPerSecond,
    /// From the start of the process to the first acknowledgement.
    FirstAckMs,
    /// From the start of the process to the first record read by a new consumer group.
    FirstReadMs,
    RssMib,
}

pub(crate) type Figures = BTreeMap<Metric, f64>;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Began {
    pub(crate) extent: Extent,
    pub(crate) machine: Machine,
    pub(crate) arguments: Vec<String>,
}

/// One run of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) scenario: String,
    pub(crate) subject: Subject,
    pub(crate) round: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) figures: Figures,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Began(Began),
    Resumed(Machine),
    Run(Run),
}

/// Where it went on after it was cut off, and how many runs there were by then.
#[derive(Clone, Debug)]
pub(crate) struct Resumed {
    pub(crate) runs: usize,
    pub(crate) machine: Machine,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

pub(crate) struct Samples {
    pub(crate) began: Began,
    pub(crate) resumed: Vec<Resumed>,
    runs: Vec<Run>,
    file: File,
}

impl Samples {
    /// A new file; one that was there is kept under another name.
    pub(crate) fn create(path: &Path, began: Began) -> Result<Self> {
        if path.exists() {
            fs::rename(path, path.with_extension("previous.jsonl"))?;
        }
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut samples = Self { began: began.clone(), resumed: Vec::new(), runs: Vec::new(), file };
        samples.write(&Line::Began(began))?;
        Ok(samples)
    }

    /// What a file holds; later runs are added to it. A last line that was cut off is taken away.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let file = File::options().append(true).open(path)?;
        file.set_len(whole as u64)?;
        let (mut began, mut resumed, mut runs) = (None, Vec::new(), Vec::new());
        for (index, line) in text[..whole].lines().enumerate() {
            let place = || format!("{}, line {}", path.display(), index + 1);
            match serde_json::from_str(line).with_context(place)? {
                Line::Began(line) => began = Some(line),
                Line::Resumed(machine) => resumed.push(Resumed { runs: runs.len(), machine }),
                Line::Run(run) => runs.push(run),
            }
        }
        let began = began.with_context(|| format!("{} does not say how it began", path.display()))?;
        Ok(Self { began, resumed, runs, file })
    }

    /// Says where it goes on, which may be another machine.
    pub(crate) fn resume(&mut self, machine: Machine) -> Result<()> {
        self.resumed.push(Resumed { runs: self.runs.len(), machine: machine.clone() });
        self.write(&Line::Resumed(machine))
    }

    pub(crate) fn add(&mut self, run: Run) -> Result<()> {
        self.runs.push(run.clone());
        self.write(&Line::Run(run))
    }

    /// Whether this run came to its end, now or before the benchmark was cut off.
    pub(crate) fn has(&self, scenario: Scenario, subject: Subject, round: u32) -> bool {
        self.of(scenario, subject).any(|run| run.round == round)
    }

    /// How many runs were made, of how many that were to be.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let planned: Vec<_> = self.began.extent.runs().collect();
        let done = planned.iter().filter(|(round, scenario, subject)| self.has(*scenario, *subject, *round));
        (done.count(), planned.len())
    }

    /// The runs that failed and did not succeed later.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &Run> {
        let later = |failed: &Run| {
            let same = |run: &Run| {
                (&run.scenario, run.subject, run.round) == (&failed.scenario, failed.subject, failed.round)
            };
            self.runs.iter().any(|run| run.failure.is_none() && same(run))
        };
        self.runs.iter().filter(move |run| run.failure.is_some() && !later(run))
    }

    pub(crate) fn spread(&self, scenario: Scenario, subject: Subject, metric: Metric) -> Option<Spread> {
        spread(self.of(scenario, subject).filter_map(|run| run.figures.get(&metric).copied()).collect())
    }

    pub(crate) fn median(&self, scenario: Scenario, subject: Subject, metric: Metric) -> Option<f64> {
        Some(self.spread(scenario, subject, metric)?.median)
    }

    /// One subject's figure over another's, the median of the rounds that have both: what the machine did in a
    /// round, or which machine it was, met both alike.
    pub(crate) fn ratio(
        &self,
        scenario: Scenario,
        metric: Metric,
        [ours, theirs]: [Subject; 2],
    ) -> Option<f64> {
        let by_round = |subject| -> BTreeMap<u32, f64> {
            self.of(scenario, subject)
                .filter_map(|run| Some((run.round, *run.figures.get(&metric)?)))
                .collect()
        };
        let theirs = by_round(theirs);
        let ratio =
            |(round, ours)| theirs.get(&round).filter(|theirs| **theirs > 0.0).map(|theirs| ours / theirs);
        Some(spread(by_round(ours).into_iter().filter_map(ratio).collect())?.median)
    }

    /// The last one measured.
    pub(crate) fn last(&self, scenario: Scenario, subject: Subject, metric: Metric) -> Option<f64> {
        self.of(scenario, subject).filter_map(|run| run.figures.get(&metric).copied()).last()
    }

    fn of(&self, scenario: Scenario, subject: Subject) -> impl Iterator<Item = &Run> {
        let name = scenario.to_string();
        self.runs
            .iter()
            .filter(move |run| run.failure.is_none() && run.subject == subject && run.scenario == name)
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        Ok(self.file.write_all(&bytes)?)
    }
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    };
    Some(Spread { median, min, max })
}

/// The value below which this part of them lies, in milliseconds; sorts them.
pub(crate) fn percentile(micros: &mut [u32], part: f64) -> f64 {
    if micros.is_empty() {
        return f64::NAN;
    }
    micros.sort_unstable();
    let index = ((micros.len() - 1) as f64 * part).round() as usize;
    f64::from(micros[index]) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Scenario = Scenario::Start;

    fn began() -> Began {
        Began { extent: Extent::default(), machine: Machine::default(), arguments: Vec::new() }
    }

    fn run(subject: Subject, round: u32, value: f64) -> Run {
        let figures = Figures::from([(Metric::FirstAckMs, value)]);
        Run { scenario: START.to_string(), subject, round, figures, failure: None }
    }

    fn failed(subject: Subject, round: u32) -> Run {
        Run { figures: Figures::new(), failure: Some("why".to_owned()), ..run(subject, round, 0.0) }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(spread(vec![]), None);
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(spread(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
    }

    #[test]
    fn percentiles_are_of_the_sorted_values_in_milliseconds() {
        let mut micros: Vec<u32> = (1..=1001).rev().map(|n| n * 1000).collect();
        assert_eq!(percentile(&mut micros, 0.5), 501.0);
        assert_eq!(percentile(&mut micros, 0.99), 991.0);
        assert_eq!(percentile(&mut micros, 1.0), 1001.0);
        assert!(percentile(&mut [], 0.5).is_nan());
    }

    #[test]
    fn what_was_measured_before_a_cut_is_there_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.jsonl");
        let mut samples = Samples::create(&path, began()).unwrap();
        samples.add(run(Subject::Kafka, 1, 5.0)).unwrap();
        samples.file.write_all(b"{\"run\":{\"scena").unwrap();

        let mut samples = Samples::open(&path).unwrap();
        assert!(samples.has(START, Subject::Kafka, 1));
        assert!(!samples.has(START, Subject::Kafka, 2));
        samples.resume(Machine { kernel: "another".to_owned(), ..Machine::default() }).unwrap();
        samples.add(run(Subject::Kafka, 2, 7.0)).unwrap();
        let samples = Samples::open(&path).unwrap();
        assert_eq!(samples.median(START, Subject::Kafka, Metric::FirstAckMs), Some(6.0));
        assert_eq!(samples.last(START, Subject::Kafka, Metric::FirstAckMs), Some(7.0));
        let resumed: Vec<_> =
            samples.resumed.iter().map(|at| (at.runs, at.machine.kernel.as_str())).collect();
        assert_eq!(resumed, [(1, "another")]);
    }

    #[test]
    fn a_failure_is_reported_until_the_run_succeeds() {
        let directory = tempfile::tempdir().unwrap();
        let mut samples = Samples::create(&directory.path().join("results"), began()).unwrap();
        samples.add(failed(Subject::Kafka, 1)).unwrap();
        assert!(!samples.has(START, Subject::Kafka, 1));
        assert_eq!(samples.failures().count(), 1);
        samples.add(run(Subject::Kafka, 1, 5.0)).unwrap();
        assert_eq!(samples.failures().count(), 0);
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_that_have_both() {
        let directory = tempfile::tempdir().unwrap();
        let mut samples = Samples::create(&directory.path().join("results"), began()).unwrap();
        let both = [Subject::Millstream, Subject::Kafka];
        samples.add(run(Subject::Millstream, 1, 3.0)).unwrap();
        assert_eq!(samples.ratio(START, Metric::FirstAckMs, both), None);
        samples.add(run(Subject::Kafka, 1, 2.0)).unwrap();
        assert_eq!(samples.ratio(START, Metric::FirstAckMs, both), Some(1.5));
        samples.add(run(Subject::Kafka, 2, 10.0)).unwrap();
        assert_eq!(samples.ratio(START, Metric::FirstAckMs, both), Some(1.5));
        samples.add(run(Subject::Millstream, 2, 5.0)).unwrap();
        assert_eq!(samples.ratio(START, Metric::FirstAckMs, both), Some(1.0));
    }
}
