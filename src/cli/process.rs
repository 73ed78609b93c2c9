//! What the commands that stay need of their process: a log and the signals that end them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use log::LevelFilter;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::arguments::Verbosity;
use crate::{Error, ErrorKind, Result};

/// Starts the log on stderr. `drawn`: a progress bar tells what `info` lines would.
pub(super) fn start_log(verbosity: &Verbosity, drawn: bool) {
    let level = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => LevelFilter::Warn,
        (_, 0) if drawn => LevelFilter::Warn,
        (_, 0) => LevelFilter::Info,
        (_, 1) => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("rejoin", level)
        .parse_default_env()
        .init();
}

/// The first signal stops cleanly, the second one at once.
pub(super) fn watch_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| {
                Error::new(
                    ErrorKind::Internal,
                    format!("cannot watch signals: {error}"),
                )
            })?;
    }
    Ok(stop)
}
