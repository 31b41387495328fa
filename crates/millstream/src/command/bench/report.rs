//! What was measured, as it is shown and kept.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::dir;
use crate::command::{
    failure::{Failure, usage},
    output::{Answer, Section},
    time,
};

const MEGABYTE: f64 = 1024.0 * 1024.0;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// `produce`, `consume`, `e2e`
    pub(super) kind: String,
    pub(super) when: String,
    pub(super) topic: String,
    /// What the run was asked to do: `acks`, `compression`, …
    pub(super) settings: BTreeMap<String, String>,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) records_per_second: f64,
    pub(super) megabytes_per_second: f64,
    /// From handing a record over, or its turn by the rate, until it was acknowledged; until it was consumed,
    /// of `e2e`.
    pub(super) latency_ms: Option<Latency>,
    /// Of `e2e`, until it was acknowledged.
    #[serde(default)]
    pub(super) acknowledged_ms: Option<Latency>,
    /// Records in each second of the run.
    #[serde(default)]
    pub(super) per_second: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// Microseconds, to three digits, up to an hour.
pub(super) fn histogram() -> Histogram<u64> {
    const HOUR_US: u64 = 3_600_000_000;
    Histogram::new_with_bounds(1, HOUR_US, 3).expect("these bounds are allowed")
}

pub(super) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let ms = |part: f64| histogram.value_at_quantile(part) as f64 / 1000.0;
        (!histogram.is_empty()).then(|| Self {
            mean: histogram.mean() / 1000.0,
            p50: ms(0.5),
            p95: ms(0.95),
            p99: ms(0.99),
            p999: ms(0.999),
            max: histogram.max() as f64 / 1000.0,
        })
    }

    fn parts(&self) -> [(&'static str, f64); 6] {
        [
            ("mean", self.mean),
            ("p50", self.p50),
            ("p95", self.p95),
            ("p99", self.p99),
            ("p99.9", self.p999),
            ("max", self.max),
        ]
    }
}

/// How much in which time.
pub(super) struct Volume {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    pub(super) per_second: Vec<u64>,
}

impl Report {
    pub(super) fn new(kind: &str, topic: &str, settings: BTreeMap<String, String>, volume: Volume) -> Self {
        let seconds = volume.elapsed.as_secs_f64().max(0.001);
        Self {
            kind: kind.to_owned(),
            when: time::format(time::now()),
            topic: topic.to_owned(),
            settings,
            records: volume.records,
            bytes: volume.bytes,
            seconds,
            records_per_second: volume.records as f64 / seconds,
            megabytes_per_second: volume.bytes as f64 / MEGABYTE / seconds,
            latency_ms: None,
            acknowledged_ms: None,
            per_second: volume.per_second,
        }
    }

    pub(super) fn metrics(&self) -> Vec<(&'static str, f64)> {
        let mut metrics = vec![
            ("records/s", self.records_per_second),
            ("MB/s", self.megabytes_per_second),
            ("records", self.records as f64),
            ("seconds", self.seconds),
        ];
        if let Some(latency) = self.latency_ms {
            let names = ["mean ms", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "max ms"];
            metrics.extend(names.into_iter().zip(latency.parts().map(|(_, value)| value)));
        }
        metrics
    }

    /// The settings that two runs do not have in common.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<&String> =
            self.settings.keys().chain(other.settings.keys()).collect();
        let text =
            |report: &Self, key: &str| report.settings.get(key).cloned().unwrap_or_else(|| "-".to_owned());
        let differing = keys.into_iter().filter(|key| self.settings.get(*key) != other.settings.get(*key));
        differing.map(|key| format!("{key} ({} and {})", text(self, key), text(other, key))).collect()
    }

    pub(super) fn answer(&self) -> Answer {
        let columns = ["KIND", "TOPIC", "RECORDS", "SECONDS", "RECORDS/S", "MB/S"];
        let mut head = Section::new("result", &columns).wide(&["WHEN", "SETTINGS"]);
        let settings: Vec<String> =
            self.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        head.row([
            self.kind.clone(),
            self.topic.clone(),
            self.records.to_string(),
            format!("{:.2}", self.seconds),
            format!("{:.0}", self.records_per_second),
            format!("{:.2}", self.megabytes_per_second),
            self.when.clone(),
            settings.join(" "),
        ]);
        let columns = ["LATENCY", "MEAN-MS", "P50-MS", "P95-MS", "P99-MS", "P99.9-MS", "MAX-MS"];
        let mut latencies = Section::new("latency", &columns);
        let what = if self.kind == "e2e" { "end to end" } else { "acknowledged" };
        let both = [(what, self.latency_ms), ("acknowledged", self.acknowledged_ms)];
        for (what, latency) in both {
            if let Some(latency) = latency {
                let cells = latency.parts().map(|(_, value)| format!("{value:.2}"));
                latencies.row([what.to_owned()].into_iter().chain(cells));
            }
        }
        let value = serde_json::to_value(self).unwrap_or_default();
        Answer::new(value, vec![head, latencies])
    }

    pub(super) fn save(&self, name: &str) -> Result<PathBuf> {
        let path = path_of(name)?;
        let save = || -> Result<()> {
            if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                fs::create_dir_all(dir)?;
            }
            Ok(fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?)
        };
        save().with_context(|| path.display().to_string())?;
        Ok(path)
    }

    pub(super) fn load(name: &str) -> Result<Self> {
        let path = path_of(name)?;
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| anyhow!("{}: not a result of a benchmark: {error}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text =
                    format!("there is no result {name}; `millstream bench ls` lists those that there are");
                Err(Failure::NotFound(text).into())
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// What was saved under a name, the oldest first. Files that are no results are left out.
    pub(super) fn saved() -> Result<Vec<(String, Self)>> {
        let Ok(entries) = fs::read_dir(dir()?) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
            if let (Some(name), Ok(report)) = (name, Self::load(&path.display().to_string())) {
                all.push((name, report));
            }
        }
        all.sort_by(|(_, one), (_, other)| one.when.cmp(&other.when));
        Ok(all)
    }
}

fn path_of(name: &str) -> Result<PathBuf> {
    if name.is_empty() || name.starts_with('.') && !name.contains('/') {
        return Err(usage(format!("{name:?} is no name for a result")));
    }
    match name.contains('/') || name.ends_with(".json") {
        true => Ok(Path::new(name).to_owned()),
        false => Ok(dir()?.join(format!("{name}.json"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(settings: &[(&str, &str)]) -> Report {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let elapsed = Duration::from_secs(2);
        let volume = Volume { records: 1000, bytes: 2 << 20, elapsed, per_second: vec![400, 600] };
        let mut report = Report::new("produce", "t", settings, volume);
        let mut latencies = histogram();
        (1..=100).for_each(|ms| record(&mut latencies, Duration::from_millis(ms)));
        report.latency_ms = Latency::of(&latencies);
        report
    }

    #[test]
    fn a_result_is_read_back_as_it_was_saved() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/r.json").display().to_string();
        let saved = report(&[("acks", "all")]);
        saved.save(&path).unwrap();
        assert_eq!(Report::load(&path).unwrap(), saved);
        assert_eq!((saved.records_per_second, saved.megabytes_per_second), (500.0, 1.0));
        let p50 = saved.latency_ms.unwrap().p50;
        assert!((49.9..50.1).contains(&p50), "{p50}");
        fs::write(&path, "{}").unwrap();
        assert!(format!("{:#}", Report::load(&path).unwrap_err()).contains("not a result"));
        assert!(path_of("").is_err() && path_of("..").is_err());
    }

    #[test]
    fn what_differs_between_runs_is_named() {
        let (one, other) =
            (report(&[("acks", "all"), ("size", "9")]), report(&[("acks", "1"), ("size", "9")]));
        assert_eq!(one.differences(&other), ["acks (all and 1)"]);
    }
}
