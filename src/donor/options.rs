//! How a donor serves.

use std::time::Duration;

use crate::net::ServerTls;
use crate::wire::server::login::Account;
use crate::{Error, ErrorKind, Limits, Result};

/// How a [`Donor`](super::Donor) serves.
///
/// ```
/// use rejoin::donor::{Account, DonorOptions};
///
/// let mut options = DonorOptions::new(vec![Account::new("recovery", b"secret")]);
/// options.max_rate = Some(10_000_000);
/// assert_eq!(options.max_connections, 151);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DonorOptions {
    /// Who may log in.
    pub accounts: Vec<Account>,
    /// The certificate; `None` for one that is made at the start and proves nothing about who we
    /// are, as mysqld makes its own.
    pub tls: Option<ServerTls>,
    /// Whether logins without TLS are refused (`require_secure_transport`). Default true.
    pub require_secure_transport: bool,
    /// Clients at a time (`max_connections`). Default 151, as mysqld.
    pub max_connections: usize,
    /// How long a login may take (`connect_timeout`). Default 10 s.
    pub connect_timeout: Duration,
    /// How long a client may be silent between commands (`wait_timeout`). Default 10 minutes. A dump
    /// is one command, however long it takes.
    pub wait_timeout: Duration,
    /// How long a client may leave unread what is sent to it (`net_write_timeout`); clients may set
    /// another one for themselves. Default 60 s.
    pub net_write_timeout: Duration,
    /// Largest command, in bytes. Default 32 MiB: room for a set of a million GTID intervals.
    pub command_bytes: usize,
    /// Clones at a time. Each keeps in memory what the store has changed since it began. Default 8.
    pub max_clones: usize,
    /// Bytes a second for all clients together; `None` for no limit. Can be changed while serving.
    pub max_rate: Option<u64>,
    /// The version that clients are told. Default `9.7.4-rejoin`.
    pub server_version: String,
    /// Bounds on what is read from the files and from clients.
    pub limits: Limits,
}

impl DonorOptions {
    /// The defaults, for these accounts.
    pub fn new(accounts: Vec<Account>) -> Self {
        Self {
            accounts,
            tls: None,
            require_secure_transport: true,
            max_connections: 151,
            connect_timeout: Duration::from_secs(10),
            wait_timeout: Duration::from_secs(600),
            net_write_timeout: Duration::from_secs(60),
            command_bytes: 32 << 20,
            max_clones: 8,
            max_rate: None,
            server_version: "9.7.4-rejoin".to_owned(),
            limits: Limits::default(),
        }
    }

    /// # Errors
    /// [`ErrorKind::Configuration`], naming the option.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = if self.accounts.is_empty() {
            "accounts is empty: nobody could log in"
        } else if self.max_connections == 0 {
            "max_connections is 0"
        } else if self.connect_timeout.is_zero() || self.net_write_timeout.is_zero() {
            "connect_timeout or net_write_timeout is 0"
        } else if self.max_rate == Some(0) {
            "max_rate is 0"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Configuration, wrong))
    }
}
