//! What was measured, and its medians.

use std::collections::BTreeMap;

use crate::fleet::Subject;

/// What a figure is of. The order is that of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Records a second.
    Rate,
    /// Seconds of the broker's processor time for a million records.
    CpuPerMillion,
    /// Of the log directory, for each record.
    DiskBytes,
    P50Ms,
    P99Ms,
    P999Ms,
    /// From nothing to the first acknowledgement.
    FirstAckMs,
    RssMib,
}

#[derive(Debug, Default)]
pub(crate) struct Samples {
    values: BTreeMap<(String, Subject, Metric), Vec<f64>>,
}

impl Samples {
    pub(crate) fn add(&mut self, scenario: &str, subject: Subject, metric: Metric, value: f64) {
        self.values.entry((scenario.to_owned(), subject, metric)).or_default().push(value);
    }

    pub(crate) fn median(&self, scenario: &str, subject: Subject, metric: Metric) -> Option<f64> {
        median(self.values.get(&(scenario.to_owned(), subject, metric))?)
    }

    /// The last one measured.
    pub(crate) fn last(&self, scenario: &str, subject: Subject, metric: Metric) -> Option<f64> {
        self.values.get(&(scenario.to_owned(), subject, metric))?.last().copied()
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        _ if sorted.is_empty() => None,
        1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The value below which this part of them lies; sorts them.
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

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn percentiles_are_of_the_sorted_values_in_milliseconds() {
        let mut micros: Vec<u32> = (1..=1001).rev().map(|n| n * 1000).collect();
        assert_eq!(percentile(&mut micros, 0.5), 501.0);
        assert_eq!(percentile(&mut micros, 0.99), 991.0);
        assert_eq!(percentile(&mut micros, 1.0), 1001.0);
        assert!(percentile(&mut [], 0.5).is_nan());
    }
}
