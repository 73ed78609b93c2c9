//! `rejoin recover`: join, recover, ONLINE; and stay, with `--follow`.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::arguments::Recover;
use super::process;
use super::progress::Progress;
use super::{attempts, group, json, verify};
use crate::engine::{Event, Events, Member, Status};
use crate::recovery::Phase;
use crate::target::store::{Store, StoreOptions};
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
    let mut last = None;
    let result = recover(options, &progress, &mut last);
    progress.finish();
    if let Err(error) = &result {
        if options.json {
            json::recovery_error(error, last.as_ref());
        }
        if let Some(status) = &last {
            // What was tried, above the error in which it ended.
            let table = attempts::table(&status.attempt_records);
            let _ = std::io::stderr().lock().write_all(table.as_bytes());
        }
    }
    result
}

/// `last` is how the member stood when it ended, if there ever was one.
fn recover(options: &Recover, progress: &Progress, last: &mut Option<Status>) -> Result<()> {
    let stop = process::watch_signals()?;
    let group = group::connect(&options.group)?;
    let store_options = StoreOptions {
        memory_bytes: options.store_memory,
        replica_parallel_workers: usize::from(options.replica_parallel_workers),
        ..StoreOptions::default()
    };
    let store =
        Store::open_with(&options.store, store_options)?.with_key_source(group.key_source());
    let reader = store.reader();
    let builder = Member::builder(group, store)
        .settings(options.settings.settings())
        .cache_bytes(options.cache_bytes)
        .sync_relay_log(options.sync_relay_log);
    let events = builder.events();
    let member = builder.start()?;
    let check = || match options.verify {
        true => verify::before_online(&options.group, &reader, options.json, &stop),
        false => Ok(()),
    };
    let watched = watch(options, progress, &member, &events, &stop, check);
    let status = last.insert(member.status());
    member.stop();
    member.join()?;
    let online = watched?;
    if online {
        if options.json && options.follow {
            // The last line says where the member stood when it was stopped.
            let online = Event::Online {
                gtid_executed: status.gtid_executed.clone(),
                transactions: status.transactions,
                elapsed: status.elapsed,
                attempts: status.attempts,
            };
            json::event(&online, &status.attempt_records);
        }
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Interrupted,
        "interrupted before the member was ONLINE",
    )
    .remedy("run the same command again: it goes on where it stopped"))
}

/// Shows what happens until the member is ONLINE (and beyond, with `--follow`), has ended, or a
/// signal came. Whether it was ONLINE, which `check` may refuse to call it.
fn watch(
    options: &Recover,
    progress: &Progress,
    member: &Member,
    events: &Events,
    stop: &AtomicBool,
    check: impl Fn() -> Result<()>,
) -> Result<bool> {
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
            if matches!(event, Event::Online { .. }) && !online {
                check()?;
            }
            if options.json {
                json::event(&event, &member.status().attempt_records);
            }
            progress.tell(&event);
            online |= matches!(event, Event::Online { .. });
            if online && !options.follow {
                return Ok(true);
            }
        } else if member.is_ended() {
            return Ok(online);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(online);
        }
    }
}
