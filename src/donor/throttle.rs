//! A limit on what all connections together send, in bytes a second, that can be changed at any time.
//!
//! ```text
//! reserved   0 ... A: 32 KiB | B: 32 KiB | C: 9 KiB | A: 32 KiB        bytes, in the order of asking
//! clock                 ^ moves on by the rate: whoever it has reached may send
//! ```
//!
//! So a packet of any size passes, the rate is kept on average, and connections take turns: none of
//! them waits while another one sends twice.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How many seconds' worth of bytes may be saved up by silence.
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
    /// Bytes that were asked for.
    reserved: f64,
    /// Bytes that the rate has allowed.
    clock: f64,
    ticked: Instant,
}

impl Throttle {
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self {
            state: Mutex::new(State {
                rate: rate.map(as_rate),
                reserved: 0.0,
                clock: 0.0,
                ticked: Instant::now(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Sets the rate; who waits goes on by it.
    pub(super) fn set_rate(&self, rate: Option<u64>) {
        let mut state = self.state.lock();
        state.tick(Instant::now());
        state.rate = rate.map(as_rate);
        self.changed.notify_all();
    }

    /// Waits until `bytes` may be sent; `false` when `stop` says so first.
    pub(super) fn take(&self, bytes: usize, stop: impl Fn() -> bool) -> bool {
        let mut state = self.state.lock();
        state.tick(Instant::now());
        let turn = state.reserved;
        state.reserved += bytes as f64;
        loop {
            if stop() {
                return false;
            }
            state.tick(Instant::now());
            let Some(rate) = state.rate.filter(|_| state.clock < turn) else {
                return true;
            };
            // Rounded up, or the last nanosecond would be waited for again and again.
            let wait =
                Duration::from_secs_f64((turn - state.clock) / rate) + Duration::from_micros(1);
            self.changed.wait_for(&mut state, wait.min(LOOK_INTERVAL));
        }
    }
}

impl State {
    fn tick(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.ticked).as_secs_f64();
        self.ticked = now;
        self.clock = match self.rate {
            Some(rate) => (self.clock + passed * rate).min(self.reserved + rate * BURST_SECONDS),
            None => self.reserved,
        };
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

    /// Four threads take 1000 bytes at a time, whenever they may, while `during` runs.
    fn taking<T>(throttle: &Throttle, during: impl FnOnce(&AtomicU64) -> T) -> T {
        let taken = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while throttle.take(1000, || stop.load(Ordering::Relaxed)) {
                        taken.fetch_add(1000, Ordering::Relaxed);
                    }
                });
            }
            let result = during(&taken);
            stop.store(true, Ordering::Relaxed);
            result
        })
    }

    #[test]
    fn all_together_take_no_more_than_the_rate() {
        let throttle = Throttle::new(Some(100_000));
        let began = Instant::now();
        taking(&throttle, |taken| {
            while taken.load(Ordering::Relaxed) < 50_000 {
                thread::sleep(Duration::from_millis(1));
            }
        });
        // What was saved up, and what was sent ahead.
        let without = 100_000.0 * BURST_SECONDS + 1000.0;
        let least = Duration::from_secs_f64((50_000.0 - without) / 100_000.0);
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    }

    #[test]
    fn a_rate_that_is_raised_counts_at_once() {
        let throttle = Throttle::new(Some(1000));
        taking(&throttle, |taken| {
            while taken.load(Ordering::Relaxed) == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            // By the old rate this would take more than a quarter of an hour.
            throttle.set_rate(Some(10_000_000));
            let deadline = Instant::now() + Duration::from_secs(100);
            while taken.load(Ordering::Relaxed) < 1_000_000 {
                assert!(Instant::now() < deadline, "{taken:?}");
                thread::sleep(Duration::from_millis(1));
            }
        });
    }

    /// Otherwise whoever is awake already takes turn after turn.
    #[test]
    fn who_has_asked_first_goes_first() {
        let throttle = Throttle::new(Some(1_000_000));
        let turns: Vec<AtomicU64> = (0..20).map(|_| AtomicU64::new(0)).collect();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for turns in &turns {
                let (throttle, stop) = (&throttle, &stop);
                scope.spawn(move || {
                    while throttle.take(1000, || stop.load(Ordering::Relaxed)) {
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let deadline = Instant::now() + Duration::from_secs(100);
            while turns.iter().any(|turns| turns.load(Ordering::Relaxed) < 20) {
                assert!(Instant::now() < deadline, "{turns:?}");
                thread::sleep(Duration::from_millis(1));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let most = turns
            .iter()
            .map(|turns| turns.load(Ordering::Relaxed))
            .max();
        // Threads that have no processor cannot ask; those that can do so in turn.
        assert!(most < Some(200), "{turns:?}");
    }
}
