//! `rejoin recover`: join, recover, ONLINE; and stay, with `--follow`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::arguments::Recover;
use super::process;
use super::progress::Progress;
use super::{group, json};
use crate::engine::{Event, Events, Member};
use crate::recovery::{Phase, Settings};
use crate::target::store::Store;
use crate::{Error, ErrorKind, Result};

/// How often progress is printed or drawn.
const PROGRESS: Duration = Duration::from_millis(500);
/// How long the loop waits for an event before it looks at the signals again.
const WAIT: Duration = Duration::from_millis(50);

pub(super) fn run(options: &Recover) -> Result<()> {
    let progress = if options.json {
        Progress::hidden()
    } else {
        Progress::new()
    };
    process::start_log(&options.verbosity, progress.is_drawn());
    let result = recover(options, &progress);
    progress.finish();
    if let (true, Err(error)) = (options.json, &result) {
        json::error(error);
    }
    result
}

fn recover(options: &Recover, progress: &Progress) -> Result<()> {
    let stop = process::watch_signals()?;
    let group = group::connect(&options.group)?;
    let store = Store::open(&options.store)?;
    let settings = Settings {
        recovery_retry_count: options.recovery_retry_count,
        recovery_reconnect_interval: Duration::from_secs(
            options.recovery_reconnect_interval.into(),
        ),
        clone_threshold: options.clone_threshold,
        ..Settings::default()
    };
    let builder = Member::builder(group, store)
        .settings(settings)
        .cache_bytes(options.cache_bytes)
        .sync_relay_log(options.sync_relay_log);
    let events = builder.events();
    let member = builder.start()?;
    let online = watch(options, progress, &member, &events, &stop);
    if online {
        let status = member.status();
        member.stop();
        member.join()?;
        if options.json && options.follow {
            // The last line says where the member stood when it was stopped.
            json::event(&Event::Online {
                gtid_executed: status.gtid_executed,
                transactions: status.transactions,
                elapsed: status.elapsed,
                attempts: status.attempts,
            });
        }
        return Ok(());
    }
    member.stop();
    member.join()?;
    Err(Error::new(
        ErrorKind::Interrupted,
        "interrupted before the member was ONLINE",
    )
    .remedy("run the same command again: it goes on where it stopped"))
}

/// Shows what happens until the member is ONLINE (and beyond, with `--follow`), has ended, or a
/// signal came. Whether it was ONLINE.
fn watch(
    options: &Recover,
    progress: &Progress,
    member: &Member,
    events: &Events,
    stop: &AtomicBool,
) -> bool {
    let mut online = false;
    let mut shown: Option<Instant> = None;
    loop {
        if shown.is_none_or(|at| at.elapsed() >= PROGRESS) {
            shown = Some(Instant::now());
            let status = member.status();
            progress.show(&status);
            if options.json && status.phase != Phase::Ended {
                json::progress(&status);
            }
        }
        if let Some(event) = events.next_timeout(WAIT) {
            if options.json {
                json::event(&event);
            }
            progress.tell(&event);
            online |= matches!(event, Event::Online { .. });
            if online && !options.follow {
                return true;
            }
        } else if member.is_ended() {
            return online;
        }
        if stop.load(Ordering::Relaxed) {
            return online;
        }
    }
}
