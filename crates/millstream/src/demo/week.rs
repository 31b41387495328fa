//! The week as it is stored in the binary. Times are minutes from its beginning; text is as in the source.
//! The layout is described in `data/README.md`. Field names are those of the records' JSON.

use anyhow::{Context, Result, bail};
use millstream_types::TimestampMs;
use serde::Serialize;

const PACKED: &[u8] = include_bytes!("../../data/nyc-departures.txt.zst");
/// More than the text has; decompression stops there.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Monday, 22 July 2013, midnight in New York.
pub(super) const START: TimestampMs = TimestampMs(1_374_465_600_000);
pub(super) const MINUTES: u32 = 7 * 24 * 60;

#[derive(Debug)]
pub(super) struct Week {
    pub(super) airlines: Vec<Airline>,
    pub(super) airports: Vec<Airport>,
    pub(super) planes: Vec<Plane>,
    pub(super) weather: Vec<Weather>,
    pub(super) flights: Vec<Flight>,
    /// Of all flights that were neither cancelled nor diverted.
    pub(super) arrivals: Vec<Arrival>,
}

#[derive(Debug, Serialize)]
pub(super) struct Airline {
    pub(super) carrier: String,
    pub(super) name: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Airport {
    pub(super) airport: String,
    pub(super) name: String,
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    pub(super) altitude_feet: i32,
    pub(super) time_zone: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Plane {
    pub(super) tail_number: String,
    pub(super) year: Option<u16>,
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) engines: u8,
    pub(super) seats: u16,
    pub(super) engine: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Weather {
    #[serde(skip)]
    pub(super) minute: u32,
    pub(super) airport: String,
    pub(super) temperature_f: Option<f64>,
    pub(super) dew_point_f: Option<f64>,
    pub(super) humidity_percent: Option<f64>,
    pub(super) wind_direction_degrees: Option<f64>,
    pub(super) wind_speed_mph: Option<f64>,
    pub(super) wind_gust_mph: Option<f64>,
    pub(super) precipitation_inches: Option<f64>,
    pub(super) pressure_millibars: Option<f64>,
    pub(super) visibility_miles: Option<f64>,
}

#[derive(Debug)]
pub(super) struct Flight {
    /// When it left, or was to leave if it was cancelled.
    pub(super) minute: u32,
    /// Negative is early; None: cancelled.
    pub(super) delay_minutes: Option<i32>,
    pub(super) carrier: String,
    pub(super) number: u16,
    pub(super) tail_number: Option<String>,
    pub(super) origin: String,
    pub(super) destination: String,
    pub(super) distance_miles: u16,
}

#[derive(Debug)]
pub(super) struct Arrival {
    /// Its index in `Week::flights`.
    pub(super) flight: usize,
    /// May lie past the week's end.
    pub(super) minute: u32,
    pub(super) delay_minutes: i32,
    pub(super) air_time_minutes: u16,
}

impl Week {
    pub(super) fn decode() -> Result<Self> {
        let bytes = zstd::bulk::decompress(PACKED, TEXT_BYTES_MAX).context("the demo's data")?;
        let text = String::from_utf8(bytes).context("the demo's data")?;
        let departures = section(&text, "departures", departure)?;
        let landings = departures.iter().enumerate().filter_map(|(flight, (_, landing))| {
            let Landing { minute, delay_minutes, air_time_minutes } = (*landing)?;
            Some(Arrival { flight, minute, delay_minutes, air_time_minutes })
        });
        Ok(Self {
            arrivals: landings.collect(),
            flights: departures.into_iter().map(|(flight, _)| flight).collect(),
            airlines: section(&text, "airlines", airline)?,
            airports: section(&text, "airports", airport)?,
            planes: section(&text, "planes", plane)?,
            weather: section(&text, "weather", weather)?,
        })
    }
}

/// The rows under `#name`, without the line of column names.
fn section<T>(text: &str, name: &str, parse: fn(&mut Row<'_>) -> Result<T>) -> Result<Vec<T>> {
    let lines = text.lines().skip_while(|line| line.strip_prefix('#') != Some(name)).skip(2);
    let rows = lines.take_while(|line| !line.starts_with('#'));
    let parse_row = |line: &str| {
        let mut row = Row(line.split('\t'));
        let parsed = parse(&mut row)?;
        if row.0.next().is_some() {
            bail!("too many columns");
        }
        Ok(parsed)
    };
    rows.map(|line| parse_row(line).with_context(|| format!("the demo's {name}: {line:?}"))).collect()
}

struct Row<'a>(std::str::Split<'a, char>);

impl<'a> Row<'a> {
    fn text(&mut self) -> Result<&'a str> {
        self.0.next().context("too few columns")
    }

    fn owned(&mut self) -> Result<String> {
        Ok(self.text()?.to_owned())
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N> {
        self.optional()?.context("a number is missing")
    }

    /// Nothing stands for unknown.
    fn optional<N: std::str::FromStr>(&mut self) -> Result<Option<N>> {
        let text = self.text()?;
        let parsed = (!text.is_empty()).then(|| text.parse().ok().with_context(|| format!("{text:?}")));
        parsed.transpose()
    }
}

fn airline(row: &mut Row<'_>) -> Result<Airline> {
    Ok(Airline { carrier: row.owned()?, name: row.owned()? })
}

fn airport(row: &mut Row<'_>) -> Result<Airport> {
    Ok(Airport {
        airport: row.owned()?,
        name: row.owned()?,
        latitude: row.number()?,
        longitude: row.number()?,
        altitude_feet: row.number()?,
        time_zone: row.owned()?,
    })
}

fn plane(row: &mut Row<'_>) -> Result<Plane> {
    Ok(Plane {
        tail_number: row.owned()?,
        year: row.optional()?,
        manufacturer: row.owned()?,
        model: row.owned()?,
        engines: row.number()?,
        seats: row.number()?,
        engine: row.owned()?,
    })
}

fn weather(row: &mut Row<'_>) -> Result<Weather> {
    Ok(Weather {
        minute: row.number()?,
        airport: row.owned()?,
        temperature_f: row.optional()?,
        dew_point_f: row.optional()?,
        humidity_percent: row.optional()?,
        wind_direction_degrees: row.optional()?,
        wind_speed_mph: row.optional()?,
        wind_gust_mph: row.optional()?,
        precipitation_inches: row.optional()?,
        pressure_millibars: row.optional()?,
        visibility_miles: row.optional()?,
    })
}

#[derive(Clone, Copy, Debug)]
struct Landing {
    minute: u32,
    delay_minutes: i32,
    air_time_minutes: u16,
}

/// A flight, and how it landed unless it was cancelled or diverted.
fn departure(row: &mut Row<'_>) -> Result<(Flight, Option<Landing>)> {
    let flight = Flight {
        minute: row.number()?,
        delay_minutes: row.optional()?,
        carrier: row.owned()?,
        number: row.number()?,
        tail_number: Some(row.owned()?).filter(|text| !text.is_empty()),
        origin: row.owned()?,
        destination: row.owned()?,
        distance_miles: row.number()?,
    };
    let landing = match (row.optional()?, row.optional()?, row.optional()?) {
        (Some(minute), Some(delay_minutes), Some(air_time_minutes)) => {
            Some(Landing { minute, delay_minutes, air_time_minutes })
        }
        (None, None, None) => None,
        _ => bail!("an arrival is half known"),
    };
    Ok((flight, landing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_week_has_what_its_readme_says() {
        let week = Week::decode().unwrap();
        assert_eq!(week.flights.len(), 6_709);
        assert_eq!(week.flights.iter().filter(|flight| flight.delay_minutes.is_none()).count(), 333);
        assert_eq!(week.weather.len(), 504);
        assert_eq!(week.airlines.len(), 15);
        assert!(week.planes.len() > 1_800 && week.airports.len() > 80);
    }

    #[test]
    fn flights_are_in_order_and_within_the_week_and_land_after_they_left() {
        let week = Week::decode().unwrap();
        assert!(week.flights.is_sorted_by_key(|flight| flight.minute));
        assert!(week.weather.is_sorted_by_key(|weather| weather.minute));
        for flight in &week.flights {
            assert!(flight.minute < MINUTES, "{flight:?}");
            assert!(["EWR", "JFK", "LGA"].contains(&flight.origin.as_str()), "{flight:?}");
        }
        for arrival in &week.arrivals {
            let flight = &week.flights[arrival.flight];
            let minutes = arrival.minute - flight.minute;
            assert!(flight.delay_minutes.is_some(), "{flight:?}");
            assert!(minutes > u32::from(arrival.air_time_minutes) && minutes < 1_000, "{flight:?}");
        }
    }

    #[test]
    fn a_row_with_a_column_too_many_or_too_few_is_refused() {
        for text in ["#airlines\ncarrier\tname\nUA\n", "#airlines\ncarrier\tname\nUA\tUnited\tx\n"] {
            assert!(section(text, "airlines", airline).is_err(), "{text:?}");
        }
        assert!(section("#x\n\nUA\n", "x", |row| row.number::<u8>()).is_err());
    }
}
