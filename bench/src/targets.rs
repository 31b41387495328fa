//! What was to be reached, and whether it was.

use crate::{
    fleet::Subject::{self, Floor, Kafka, KafkaFlushing, Millstream, MillstreamOs},
    plan::{Along, Codec, Restart, Scenario, Throughput, size},
    samples::{Metric, Samples},
};

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) figure: String,
    pub(crate) goal: String,
    pub(crate) measured: String,
    /// None when it was not measured.
    pub(crate) met: Option<bool>,
}

pub(crate) fn all(samples: &Samples) -> Vec<Target> {
    let scenarios = samples.began.extent.scenarios();
    let judge = Judge { samples, scenarios: &scenarios };
    let mut all = judge.produce_cpu();
    all.extend(judge.consume_cpu());
    all.extend(judge.rates());
    all.extend(judge.latencies());
    all.extend(judge.absolutes());
    all.extend(judge.cold());
    all.extend(judge.growth());
    all
}

#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    /// Whether `a` is further from it than `b`.
    fn is_worse(self, a: f64, b: f64) -> bool {
        match self {
            Self::AtMost(_) => a > b,
            Self::AtLeast(_) => a < b,
        }
    }

    fn show(self, unit: &str) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {}{unit}", number(limit)),
            Self::AtLeast(limit) => format!("≥ {}{unit}", number(limit)),
        }
    }
}

struct Judge<'a> {
    samples: &'a Samples,
    scenarios: &'a [Scenario],
}

impl Judge<'_> {
    fn produce_cpu(&self) -> Vec<Target> {
        let ratio = |figure: &str, goal, subject, select: &dyn Fn(Throughput) -> bool| {
            self.throughput(figure, goal, Metric::ProduceCpu, subject, select)
        };
        let one = |size| move |load: Throughput| load.partitions == 1 && load.size == size;
        let many = |partitions| move |load: Throughput| load.partitions == partitions;
        let coded =
            |partitions, codec| move |load: Throughput| load.partitions == partitions && load.codec == codec;
        vec![
            ratio("CPU, produce 100 B, 1 partition", Goal::AtMost(1.0 / 3.0), Kafka, &one(100)),
            ratio("CPU, produce 1 KiB, 1 partition", Goal::AtMost(0.25), Kafka, &one(1024)),
            ratio("CPU, produce, 12 partitions", Goal::AtMost(0.5), Kafka, &many(12)),
            ratio("CPU, produce, 100 partitions", Goal::AtMost(0.5), Kafka, &many(100)),
            // The floor decompresses nothing.
            ratio("CPU, produce, 12 partitions, none", Goal::AtMost(1.5), Floor, &coded(12, Codec::None)),
            ratio("CPU, produce, 12 partitions, lz4", Goal::AtMost(1.5), Floor, &coded(12, Codec::Lz4)),
            ratio("CPU, produce, 100 partitions, none", Goal::AtMost(1.5), Floor, &coded(100, Codec::None)),
            ratio("CPU, produce, 100 partitions, lz4", Goal::AtMost(1.5), Floor, &coded(100, Codec::Lz4)),
        ]
    }

    fn consume_cpu(&self) -> Vec<Target> {
        [("CPU, consume 100 B", 1.0 / 3.0, 100), ("CPU, consume 1 KiB", 0.6, 1024)]
            .map(|(figure, limit, size)| {
                let select = |load: Throughput| load.size == size;
                self.throughput(figure, Goal::AtMost(limit), Metric::ConsumeCpu, Kafka, &select)
            })
            .into()
    }

    fn rates(&self) -> Vec<Target> {
        let mut all = Vec::new();
        for (verb, metric) in [("produce", Metric::ProducedPerSecond), ("consume", Metric::ConsumedPerSecond)]
        {
            let mut rate = |figure: &str, least, select: &dyn Fn(Throughput) -> bool| {
                let figure = format!("rate, {verb} {figure}");
                all.push(self.throughput(&figure, Goal::AtLeast(least), metric, Kafka, select));
            };
            rate("100 B, 1 partition", 1.3, &|load| load.size == 100 && load.partitions == 1);
            rate("1 KiB, 1 partition", 1.4, &|load| load.size == 1024 && load.partitions == 1);
            rate("12 and 100 partitions", 1.0, &|load| load.partitions > 1);
        }
        all
    }

    fn latencies(&self) -> Vec<Target> {
        let mut all = Vec::new();
        for scenario in self.scenarios.iter().copied() {
            let Scenario::Latency { rate } = scenario else { continue };
            let mut ratio = |part: &str, metric, ours: Subject, theirs, limit| {
                let os = if ours == MillstreamOs { ", durability os" } else { "" };
                let figure = format!("{part} at {rate}/s{os}");
                let found = self.samples.ratio(scenario, metric, [ours, theirs]);
                // It flushes.
                let floors = self.samples.ratio(scenario, metric, [Floor, theirs]);
                let remarks = floors.filter(|_| theirs == KafkaFlushing).map(the_floor).into_iter().collect();
                all.push(against(figure, Goal::AtMost(limit), theirs, found, remarks));
            };
            ratio("p50", Metric::P50Ms, Millstream, KafkaFlushing, 1.0 / 3.0);
            ratio("p99", Metric::P99Ms, Millstream, KafkaFlushing, 1.0);
            ratio("p50", Metric::P50Ms, MillstreamOs, Kafka, 2.0 / 3.0);
            ratio("p99", Metric::P99Ms, MillstreamOs, Kafka, 0.5);
            let p99 = |subject| self.samples.median(scenario, subject, Metric::P99Ms);
            let above = p99(Millstream).zip(p99(Floor)).map(|(ours, floor)| ours - floor);
            all.push(Target {
                figure: format!("p99 at {rate}/s"),
                goal: "≤ floor + 2 ms".to_owned(),
                measured: above.map_or("–".to_owned(), |above| format!("floor {above:+.2} ms")),
                met: above.map(|above| above <= 2.0),
            });
        }
        all
    }

    fn absolutes(&self) -> Vec<Target> {
        let mut all = Vec::new();
        let mut absolute = |figure: String, scenario, metric, limit: f64, unit: &str| {
            // Memory is judged where it was highest.
            let spread = self.samples.spread(scenario, Millstream, metric);
            let value =
                spread.map(|spread| if metric == Metric::RssMib { spread.max } else { spread.median });
            all.push(Target {
                figure,
                goal: Goal::AtMost(limit).show(unit),
                measured: value.map_or("–".to_owned(), |value| format!("{value:.0}{unit}")),
                met: value.map(|value| value <= limit),
            });
        };
        for scenario in self.scenarios.iter().copied() {
            match scenario {
                Scenario::Start => {
                    absolute("start to first ack".into(), scenario, Metric::FirstAckMs, 150.0, " ms");
                    let figure = "start to first record read by a new group".into();
                    absolute(figure, scenario, Metric::FirstReadMs, 400.0, " ms");
                }
                Scenario::Restart(Restart { megabytes, partitions }) => {
                    let limit = if megabytes > 1_000 { 1_500.0 } else { 1_000.0 };
                    let figure = format!("restart, {} in {partitions} partitions", size(megabytes));
                    absolute(figure, scenario, Metric::FirstAckMs, limit, " ms");
                }
                Scenario::MemoryIdle => {
                    absolute("resident memory, idle".into(), scenario, Metric::RssMib, 25.0, " MiB");
                }
                Scenario::MemoryAfter => {
                    absolute(
                        "resident memory, after all runs".into(),
                        scenario,
                        Metric::RssMib,
                        60.0,
                        " MiB",
                    );
                }
                _ => {}
            }
        }
        all
    }

    fn cold(&self) -> Option<Target> {
        let scenario = self.scenarios.iter().copied().find(|s| matches!(s, Scenario::Cold { .. }))?;
        let p99 = |subject, metric| self.samples.median(scenario, subject, metric);
        let ratio = |subject| {
            let (with, without) = (p99(subject, Metric::P99Ms)?, p99(subject, Metric::QuietP99Ms)?);
            Some(with / without)
        };
        let ours = ratio(Millstream);
        Some(Target {
            figure: format!("produce p99 at 1000/s while a consumer reads {scenario}"),
            goal: "≤ 2 × without it".to_owned(),
            measured: measured(ours, ratio(Floor).map(the_floor).into_iter().collect()),
            met: ours.map(|ratio| ratio <= 2.0),
        })
    }

    /// The dearest of the curve over its beginning.
    fn growth(&self) -> Vec<Target> {
        let mut all = Vec::new();
        for (along, what) in [(Along::Partitions, "partitions"), (Along::Connections, "connections")] {
            let dearest = |subject| {
                let curve = self.curve(subject, along);
                let (_, base) = *curve.first()?;
                let (at, highest) = curve.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
                Some((at, highest / base))
            };
            let Some((at, ratio)) = dearest(Millstream) else { continue };
            let mut remarks = vec![format!("at {at}")];
            remarks.extend(dearest(Floor).map(|(at, ratio)| format!("{} at {at}", the_floor(ratio))));
            all.push(Target {
                figure: format!("CPU with more and more {what}"),
                goal: "≤ 1.5 × with one".to_owned(),
                measured: measured(Some(ratio), remarks),
                met: Some(ratio <= 1.5),
            });
        }
        all
    }

    fn curve(&self, subject: Subject, along: Along) -> Vec<(u32, f64)> {
        let points = self.scenarios.iter().filter_map(|scenario| match scenario {
            Scenario::Growth(growth) if growth.along == along => {
                Some((growth.count, self.samples.median(*scenario, subject, Metric::ProduceCpu)?))
            }
            _ => None,
        });
        points.collect()
    }

    /// The worst of the loads selected.
    fn throughput(
        &self,
        figure: &str,
        goal: Goal,
        metric: Metric,
        theirs: Subject,
        select: &dyn Fn(Throughput) -> bool,
    ) -> Target {
        let mut worst: Option<(f64, Throughput)> = None;
        for scenario in self.scenarios.iter().copied() {
            let Scenario::Throughput(load) = scenario else { continue };
            let ratio = self.samples.ratio(scenario, metric, [Millstream, theirs]).filter(|_| select(load));
            if let Some(ratio) = ratio
                && worst.is_none_or(|(other, _)| goal.is_worse(ratio, other))
            {
                worst = Some((ratio, load));
            }
        }
        let mut remarks = Vec::new();
        if let Some((_, load)) = worst {
            remarks.push(load.to_string());
            // The floor's rate is that of frames without pause, which no client sends.
            if theirs != Floor && matches!(metric, Metric::ProduceCpu | Metric::ConsumeCpu) {
                let floors = self.samples.ratio(Scenario::Throughput(load), metric, [Floor, theirs]);
                remarks.extend(floors.map(the_floor));
            }
        }
        against(figure.to_owned(), goal, theirs, worst.map(|(ratio, _)| ratio), remarks)
    }
}

fn against(figure: String, goal: Goal, theirs: Subject, ratio: Option<f64>, remarks: Vec<String>) -> Target {
    let theirs = match theirs {
        Floor => "the floor".to_owned(),
        KafkaFlushing => "Kafka's with flushes".to_owned(),
        other => format!("{other}'s"),
    };
    Target {
        figure,
        goal: goal.show(&format!(" × {theirs}")),
        measured: measured(ratio, remarks),
        met: ratio.map(|ratio| goal.is_met(ratio)),
    }
}

fn measured(ratio: Option<f64>, remarks: Vec<String>) -> String {
    let Some(ratio) = ratio else { return "–".to_owned() };
    let remarks = if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join("; ")) };
    format!("{} ×{remarks}", number(ratio))
}

fn the_floor(ratio: f64) -> String {
    format!("the floor {} ×", number(ratio))
}

/// Thirds as such, others without needless digits.
fn number(value: f64) -> String {
    match value {
        _ if (value - 1.0 / 3.0).abs() < 1e-9 => "1/3".to_owned(),
        _ if (value - 2.0 / 3.0).abs() < 1e-9 => "2/3".to_owned(),
        _ if (0.0..0.005).contains(&value) => "< 0.01".to_owned(),
        _ => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        machine::Machine,
        plan::Extent,
        samples::{Began, Figures, Run},
    };

    fn samples(figures: &[(&str, Subject, Metric, f64)]) -> Samples {
        let path = tempfile::NamedTempFile::new().unwrap();
        let began = Began { extent: Extent::default(), machine: Machine::default(), arguments: Vec::new() };
        let mut samples = Samples::create(path.path(), began).unwrap();
        for (scenario, subject, metric, value) in figures {
            let figures = Figures::from([(*metric, *value)]);
            let scenario = (*scenario).to_owned();
            samples.add(Run { scenario, subject: *subject, round: 1, figures, failure: None }).unwrap();
        }
        samples
    }

    fn found(samples: &Samples, figure: &str) -> (String, Option<bool>) {
        let target = all(samples).into_iter().find(|target| target.figure == figure).unwrap();
        (target.measured, target.met)
    }

    #[test]
    fn of_several_loads_the_worst_is_judged() {
        let (none, lz4) = (
            "throughput 100 B, 1 partition, none, incompressible",
            "throughput 100 B, 1 partition, lz4, JSON",
        );
        let cpu = Metric::ProduceCpu;
        let samples = samples(&[
            (none, Millstream, cpu, 0.1),
            (none, Kafka, cpu, 0.5),
            (lz4, Millstream, cpu, 0.1),
            (lz4, Kafka, cpu, 0.2),
            (lz4, Floor, cpu, 0.05),
        ]);
        let expected = "0.5 × (100 B, 1 partition, lz4, JSON; the floor 0.25 ×)".to_owned();
        assert_eq!(found(&samples, "CPU, produce 100 B, 1 partition"), (expected, Some(false)));
        assert_eq!(found(&samples, "CPU, produce 1 KiB, 1 partition"), ("–".to_owned(), None));
    }

    #[test]
    fn a_curve_is_judged_by_its_dearest_point() {
        let cpu = Metric::ProduceCpu;
        let samples = samples(&[
            ("growth, 1 partition", Millstream, cpu, 1.0),
            ("growth, 10 partitions", Millstream, cpu, 1.7),
            ("growth, 1000 partitions", Millstream, cpu, 1.4),
        ]);
        let expected = ("1.7 × (at 10)".to_owned(), Some(false));
        assert_eq!(found(&samples, "CPU with more and more partitions"), expected);
    }

    #[test]
    fn goals_are_shown_as_they_were_set() {
        assert_eq!(Goal::AtMost(1.0 / 3.0).show(" × Kafka's"), "≤ 1/3 × Kafka's");
        assert_eq!(Goal::AtLeast(1.3).show(""), "≥ 1.3");
        assert_eq!(measured(Some(0.004), Vec::new()), "< 0.01 ×");
    }
}
