//! How many connections there may be, in all and from one address, and how fast new ones may come.
//! `kafka.network.ConnectionQuotas`: at `max.connections`, and above the creation rate, an accepted
//! connection waits and all after it stay in the backlog; above an address's own limit it is closed. When
//! `max.connections` is lowered below what is open, the least recently used are closed
//! (`Processor.closeExcessConnections`).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use millstream_config::ConnectionLimits as Settings;
use millstream_telemetry::Metrics;
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tracing::{info, warn};

use super::repeats::Repeats;
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
    metrics: Arc<Metrics>,
    /// Of the lines about connections.
    pub(super) repeats: Repeats,
    /// From which the last use of a connection is counted.
    started: Instant,
}

#[derive(Default)]
struct Open {
    places: HashMap<PlaceId, Arc<Place>>,
    by_address: HashMap<IpAddr, usize>,
    /// How many there ever were.
    admitted: u64,
}

/// Counted from the broker's first connection on.
type PlaceId = u64;

struct Place {
    address: IpAddr,
    /// Nanoseconds since the limits' start.
    last_used_ns: AtomicU64,
    is_excess: AtomicBool,
    close: Notify,
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
    id: PlaceId,
    place: Arc<Place>,
}

impl ConnectionLimits {
    pub(crate) async fn new(settings: &Settings, metrics: Arc<Metrics>) -> Arc<Self> {
        let maxima = Maxima::resolve(settings).await;
        let started = Instant::now();
        Arc::new(Self {
            arrivals: Mutex::new(Arrivals::new(maxima.rate, started)),
            maxima: RwLock::new(Arc::new(maxima)),
            open: Mutex::default(),
            moved: Notify::new(),
            metrics,
            repeats: Repeats::default(),
            started,
        })
    }

    /// Takes over what changes, until the settings are gone.
    pub(crate) async fn follow(self: Arc<Self>, mut settings: watch::Receiver<Arc<Current>>) {
        while settings.changed().await.is_ok() {
            let current = Arc::clone(&settings.borrow_and_update());
            let maxima = Maxima::resolve(&current.broker.network.limits).await;
            self.arrivals.lock().set_rate(maxima.rate, Instant::now());
            let connections_max = maxima.total;
            *self.maxima.write() = Arc::new(maxima);
            self.close_excess(connections_max);
            self.moved.notify_waiters();
        }
    }

    fn close_excess(&self, connections_max: usize) {
        let open = self.open.lock();
        let mut places: Vec<&Arc<Place>> =
            open.places.values().filter(|place| !place.is_excess.load(Ordering::Relaxed)).collect();
        let excess = places.len().saturating_sub(connections_max);
        if excess == 0 {
            return;
        }
        places.sort_by_key(|place| place.last_used_ns.load(Ordering::Relaxed));
        for place in &places[..excess] {
            place.is_excess.store(true, Ordering::Relaxed);
            place.close.notify_one();
        }
        warn!(
            "max.connections is now {connections_max}: the {excess} connections that were used least recently are closed"
        );
    }

    /// Waits until the connection may be served; `None` when its address has too many already.
    pub(crate) async fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Permit> {
        let address = address.to_canonical();
        let mut is_delayed = false;
        let permit = loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Registered before looking, so that what moves in between is not missed.
            moved.as_mut().enable();
            match self.try_admit(address) {
                Admission::Admitted(permit) => break permit,
                Admission::TooManyFromAddress(limit) => {
                    self.metrics.limited("max.connections.per.ip");
                    if let Some(left_out) = self.repeats.line("max.connections.per.ip") {
                        warn!(%address, "connection refused: max.connections.per.ip is {limit} for it{left_out}");
                    }
                    return None;
                }
                Admission::Full(_) if is_delayed => moved.await,
                Admission::Full(limit) => {
                    is_delayed = true;
                    self.metrics.limited("max.connections");
                    if let Some(left_out) = self.repeats.line("max.connections") {
                        warn!(%address, "connections wait for others to close: max.connections is {limit}{left_out}");
                    }
                    moved.await;
                }
            }
        };
        let throttled = self.arrivals.lock().take(Instant::now());
        if !throttled.is_zero() {
            self.metrics.limited("max.connection.creation.rate");
            if let Some(left_out) = self.repeats.line("max.connection.creation.rate") {
                info!(%address, ?throttled, "connection delayed: max.connection.creation.rate is exceeded{left_out}");
            }
            tokio::time::sleep(throttled).await;
        }
        Some(permit)
    }

    fn try_admit(self: &Arc<Self>, address: IpAddr) -> Admission {
        let mut open = self.open.lock();
        // Behind the lock: whoever lowers the limits and then looks for excess sees this one or is seen by it.
        let maxima = Arc::clone(&self.maxima.read());
        if open.places.len() >= maxima.total {
            return Admission::Full(maxima.total);
        }
        let limit = maxima.of(address);
        let from_address = open.by_address.entry(address).or_default();
        if *from_address >= limit {
            return Admission::TooManyFromAddress(limit);
        }
        *from_address += 1;
        open.admitted += 1;
        let id = open.admitted;
        let place = Arc::new(Place {
            address,
            last_used_ns: AtomicU64::new(self.since_start_ns(Instant::now())),
            is_excess: AtomicBool::new(false),
            close: Notify::new(),
        });
        open.places.insert(id, Arc::clone(&place));
        Admission::Admitted(Permit { limits: Arc::clone(self), id, place })
    }

    fn since_start_ns(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// With the limit that stands in the way.
enum Admission {
    Admitted(Permit),
    TooManyFromAddress(usize),
    Full(usize),
}

impl Permit {
    /// The connection was used.
    pub(crate) fn touch(&self, at: Instant) {
        self.place.last_used_ns.store(self.limits.since_start_ns(at), Ordering::Relaxed);
    }

    pub(super) fn repeats(&self) -> &Repeats {
        &self.limits.repeats
    }

    /// Waits until the connection has to go because there are too many.
    pub(crate) async fn is_excess(&self) {
        self.place.close.notified().await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let address = self.place.address;
        let mut open = self.limits.open.lock();
        open.places.remove(&self.id);
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
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
        ConnectionLimits::new(&settings, Arc::default()).await
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

    #[tokio::test]
    async fn when_the_limit_is_lowered_the_least_recently_used_connections_have_to_go() {
        let limits = limits(10, 10, &[]).await;
        let mut permits = Vec::new();
        for used_ns in [30, 10, 20, 40] {
            let permit = limits.admit([127, 0, 0, 1].into()).await.unwrap();
            permit.place.last_used_ns.store(used_ns, Ordering::Relaxed);
            permits.push(permit);
        }
        limits.close_excess(3);
        limits.close_excess(2);
        let excess = |permit: &Permit| permit.place.is_excess.load(Ordering::Relaxed);
        assert_eq!(permits.iter().map(excess).collect::<Vec<_>>(), [false, true, true, false]);
        permits[1].is_excess().await;
        permits[2].is_excess().await;
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
