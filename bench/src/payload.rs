//! The values of the records: bytes that no codec makes smaller, or JSON as applications write it, which
//! becomes three to four times smaller.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Random,
    Json,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "incompressible",
            Self::Json => "JSON",
        })
    }
}

/// Different values, enough of them to lie further apart than a codec looks back (lz4: 64 KiB).
const COUNT: usize = 8192;

pub(crate) fn values(kind: Kind, size: usize) -> Vec<Vec<u8>> {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    (0..COUNT)
        .map(|_| match kind {
            Kind::Random => (0..size).map(|_| random.next() as u8).collect(),
            Kind::Json => json(&mut random, size),
        })
        .collect()
}

/// An order as a shop would write it, cut or lengthened to `size`.
fn json(random: &mut Random, size: usize) -> Vec<u8> {
    const STATES: [&str; 4] = ["created", "paid", "shipped", "returned"];
    const GOODS: [&str; 6] = ["lamp", "table", "bicycle bell", "notebook", "teapot", "umbrella"];
    let mut text = format!(
        r#"{{"order":{},"state":"{}","customer":"c{}","items":["#,
        random.below(100_000_000),
        random.choose(&STATES),
        random.below(50_000)
    );
    while text.len() < size {
        let (article, amount) = (random.choose(&GOODS), random.below(9) + 1);
        let cents = random.below(20_000);
        text += &format!(
            r#"{{"sku":"{:06x}","article":"{article}","amount":{amount},"price":{}.{:02}}},"#,
            random.below(1 << 24),
            cents / 100,
            cents % 100
        );
    }
    text.truncate(size);
    text.into_bytes()
}

/// xorshift64*: the same values in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 24
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn choose<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(kind: Kind, size: usize) -> f64 {
        let plain = values(kind, size).concat();
        plain.len() as f64 / lz4_flex::block::compress(&plain).len() as f64
    }

    #[test]
    fn json_becomes_three_to_four_times_smaller_and_random_bytes_do_not() {
        for size in [100, 1024] {
            let json = ratio(Kind::Json, size);
            assert!((3.0..4.2).contains(&json), "{size}: {json}");
            let random = ratio(Kind::Random, size);
            assert!(random < 1.01, "{size}: {random}");
        }
    }

    #[test]
    fn every_value_has_the_size_asked_for() {
        for kind in [Kind::Random, Kind::Json] {
            assert!(values(kind, 100).iter().all(|value| value.len() == 100));
        }
    }
}
