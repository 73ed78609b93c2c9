//! A progress bar on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::{CloneState, Event, Status};
use crate::recovery::Phase;

/// Draws on stderr; nothing is drawn where stderr is no terminal.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg}\n{wide_bar} {pos}/{len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self { bar }
    }

    pub(super) fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    pub(super) fn is_drawn(&self) -> bool {
        !self.bar.is_hidden()
    }

    pub(super) fn show(&self, status: &Status) {
        let what = match status.phase {
            Phase::RelayLog => "applying the relay log".into(),
            Phase::Joining => "joining".into(),
            Phase::Cloning => match (&status.donor, status.clone) {
                (Some(donor), Some(clone)) => format!(
                    "cloning {donor}: {} of {} tables, {} rows, {:.1} MB",
                    clone.tables_copied,
                    clone.tables,
                    clone.rows,
                    clone.bytes as f64 / 1e6
                ),
                _ => "cloning".into(),
            },
            Phase::Sleeping => "sleeping, all donors were tried".into(),
            Phase::Transfer => match &status.donor {
                Some(donor) => format!("phase 1, from {donor}"),
                None => "phase 1".into(),
            },
            Phase::CatchUp => "phase 2".into(),
            Phase::Online => "ONLINE".into(),
            Phase::Ended => "ended".into(),
        };
        let eta = match status.eta {
            Some(time) if time > Duration::ZERO => format!(", {} s left", time.as_secs()),
            _ => String::new(),
        };
        self.bar.set_message(format!(
            "{what}: {} transactions/s, {:.1} MB received, {} queued{eta}",
            status.rate,
            status.received_bytes as f64 / 1e6,
            status.queued,
        ));
        let all = status.transactions + status.missing + status.queued;
        // Before the join nothing is known to be missing; a bar of nothing would look finished.
        self.bar.set_length(all.max(1));
        self.bar.set_position(status.transactions);
    }

    /// A line above the bar for what a person wants to know.
    pub(super) fn tell(&self, event: &Event) {
        let line = match event {
            Event::Planned(plan) => format!(
                "{} transactions are missing: {}",
                plan.missing.count(),
                plan.reason
            ),
            Event::Clone {
                donor,
                progress,
                state,
            } => match state {
                CloneState::Copying => return,
                CloneState::Complete => format!(
                    "{} was cloned: {} tables, {} rows",
                    donor.address, progress.tables, progress.rows
                ),
                CloneState::Failed { message, .. } => {
                    format!("cloning {} failed: {message}", donor.address)
                }
            },
            Event::Donor { attempt, of, donor } => {
                format!("donor {} (attempt {attempt} of {of})", donor.address)
            }
            Event::Failover(record) => match &record.end {
                Some(end) => format!("donor {} failed: {}", record.donor.address, end.message),
                None => return,
            },
            Event::Sleep(time) => format!("all donors were tried, sleeping {} s", time.as_secs()),
            Event::Online {
                transactions,
                elapsed,
                ..
            } => format!(
                "ONLINE after {:.1} s: {transactions} transactions applied",
                elapsed.as_secs_f64()
            ),
            Event::CatchUp => "phase 2: applying what the group did meanwhile".into(),
        };
        self.bar.println(line);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
