//! Points in time as people write them, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use millstream_types::TimestampMs;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

pub(crate) fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds since 1970, `-1h` for an hour before `now`, or a date with or without a time:
/// `2013-01-01`, `2013-01-01T05:00:00Z`, `2013-01-01T05:00:00.250-05:00`.
pub(crate) fn parse(text: &str, now: TimestampMs) -> Result<TimestampMs> {
    if let Some(ago) = text.strip_prefix('-').and_then(duration_ms) {
        return Ok(now.plus_ms(-ago));
    }
    if let Ok(ms) = text.parse() {
        return Ok(TimestampMs(ms));
    }
    date_time(text).with_context(|| {
        format!("{text:?} is not a time: expected milliseconds since 1970, -1h, 2013-01-01 or 2013-01-01T05:00:00Z")
    })
}

/// A duration as a clap value; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let ms = duration_ms(text).or_else(|| duration_ms(&format!("{text}s")));
    let ms = ms.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
    ms.map(Duration::from_millis)
        .ok_or_else(|| anyhow!("expected a time such as 500ms, 10s or 5m, found {text:?}"))
}

/// `500ms`, `90s`, `15m`, `1h`, `7d`
fn duration_ms(text: &str) -> Option<i64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit_at);
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS,
        _ => return None,
    };
    count.parse::<i64>().ok()?.checked_mul(unit)
}

fn date_time(text: &str) -> Result<TimestampMs> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00Z"));
    let [year, month, day] = numbers(date, '-')?;
    let (time, offset_ms) = zone(time)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = match time.matches(':').count() {
        1 => {
            let [hour, minute] = numbers(time, ':')?;
            [hour, minute, 0]
        }
        _ => numbers(time, ':')?,
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        bail!("a field is out of range");
    }
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        bail!("the fraction of a second is not a number");
    }
    let millis: i64 = format!("{fraction:0<3}")[..3].parse()?;
    let seconds = (hour * 60 + minute) * 60 + second;
    Ok(TimestampMs(days_since_1970(year, month, day) * DAY_MS + seconds * 1000 + millis - offset_ms))
}

/// Takes the zone off: `Z`, nothing, or `±HH:MM`.
fn zone(time: &str) -> Result<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Ok((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Ok((time, 0)) };
    let [hours, minutes] = numbers(&time[at + 1..], ':')?;
    let offset = (hours * 60 + minutes) * 60_000;
    Ok((&time[..at], if time[at..].starts_with('-') { -offset } else { offset }))
}

fn numbers<const N: usize>(text: &str, separator: char) -> Result<[i64; N]> {
    let parts: Vec<&str> = text.split(separator).collect();
    if parts.len() != N || parts.iter().any(|part| part.is_empty() || part.len() > 4) {
        bail!("{text:?} has not {N} numbers");
    }
    let mut numbers = [0; N];
    for (number, part) in numbers.iter_mut().zip(parts) {
        *number = part.parse::<u16>()?.into();
    }
    Ok(numbers)
}

/// Of the Gregorian calendar, counted from March so that a leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `2013-01-01T05:00:00.250Z`
pub(crate) fn format(time: TimestampMs) -> String {
    let (days, ms) = (time.0.div_euclid(DAY_MS), time.0.rem_euclid(DAY_MS));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    #[test]
    fn times_are_read_in_every_form() {
        for (text, expected) in [
            ("0", 0),
            ("1700000000123", 1_700_000_000_123),
            ("-1h", 1_700_000_000_000 - 3_600_000),
            ("-250ms", 1_699_999_999_750),
            ("1970-01-01", 0),
            ("2013-01-01T05:00:00Z", 1_357_016_400_000),
            ("2013-01-01 05:00", 1_357_016_400_000),
            ("2013-01-01T00:00:00.25-05:00", 1_357_016_400_250),
            ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
        ] {
            assert_eq!(parse(text, NOW).unwrap(), TimestampMs(expected), "{text}");
        }
        for wrong in
            ["", "now", "2013-13-01", "2013-01", "2013-01-01T25:00:00Z", "1x", "-1y", "2013-01-01T05:00:00.Z"]
        {
            assert!(parse(wrong, NOW).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, ms) in [("500ms", 500), ("2s", 2000), ("3", 3000), ("1m", 60_000)] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for wrong in ["", "0", "-1s", "s", "1w", "1.5s", "9999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(format(TimestampMs(0)), "1970-01-01T00:00:00.000Z");
        for ms in [-1, 1, 951_782_400_000, 1_709_164_799_999, 4_102_444_800_000, -62_135_596_800_000] {
            assert_eq!(parse(&format(TimestampMs(ms)), NOW).unwrap(), TimestampMs(ms), "{ms}");
        }
    }
}
