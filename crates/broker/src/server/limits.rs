//! How many connections there may be, in all and from one address, and how fast new ones may come.
//! `kafka.network.ConnectionQuotas`: at `max.connections`, and above the creation rate, an accepted
//! connection waits and all after it stay in the backlog; above an address's own limit it is closed.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_config::ConnectionLimits as Settings;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::settings::Current;

/// Kafka averages the rate over eleven windows of a second of which the last has just begun, so that
/// this many seconds' worth of connections may come at once.
const BURST_SECONDS: u32 = 10;
/// The longest that one connection is held up by the rate.
const THROTTLE_MAX: Duration = Duration::from_secs(11);

pub(crate) struct ConnectionLimits {
    maxima: RwLock<Arc<Maxima>>,
    open: Mutex<Open>,
    arrivals: Mutex<Arrivals>,
    /// A connection was closed, or the limits changed.
    moved: Notify,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Clone, Debug)]
struct Maxima {
    total: usize,
    per_address: usize,
    overrides: HashMap<IpAddr, usize>,
    /// Connections a second.
    rate: u32,
}

/// Held by an open connection; dropping it gives the place back.
pub(crate) struct Permit {
    limits: Arc<ConnectionLimits>,
    address: IpAddr,
}

impl ConnectionLimits {
    pub(crate) async fn new(settings: &Settings) -> Arc<Self> {
        let maxima = Maxima::resolve(settings).await;
        Arc::new(Self {
            arrivals: Mutex::new(Arrivals::new(maxima.rate, Instant::now())),
            maxima: RwLock::new(Arc::new(maxima)),
            open: Mutex::default(),
            moved: Notify::new(),
        })
    }

    /// Takes over what changes, until the settings are gone.
    pub(crate) async fn follow(self: Arc<Self>, mut settings: watch::Receiver<Arc<Current>>) {
        while settings.changed().await.is_ok() {
            let current = Arc::clone(&settings.borrow_and_update());
            let maxima = Maxima::resolve(&current.broker.network.limits).await;
            self.arrivals.lock().set_rate(maxima.rate, Instant::now());
            *self.maxima.write() = Arc::new(maxima);
            self.moved.notify_waiters();
        }
    }

    /// Waits until the connection may be served; `None` when its address has too many already.
    pub(crate) async fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Permit> {
        let address = address.to_canonical();
        let permit = loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Registered before looking, so that what moves in between is not missed.
            moved.as_mut().enable();
            match self.try_admit(address) {
                Admission::Admitted(permit) => break permit,
                Admission::TooManyFromAddress => return None,
                Admission::Full => moved.await,
            }
        };
        let throttled = self.arrivals.lock().take(Instant::now());
        if !throttled.is_zero() {
            tokio::time::sleep(throttled).await;
        }
        Some(permit)
    }

    fn try_admit(self: &Arc<Self>, address: IpAddr) -> Admission {
        let maxima = Arc::clone(&self.maxima.read());
        let mut open = self.open.lock();
        if open.total >= maxima.total {
            return Admission::Full;
        }
        let from_address = open.by_address.entry(address).or_default();
        if *from_address >= maxima.of(address) {
            return Admission::TooManyFromAddress;
        }
        *from_address += 1;
        open.total += 1;
        Admission::Admitted(Permit { limits: Arc::clone(self), address })
    }
}

enum Admission {
    Admitted(Permit),
    TooManyFromAddress,
    Full,
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
        drop(open);
        self.limits.moved.notify_waiters();
    }
}

impl Maxima {
    async fn resolve(settings: &Settings) -> Self {
        let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        let mut overrides = HashMap::new();
        for (host, limit) in &settings.per_ip_overrides {
            for address in addresses(host).await {
                overrides.insert(address, count(*limit));
            }
        }
        Self {
            total: count(settings.connections_max),
            per_address: count(settings.connections_max_per_ip),
            overrides,
            rate: settings.creation_rate_max,
        }
    }

    fn of(&self, address: IpAddr) -> usize {
        self.overrides.get(&address).copied().unwrap_or(self.per_address)
    }
}

async fn addresses(host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return vec![address.to_canonical()];
    }
    match tokio::net::lookup_host((host, 0)).await {
        Ok(found) => found.map(|address| address.ip().to_canonical()).collect(),
        Err(error) => {
            warn!(host, %error, "max.connections.per.ip.overrides names a host without an address");
            Vec::new()
        }
    }
}

/// A bucket that fills with time and from which each new connection takes.
#[derive(Debug)]
struct Arrivals {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Arrivals {
    fn new(rate: u32, now: Instant) -> Self {
        let rate = f64::from(rate);
        Self { rate, left: rate * f64::from(BURST_SECONDS), at: now }
    }

    fn set_rate(&mut self, rate: u32, now: Instant) {
        self.fill(now);
        self.rate = f64::from(rate);
        self.left = self.left.min(self.capacity());
    }

    fn capacity(&self) -> f64 {
        self.rate * f64::from(BURST_SECONDS)
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.rate).min(self.capacity());
        self.at = now;
    }

    /// How long this connection has to wait.
    fn take(&mut self, now: Instant) -> Duration {
        self.fill(now);
        self.left = (self.left - 1.0).max(-self.rate * THROTTLE_MAX.as_secs_f64() - 1.0);
        if self.left >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.left / self.rate)
            .map_or(THROTTLE_MAX, |wait| wait.min(THROTTLE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn limits(total: u32, per_address: u32, overrides: &[(&str, u32)]) -> Arc<ConnectionLimits> {
        let settings = Settings {
            creation_rate_max: u32::MAX,
            connections_max: total,
            connections_max_per_ip: per_address,
            per_ip_overrides: overrides.iter().map(|(host, limit)| ((*host).to_owned(), *limit)).collect(),
        };
        ConnectionLimits::new(&settings).await
    }

    #[tokio::test]
    async fn an_address_over_its_own_limit_is_refused_and_a_closed_connection_gives_its_place_back() {
        let limits = limits(10, 1, &[("127.0.0.2", 2), ("localhost", 0)]).await;
        let (here, there, elsewhere) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into(), [127, 0, 0, 3].into());
        assert!(limits.admit(here).await.is_none(), "the host's own limit is 0");
        let both = (limits.admit(there).await, limits.admit(there).await);
        assert!(both.0.is_some() && both.1.is_some());
        assert!(limits.admit(there).await.is_none());
        let mapped = std::net::Ipv4Addr::new(127, 0, 0, 3).to_ipv6_mapped().into();
        let first = limits.admit(mapped).await;
        assert!(first.is_some() && limits.admit(elsewhere).await.is_none());
        drop(first);
        assert!(limits.admit(elsewhere).await.is_some());
    }

    #[tokio::test]
    async fn at_the_limit_a_connection_waits_until_another_one_goes() {
        let limits = limits(1, 10, &[]).await;
        let first = limits.admit([127, 0, 0, 1].into()).await;
        let waiting = limits.admit([127, 0, 0, 2].into());
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there was no place"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        assert!(waiting.await.is_some());
    }

    #[test]
    fn the_rate_lets_a_burst_pass_and_then_one_after_the_other() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(2, start);
        for _ in 0..20 {
            assert_eq!(arrivals.take(start), Duration::ZERO);
        }
        assert_eq!(arrivals.take(start), Duration::from_millis(500));
        assert_eq!(arrivals.take(start + Duration::from_millis(500)), Duration::from_millis(500));
        assert_eq!(arrivals.take(start + Duration::from_secs(3)), Duration::ZERO);
        arrivals.set_rate(0, start + Duration::from_secs(3));
        assert_eq!(arrivals.take(start + Duration::from_secs(3)), THROTTLE_MAX);
    }
}
