//! A limit on what all connections together send, in bytes a second, that can be changed at any time.
//!
//! A token bucket that may go into debt: who finds tokens takes as many as it needs and sends; who
//! finds none waits until the debt is paid. So a packet of any size passes, and on average the rate
//! is kept.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How many seconds' worth of tokens may be saved up by silence.
const BURST_SECONDS: f64 = 0.1;

/// The longest wait before the caller's wish to stop is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Throttle {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Bytes a second; `None` for no limit.
    rate: Option<f64>,
    /// Bytes that may be sent at once; negative: what was sent ahead.
    tokens: f64,
    filled: Instant,
}

impl Throttle {
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self {
            state: Mutex::new(State {
                rate: rate.map(as_rate),
                tokens: 0.0,
                filled: Instant::now(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Sets the rate; who waits goes on by it.
    pub(super) fn set_rate(&self, rate: Option<u64>) {
        let mut state = self.state.lock();
        state.fill(Instant::now());
        state.rate = rate.map(as_rate);
        // A debt made at a high rate would take long to pay at a low one.
        state.tokens = state.tokens.max(-state.rate.unwrap_or(0.0));
        self.changed.notify_all();
    }

    /// Waits until `bytes` may be sent; `false` when `stop` says so first.
    pub(super) fn take(&self, bytes: usize, stop: impl Fn() -> bool) -> bool {
        let mut state = self.state.lock();
        loop {
            if stop() {
                return false;
            }
            state.fill(Instant::now());
            let Some(rate) = state.rate else {
                return true;
            };
            if state.tokens > 0.0 {
                state.tokens -= bytes as f64;
                return true;
            }
            let wait = Duration::from_secs_f64((1.0 - state.tokens) / rate);
            self.changed.wait_for(&mut state, wait.min(LOOK_INTERVAL));
        }
    }
}

impl State {
    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        if let Some(rate) = self.rate {
            self.tokens = (self.tokens + passed * rate).min(rate * BURST_SECONDS);
        }
    }
}

fn as_rate(bytes: u64) -> f64 {
    bytes.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn the_rate_is_kept_by_all_together_and_can_be_raised_meanwhile() {
        let throttle = Throttle::new(Some(100_000));
        let sent = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while throttle.take(1000, || stop.load(Ordering::Relaxed)) {
                        sent.fetch_add(1000, Ordering::Relaxed);
                    }
                });
            }
            thread::sleep(Duration::from_millis(500));
            let slow = sent.load(Ordering::Relaxed);
            assert!((20_000..=70_000).contains(&slow), "{slow} bytes in 0.5 s");
            throttle.set_rate(Some(10_000_000));
            thread::sleep(Duration::from_millis(300));
            let fast = sent.load(Ordering::Relaxed) - slow;
            assert!(fast >= 1_000_000, "{fast} bytes in 0.3 s");
            throttle.set_rate(Some(1));
            stop.store(true, Ordering::Relaxed);
        });
    }
}
