//! Values to produce: letters that compress as badly as letters do, the same in every run.

use bytes::Bytes;

/// More than a compressor looks back, so that records are not found again within a batch.
const POOL_BYTES: usize = 4 << 20;

pub(super) struct Payloads {
    pool: Bytes,
    size: usize,
}

impl Payloads {
    /// `size` bytes each.
    pub(super) fn new(size: usize) -> Self {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut letter = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            b'A' + (seed % 26) as u8
        };
        let pool = (0..POOL_BYTES.max(size)).map(|_| letter()).collect();
        Self { pool, size }
    }

    pub(super) fn get(&self, index: u64) -> Bytes {
        let places = (self.pool.len() / self.size.max(1)).max(1) as u64;
        let at = (index % places) as usize * self.size;
        self.pool.slice(at..at + self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_differ_and_every_size_can_be_had() {
        for size in [1, 100, POOL_BYTES, POOL_BYTES + 1] {
            let payloads = Payloads::new(size);
            assert_eq!(payloads.get(u64::MAX).len(), size);
        }
        let payloads = Payloads::new(100);
        assert_ne!(payloads.get(0), payloads.get(1));
        assert_eq!(Payloads::new(0).get(7), "");
    }
}
