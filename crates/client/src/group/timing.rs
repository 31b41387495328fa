//! The clocks of a membership: pauses between attempts, heartbeats, the session.

use std::time::{Duration, Instant};

use millstream_types::GenerationId;

use super::membership::RequestId;

/// Pauses that double with each failure.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, failures: 0, until: None }
    }

    pub(super) fn failed(&mut self, now: Instant) {
        let pause = self.first * 2u32.saturating_pow(self.failures.min(16));
        self.until = Some(now + pause.min(self.longest));
        self.failures += 1;
    }

    pub(super) fn reset(&mut self) {
        (self.failures, self.until) = (0, None);
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    pub(super) fn end(&self) -> Option<Instant> {
        self.until
    }
}

/// One heartbeat is under way at a time; the session lives while they are answered.
#[derive(Debug)]
pub(super) struct Heartbeats {
    interval: Duration,
    session_timeout: Duration,
    retry_backoff: Duration,
    next: Instant,
    session_end: Instant,
    /// With the generation it names.
    under_way: Option<(RequestId, GenerationId)>,
}

impl Heartbeats {
    pub(super) fn new(
        interval: Duration,
        session_timeout: Duration,
        retry_backoff: Duration,
        now: Instant,
    ) -> Self {
        let (next, session_end) = (now + interval, now + session_timeout);
        Self { interval, session_timeout, retry_backoff, next, session_end, under_way: None }
    }

    /// A new generation: what is under way belongs to the old one.
    pub(super) fn reset(&mut self, now: Instant) {
        self.under_way = None;
        self.next = now + self.interval;
        self.restart_session(now);
    }

    pub(super) fn restart_session(&mut self, now: Instant) {
        self.session_end = now + self.session_timeout;
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.under_way.is_none() && now >= self.next
    }

    pub(super) fn sent(&mut self, now: Instant, id: RequestId, generation: GenerationId) {
        self.under_way = Some((id, generation));
        self.next = now + self.interval;
    }

    /// The generation of the heartbeat that this answers, if it is the one under way.
    pub(super) fn answered(&mut self, id: RequestId) -> Option<GenerationId> {
        self.under_way.take_if(|(sent, _)| *sent == id).map(|(_, generation)| generation)
    }

    pub(super) fn alive(&mut self, now: Instant) {
        self.restart_session(now);
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.next = now + self.retry_backoff;
    }

    pub(super) fn session_is_over(&self, now: Instant) -> bool {
        now >= self.session_end
    }

    pub(super) fn next_wakeup(&self, can_send: bool) -> Instant {
        match self.under_way {
            None if can_send => self.next.min(self.session_end),
            _ => self.session_end,
        }
    }
}
