//! What the records say: their values as JSON, in this order of fields.

use serde::Serialize;

use super::week::{self, Arrival, Flight, Weather};
use crate::command::time;

/// `UA1545`, as on the board in the departure hall.
pub(super) fn code(flight: &Flight) -> String {
    format!("{}{}", flight.carrier, flight.number)
}

fn original(minute: i64) -> String {
    time::format(week::START.plus_ms(minute * 60_000))
}

/// The value of a record in `flights.weather`.
#[derive(Serialize)]
pub(super) struct Observation<'a> {
    #[serde(flatten)]
    weather: &'a Weather,
    time: String,
    original_time: String,
}

impl<'a> Observation<'a> {
    pub(super) fn new(weather: &'a Weather, time: String) -> Self {
        Self { weather, time, original_time: original(weather.minute.into()) }
    }
}

/// The value of a record in `flights.departures`; without a delay the flight was cancelled.
#[derive(Serialize)]
pub(super) struct Departure<'a> {
    flight_id: String,
    flight: String,
    carrier: &'a str,
    number: u16,
    tail_number: Option<&'a str>,
    origin: &'a str,
    destination: &'a str,
    distance_miles: u16,
    cancelled: bool,
    delay_minutes: Option<i32>,
    time: String,
    original_time: String,
    original_scheduled_time: String,
}

impl<'a> Departure<'a> {
    pub(super) fn new(flight: &'a Flight, flight_id: String, time: String) -> Self {
        let minute = i64::from(flight.minute);
        let scheduled = minute - i64::from(flight.delay_minutes.unwrap_or(0));
        Self {
            flight_id,
            flight: code(flight),
            carrier: &flight.carrier,
            number: flight.number,
            tail_number: flight.tail_number.as_deref(),
            origin: &flight.origin,
            destination: &flight.destination,
            distance_miles: flight.distance_miles,
            cancelled: flight.delay_minutes.is_none(),
            delay_minutes: flight.delay_minutes,
            time,
            original_time: original(minute),
            original_scheduled_time: original(scheduled),
        }
    }
}

/// The value of a record in `flights.arrivals`.
#[derive(Serialize)]
pub(super) struct Landing<'a> {
    flight_id: String,
    flight: String,
    carrier: &'a str,
    number: u16,
    tail_number: Option<&'a str>,
    origin: &'a str,
    destination: &'a str,
    delay_minutes: i32,
    air_time_minutes: u16,
    time: String,
    original_time: String,
}

impl<'a> Landing<'a> {
    pub(super) fn new(flight: &'a Flight, arrival: &Arrival, flight_id: String, time: String) -> Self {
        Self {
            flight_id,
            flight: code(flight),
            carrier: &flight.carrier,
            number: flight.number,
            tail_number: flight.tail_number.as_deref(),
            origin: &flight.origin,
            destination: &flight.destination,
            delay_minutes: arrival.delay_minutes,
            air_time_minutes: arrival.air_time_minutes,
            time,
            original_time: original(arrival.minute.into()),
        }
    }
}
