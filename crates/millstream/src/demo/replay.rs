//! Which records are due at a moment. A state and `now` go in, records come out: no clock, no I/O.
//!
//! The week is laid on the calendar so that it runs at `now`, `speed` times faster than it did, and follows
//! on itself without end. A record's timestamp is that shifted time: the true one, of 2013, would have the
//! record deleted by retention at once. The true time is in the value. Order is kept: timestamps never
//! fall.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use millstream_types::TimestampMs;
use serde::Serialize;

use super::{
    values::{Departure, Landing, Observation, code},
    week::{self, Flight, Week},
};
use crate::command::time;

pub(super) const DEPARTURES: &str = "flights.departures";
pub(super) const ARRIVALS: &str = "flights.arrivals";
pub(super) const WEATHER: &str = "flights.weather";
pub(super) const AIRLINES: &str = "flights.airlines";
pub(super) const AIRPORTS: &str = "flights.airports";
pub(super) const PLANES: &str = "flights.planes";

const MINUTE_MS: f64 = 60_000.0;
/// Where in the week the first replay joins: Wednesday noon in New York. All before is history.
const JOIN_MINUTE: u32 = (2 * 24 + 12) * 60;

/// How many times faster than it happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed(f64);

impl Speed {
    pub(crate) const MIN: f64 = 0.1;
    pub(crate) const MAX: f64 = 10_000.0;
    /// A departure in a second or two by day, a week in three hours.
    pub(crate) const DEFAULT: Self = Self(60.0);
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let factor: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
        if (Self::MIN..=Self::MAX).contains(&factor) {
            return Ok(Self(factor));
        }
        Err(format!("{factor} is not between {} and {}", Self::MIN, Self::MAX))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) topic: &'static str,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    /// What happened, as a header: consumers may choose by it without reading the value.
    pub(super) event: &'static str,
    pub(super) timestamp: TimestampMs,
}

/// Whether the days before the moment of joining are replayed too, all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    Replayed,
    Skipped,
}

#[derive(Debug)]
pub(super) struct Replay {
    week: Week,
    /// In the order of time within the week.
    moments: Vec<Moment>,
    speed: Speed,
    /// Where the first week's first minute lies.
    start: TimestampMs,
    /// Of `moments`, over all the weeks so far.
    next: usize,
}

#[derive(Debug)]
struct Moment {
    minute: f64,
    what: What,
    /// It belongs to a flight of the week before.
    carried: bool,
}

/// Each with its index in the week.
#[derive(Clone, Copy, Debug)]
enum What {
    Weather(usize),
    Departure(usize),
    Arrival(usize),
}

impl Replay {
    pub(super) fn new(week: Week, speed: Speed, history: History, now: TimestampMs) -> Self {
        let moments = moments(&week);
        let past_ms = f64::from(JOIN_MINUTE) * MINUTE_MS / speed.0;
        let start = now.plus_ms(-(past_ms as i64));
        let mut replay = Self { week, moments, speed, start, next: 0 };
        if history == History::Skipped {
            let joined = f64::from(JOIN_MINUTE);
            replay.next = replay.moments.partition_point(|moment| moment.minute < joined);
        }
        replay.skip_orphans();
        replay
    }

    /// When the next record is due.
    pub(super) fn next_due(&self) -> TimestampMs {
        let (weeks, moment) = self.at(self.next);
        self.shifted(weeks, moment.minute)
    }

    /// The next record, if it is due at `now`.
    pub(super) fn pop(&mut self, now: TimestampMs) -> Option<Record> {
        let timestamp = self.next_due();
        if timestamp > now {
            return None;
        }
        let (weeks, moment) = self.at(self.next);
        let record = self.record(moment, timestamp, weeks);
        self.next += 1;
        self.skip_orphans();
        Some(record)
    }

    /// Airlines, airports and planes: what the stream's codes mean.
    pub(super) fn references(&self, now: TimestampMs) -> impl Iterator<Item = Record> {
        let Week { airlines, airports, planes, .. } = &self.week;
        let airlines = airlines.iter().map(move |a| record(AIRLINES, "airline", &a.carrier, a, now));
        let airports = airports.iter().map(move |a| record(AIRPORTS, "airport", &a.airport, a, now));
        let planes = planes.iter().map(move |p| record(PLANES, "plane", &p.tail_number, p, now));
        airlines.chain(airports).chain(planes)
    }

    /// The first week has no week before it, whose flights could still land.
    fn skip_orphans(&mut self) {
        while self.at(self.next).0 == 0 && self.at(self.next).1.carried {
            self.next += 1;
        }
    }

    fn at(&self, index: usize) -> (usize, &Moment) {
        (index / self.moments.len(), &self.moments[index % self.moments.len()])
    }

    fn shifted(&self, weeks: usize, minute: f64) -> TimestampMs {
        let minutes = weeks as f64 * f64::from(week::MINUTES) + minute;
        self.start.plus_ms((minutes * MINUTE_MS / self.speed.0) as i64)
    }

    fn record(&self, moment: &Moment, timestamp: TimestampMs, weeks: usize) -> Record {
        let time = time::format(timestamp);
        match moment.what {
            What::Weather(index) => {
                let weather = &self.week.weather[index];
                let value = Observation::new(weather, time);
                record(WEATHER, "observation", &weather.airport, &value, timestamp)
            }
            What::Departure(index) => {
                let flight = &self.week.flights[index];
                let event = if flight.delay_minutes.is_some() { "departure" } else { "cancellation" };
                let value = Departure::new(flight, self.flight_id(flight, weeks), time);
                record(DEPARTURES, event, &code(flight), &value, timestamp)
            }
            What::Arrival(index) => {
                let arrival = &self.week.arrivals[index];
                let flight = &self.week.flights[arrival.flight];
                let id = self.flight_id(flight, weeks - usize::from(moment.carried));
                let value = Landing::new(flight, arrival, id, time);
                record(ARRIVALS, "arrival", &code(flight), &value, timestamp)
            }
        }
    }

    /// One flight of one day of one week: departure and arrival share it.
    fn flight_id(&self, flight: &Flight, weeks: usize) -> String {
        let left = time::format(self.shifted(weeks, f64::from(flight.minute)));
        format!("{}-{}-{}", code(flight), flight.origin, &left[..19])
    }
}

/// Everything that happens, in order. What happens in the same minute is spread over it.
fn moments(week: &Week) -> Vec<Moment> {
    let weather = week.weather.iter().enumerate().map(|(i, weather)| (weather.minute, What::Weather(i)));
    let departures = week.flights.iter().enumerate().map(|(i, flight)| (flight.minute, What::Departure(i)));
    let arrivals = week.arrivals.iter().enumerate().map(|(i, arrival)| (arrival.minute, What::Arrival(i)));
    let mut all: Vec<(u32, bool, What)> = weather
        .chain(departures)
        .chain(arrivals)
        .map(|(minute, what)| (minute % week::MINUTES, minute >= week::MINUTES, what))
        .collect();
    all.sort_by_key(|(minute, ..)| *minute);
    let spread = all.chunk_by(|one, other| one.0 == other.0).flat_map(|same| {
        let share = 1.0 / same.len() as f64;
        same.iter().enumerate().map(move |(index, (minute, carried, what))| Moment {
            minute: f64::from(*minute) + index as f64 * share,
            what: *what,
            carried: *carried,
        })
    });
    spread.collect()
}

fn record(
    topic: &'static str,
    event: &'static str,
    key: &str,
    value: &impl Serialize,
    timestamp: TimestampMs,
) -> Record {
    let value = serde_json::to_vec(value).expect("maps with string keys and finite numbers");
    Record { topic, key: Bytes::from(key.to_owned()), value: Bytes::from(value), event, timestamp }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use serde_json::Value;

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_790_000_000_000);
    const HOUR_MS: i64 = 3_600_000;

    fn replay(speed: &str, history: History) -> Replay {
        Replay::new(Week::decode().unwrap(), speed.parse().unwrap(), history, NOW)
    }

    fn due(replay: &mut Replay, now: TimestampMs) -> Vec<Record> {
        std::iter::from_fn(|| replay.pop(now)).collect()
    }

    fn json(record: &Record) -> Value {
        serde_json::from_slice(&record.value).unwrap()
    }

    #[test]
    fn nothing_is_handed_out_before_its_time_and_all_of_it_then() {
        let mut replay = replay("60", History::Skipped);
        let first = replay.next_due();
        assert!(first >= NOW && first < NOW.plus_ms(10_000), "{first:?}");
        assert_eq!(due(&mut replay, first.plus_ms(-1)), []);
        let record = replay.pop(first).unwrap();
        assert_eq!(record.timestamp, first);
        assert!(replay.next_due() >= first);
    }

    #[test]
    fn history_is_the_week_up_to_wednesday_noon_and_ends_now() {
        let mut replay = replay("60", History::Replayed);
        let records = due(&mut replay, NOW);
        assert!(records.len() > 4_000, "{}", records.len());
        assert!(records[0].timestamp >= NOW.plus_ms(-HOUR_MS));
        assert!(records[records.len() - 1].timestamp > NOW.plus_ms(-5_000));
        assert!(replay.next_due() > NOW);
    }

    #[test]
    fn timestamps_never_fall_over_three_weeks_and_every_week_is_the_same() {
        let mut replay = replay("10000", History::Replayed);
        let weeks_ms = 3 * i64::from(week::MINUTES) * 60_000 / 10_000;
        let records = due(&mut replay, NOW.plus_ms(weeks_ms));
        assert!(records.is_sorted_by_key(|record| record.timestamp));
        let flights = records.iter().filter(|record| record.topic == DEPARTURES).count();
        assert!(flights > 3 * 6_709, "{flights}");
        let ids: HashSet<String> = records
            .iter()
            .filter(|r| r.topic == DEPARTURES)
            .map(|r| json(r)["flight_id"].to_string())
            .collect();
        assert_eq!(ids.len(), flights, "flight ids repeat");
    }

    #[test]
    fn time_runs_as_fast_as_told_and_the_original_time_is_kept() {
        for (speed, factor) in [("1", 1.0), ("60", 60.0), ("0.5", 0.5)] {
            let mut replay = replay(speed, History::Skipped);
            let horizon = NOW.plus_ms((24.0 * HOUR_MS as f64 / factor) as i64);
            let records = due(&mut replay, horizon);
            let (first, last) = (&records[0], &records[records.len() - 1]);
            let minutes = |record: &Record| {
                let text = json(record)["original_time"].as_str().unwrap().to_owned();
                time::parse(&text, NOW).unwrap().0 / 60_000
            };
            let original = (minutes(last) - minutes(first)) as f64;
            let replayed = (last.timestamp.0 - first.timestamp.0) as f64 / 60_000.0 * factor;
            assert!((original - replayed).abs() <= 1.0, "at {speed}: {original} and {replayed} minutes");
            assert!(original > 23.0 * 60.0);
        }
    }

    #[test]
    fn a_departure_says_what_was_known_when_it_happened() {
        let mut replay = replay("60", History::Replayed);
        let records = due(&mut replay, NOW);
        let record = records.iter().find(|record| record.topic == DEPARTURES).unwrap();
        let value = json(record);
        assert_eq!(&*record.key, b"US1431");
        assert_eq!(record.event, "departure");
        assert_eq!(value["flight"], "US1431");
        assert_eq!(value["tail_number"], "N126UW");
        assert_eq!((&value["origin"], &value["destination"]), (&"EWR".into(), &"CLT".into()));
        assert_eq!(value["delay_minutes"], -7);
        assert_eq!(value["original_time"], "2013-07-22T08:53:00.000Z");
        assert_eq!(value["original_scheduled_time"], "2013-07-22T09:00:00.000Z");
        assert_eq!(value["time"], time::format(record.timestamp));
        let cancelled = records.iter().find(|record| record.event == "cancellation").map(json).unwrap();
        assert_eq!((&cancelled["cancelled"], &cancelled["delay_minutes"]), (&true.into(), &Value::Null));
    }

    #[test]
    fn every_arrival_follows_the_departure_whose_flight_id_it_bears() {
        let mut replay = replay("10000", History::Replayed);
        let weeks_ms = 2 * i64::from(week::MINUTES) * 60_000 / 10_000;
        let mut left = BTreeMap::new();
        let mut landed = 0;
        for record in due(&mut replay, NOW.plus_ms(weeks_ms)) {
            let id = json(&record)["flight_id"].to_string();
            if record.topic == DEPARTURES {
                left.insert(id, record.key);
            } else if record.topic == ARRIVALS {
                assert_eq!(left.remove(&id), Some(record.key), "{id}");
                landed += 1;
            }
        }
        assert!(landed > 12_000, "{landed}");
    }

    #[test]
    fn references_explain_the_codes_of_the_stream() {
        let mut replay = replay("60", History::Replayed);
        let references: Vec<Record> = replay.references(NOW).collect();
        let keys: HashSet<(&str, &[u8])> = references.iter().map(|r| (r.topic, &*r.key)).collect();
        assert_eq!(keys.len(), references.len(), "a key twice");
        assert!(references.iter().all(|record| record.timestamp == NOW));
        for record in due(&mut replay, NOW) {
            if record.topic == DEPARTURES {
                let value = json(&record);
                let carrier = value["carrier"].as_str().unwrap();
                let origin = value["origin"].as_str().unwrap();
                assert!(keys.contains(&(AIRLINES, carrier.as_bytes())), "{carrier}");
                assert!(keys.contains(&(AIRPORTS, origin.as_bytes())), "{origin}");
            }
        }
    }

    #[test]
    fn a_speed_out_of_range_is_refused_with_the_range() {
        for text in ["0", "-1", "10001", "NaN", "inf", "fast", ""] {
            assert!(text.parse::<Speed>().is_err(), "{text:?}");
        }
        assert_eq!("0".parse::<Speed>(), Err("0 is not between 0.1 and 10000".to_owned()));
        assert_eq!("2.5".parse(), Ok(Speed(2.5)));
    }
}
