//! `rejoin donate`: serve binary logs to any joiner.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::arguments::Donate;
use super::process;
use crate::donor::{Account, BinlogDirectory, Donor, DonorOptions};
use crate::net::ServerTls;
use crate::{Error, ErrorKind, Result};

/// How long it takes at most until a signal is noticed.
const WAIT: Duration = Duration::from_millis(50);

pub(super) fn run(options: &Donate) -> Result<()> {
    process::start_log(&options.verbosity, false);
    let stop = process::watch_signals()?;
    let source = Arc::new(source(options)?);
    let donor = Donor::start(&*options.listen, source, donor_options(options)?)?;
    // For scripts, which may have left the port to the system.
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "listening on {}", donor.local_addr())
        .and_then(|()| stdout.flush())
        .map_err(|error| {
            Error::new(
                ErrorKind::TargetIo,
                format!("cannot write to stdout: {error}"),
            )
        })?;
    drop(stdout);
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(WAIT);
    }
    donor.stop();
    Ok(())
}

fn source(options: &Donate) -> Result<BinlogDirectory> {
    if let Some(store) = &options.store {
        return BinlogDirectory::open_store(store);
    }
    let directory = options.binlog_dir.as_ref().ok_or_else(|| {
        Error::new(
            ErrorKind::Configuration,
            "neither --store nor --binlog-dir is given",
        )
    })?;
    BinlogDirectory::open(directory)
}

fn donor_options(options: &Donate) -> Result<DonorOptions> {
    let path = &options.password_file;
    let password = std::fs::read(path).map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("password file {} cannot be read: {error}", path.display()),
        )
    })?;
    // The end of the line is the editor's.
    let password = password.strip_suffix(b"\n").unwrap_or(&password);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    let mut donor = DonorOptions::new(vec![Account::new(&options.user, password)]);
    if let (Some(cert), Some(key)) = (&options.tls_cert, &options.tls_key) {
        donor.tls = Some(ServerTls::from_pem(cert, key)?);
    }
    donor.max_rate = options.max_rate;
    Ok(donor)
}
