//! ISO 8601 durations as `java.time.Duration.parse` takes them: `P1DT2H3M4.5S`.

/// Whether the text is such a duration.
pub(crate) fn is_iso(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let unsigned = upper.strip_prefix(['-', '+']).unwrap_or(&upper);
    let Some(rest) = unsigned.strip_prefix('P') else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    let days_ok = days.is_empty() || days.strip_suffix('D').is_some_and(is_whole);
    let time_ok = time.is_none_or(|t| !t.is_empty() && is_time(t));
    days_ok && time_ok && !rest.is_empty()
}

/// Hours, minutes and seconds, each at most once and in this order; seconds may have a fraction.
fn is_time(mut text: &str) -> bool {
    for unit in ['H', 'M', 'S'] {
        let Some((number, rest)) = text.split_once(unit) else { continue };
        let ok = if unit == 'S' { is_decimal(number) } else { is_whole(number) };
        if !ok {
            return false;
        }
        text = rest;
    }
    text.is_empty()
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.len() <= 18 && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    match text.split_once(['.', ',']) {
        Some((whole, fraction)) => {
            is_whole(whole) && fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit())
        }
        None => is_whole(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_hours_minutes_and_seconds_in_order_are_a_duration() {
        for good in ["P1D", "PT1H", "P1DT2H3M4.5S", "PT0.1S", "-PT1H", "pt15m"] {
            assert!(is_iso(good), "{good}");
        }
        for bad in ["", "P", "PT", "1D", "P1Y", "PT1M1H", "P1H", "PT.S", "PT1H "] {
            assert!(!is_iso(bad), "{bad}");
        }
    }
}
