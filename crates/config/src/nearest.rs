//! The name that was probably meant.

/// The candidate nearest to `name` by edits, if any is near enough to be worth naming.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.len() / 3 + 1;
    let scored = candidates.into_iter().map(|candidate| (edits(name, candidate, limit), candidate));
    scored.filter(|(count, _)| *count <= limit).min().map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped or changed; anything above `limit` may be cut short.
fn edits(a: &str, b: &str, limit: usize) -> usize {
    if a.len().abs_diff(b.len()) > limit || a.len() > 200 {
        return limit + 1;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_key() {
        let keys = ["log.retention.ms", "log.retention.bytes", "num.partitions"];
        assert_eq!(nearest("log.retenton.ms", keys), Some("log.retention.ms"));
        assert_eq!(nearest("num.partition", keys), Some("num.partitions"));
        assert_eq!(nearest("completely.else", keys), None);
    }
}
