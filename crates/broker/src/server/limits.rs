//! How many connections there may be, in all and from one address.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Counts open connections against `max.connections` and `max.connections.per.ip`.
pub(crate) struct ConnectionLimits {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionMaxima {
    pub(crate) total: usize,
    pub(crate) per_address: usize,
}

/// Held by an open connection; dropping it gives the place back.
pub(crate) struct Permit {
    limits: Arc<ConnectionLimits>,
    address: IpAddr,
}

impl ConnectionLimits {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { open: Mutex::default() })
    }

    /// `Err` names the key whose limit is reached.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        maxima: ConnectionMaxima,
    ) -> Result<Permit, &'static str> {
        let mut open = self.open.lock();
        if open.total >= maxima.total {
            return Err("max.connections");
        }
        let from_address = open.by_address.entry(address).or_default();
        if *from_address >= maxima.per_address {
            return Err("max.connections.per.ip");
        }
        *from_address += 1;
        open.total += 1;
        Ok(Permit { limits: Arc::clone(self), address })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock();
        open.total -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_gives_its_place_back() {
        let limits = ConnectionLimits::new();
        let maxima = ConnectionMaxima { total: 2, per_address: 1 };
        let (here, there, elsewhere) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into(), [127, 0, 0, 3].into());
        let first = limits.admit(here, maxima).ok();
        assert_eq!(limits.admit(here, maxima).err(), Some("max.connections.per.ip"));
        let second = limits.admit(there, maxima).ok();
        assert_eq!(limits.admit(elsewhere, maxima).err(), Some("max.connections"));
        drop((first, second));
        assert!(limits.admit(here, maxima).is_ok());
    }
}
