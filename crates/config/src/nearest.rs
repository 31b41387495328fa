//! The name that was probably meant.

/// No key is as long as this, and what it costs to compare grows with the length.
const NAME_BYTES_MAX: usize = 200;

/// The candidate nearest to `name` by edits, if any is near enough to be worth naming.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let scored = candidates.into_iter().map(|candidate| (strsim::osa_distance(name, candidate), candidate));
    scored.filter(|(edits, _)| *edits <= name.len() / 3 + 1).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_key() {
        let keys = ["log.retention.ms", "log.retention.bytes", "num.partitions"];
        assert_eq!(nearest("log.retenton.ms", keys), Some("log.retention.ms"));
        assert_eq!(nearest("num.partition", keys), Some("num.partitions"));
        assert_eq!(nearest("nmu.patritions", keys), Some("num.partitions"));
        assert_eq!(nearest("completely.else", keys), None);
        assert_eq!(nearest(&"num.partitions".repeat(20), keys), None);
    }
}
