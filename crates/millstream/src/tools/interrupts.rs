//! Signals that end a tool in the midst of its work, which first finishes what it has begun.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{Exit, Outcome};

pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// From here on none of these signals ends the process by itself, also between two waits.
    pub(super) fn new() -> Outcome<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal. The exit code is that of a shell, and of a JVM: 128 and the signal's number.
    pub(super) async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::silent(130),
            _ = self.terminate.recv() => Exit::silent(143),
            _ = self.hangup.recv() => Exit::silent(129),
        }
    }
}
