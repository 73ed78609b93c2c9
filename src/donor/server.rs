//! The listener, the clients, and the handle of it all.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use log::{info, warn};
use parking_lot::Mutex;

use super::DonorOptions;
use super::session;
use super::shared::Shared;
use super::snapshots::Snapshots;
use super::source::{History, LogSource};
use super::throttle::Throttle;
use crate::gtid::GtidSet;
use crate::net::{Closer, ServerTls};
use crate::wire::packet::write_packet;
use crate::wire::server::answer::Refusal;
use crate::wire::server::login::LoginPolicy;
use crate::{Error, ErrorKind, Result};

/// How long accepting pauses when the system refuses (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves binary logs to whoever may have them, until it is stopped or dropped.
///
/// ```no_run
/// use std::sync::Arc;
/// use rejoin::donor::{Account, BinlogDirectory, Donor, DonorOptions};
///
/// let source = Arc::new(BinlogDirectory::open("/var/lib/mysql")?);
/// let options = DonorOptions::new(vec![Account::new("recovery", b"secret")]);
/// let donor = Donor::start("0.0.0.0:3307", source, options)?;
/// println!("serving on {}", donor.local_addr());
/// donor.set_max_rate(Some(50_000_000));
/// donor.stop();
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct Donor {
    shared: Arc<Shared>,
    listener: Mutex<Option<JoinHandle<()>>>,
    address: SocketAddr,
}

/// What a donor does at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DonorStatus {
    /// Clients that are connected.
    pub connections: usize,
    /// Those that are being sent the binary log.
    pub dumps: Vec<DumpStatus>,
}

/// One client that is being sent the binary log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpStatus {
    /// Number of its connection.
    pub connection_id: u32,
    /// Its server UUID as it says; empty for tools.
    pub replica_uuid: String,
    /// Its server ID; 0 for tools.
    pub server_id: u32,
    /// The file that it is sent.
    pub file: String,
    /// How far.
    pub position: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
}

impl Donor {
    /// Listens on `address` and serves.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for options that cannot be used and an address that cannot be
    /// listened on, and what the source says.
    pub fn start(
        address: impl ToSocketAddrs,
        source: Arc<dyn LogSource>,
        options: DonorOptions,
    ) -> Result<Self> {
        options.check()?;
        let failed = |error: std::io::Error| {
            Error::new(
                ErrorKind::Configuration,
                format!("cannot listen there: {error}"),
            )
            .remedy("choose an address of this machine and a port that nobody uses")
            .caused_by(error)
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tls = match &options.tls {
            Some(tls) => tls.clone(),
            None => ServerTls::self_signed(&["rejoin".to_owned()])?,
        };
        let shared = Arc::new(Shared {
            history: History::new(Arc::clone(&source), options.limits.clone()),
            policy: LoginPolicy {
                server_version: options.server_version.clone(),
                accounts: options.accounts.clone().into(),
                offers_tls: true,
                requires_tls: options.require_secure_transport,
            },
            throttle: Throttle::new(options.max_rate),
            snapshots: Snapshots::default(),
            stop: Closer::new(),
            clients: Mutex::default(),
            source,
            options,
            tls,
        });
        // Files that cannot be read are better known now than when the first client comes.
        shared.history.executed()?;
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("rejoin-donor".to_owned())
            .spawn(move || accept(&listener, &serving))
            .map_err(no_thread)?;
        info!("donor on {address}");
        Ok(Self {
            shared,
            listener: Mutex::new(Some(thread)),
            address,
        })
    }

    /// Where it listens; with the port that the system chose, where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Sets the bytes a second for all clients together, from now on; `None` for no limit.
    pub fn set_max_rate(&self, bytes_per_second: Option<u64>) {
        self.shared.throttle.set_rate(bytes_per_second);
    }

    /// What is no longer in the binary logs that it serves (`gtid_purged`).
    ///
    /// # Errors
    /// What the source says.
    pub fn gtid_purged(&self) -> Result<GtidSet> {
        self.shared.history.purged()
    }

    /// What it does at this moment.
    pub fn status(&self) -> DonorStatus {
        let clients = self.shared.clients.lock();
        let dumps = clients.dumps.values().map(|ticket| {
            let (file, position) = ticket.position.lock().clone();
            DumpStatus {
                connection_id: ticket.connection_id,
                replica_uuid: ticket.replica_uuid.clone(),
                server_id: ticket.server_id,
                file,
                position,
                sent_bytes: ticket.sent_bytes.load(Ordering::Relaxed),
            }
        });
        DonorStatus {
            connections: clients
                .threads
                .values()
                .filter(|t| !t.is_finished())
                .count(),
            dumps: dumps.collect(),
        }
    }

    /// Closes every connection, listens no more, and waits for all threads; takes no longer than a
    /// moment.
    pub fn stop(&self) {
        self.shared.stop.close();
        if let Some(listener) = self.listener.lock().take() {
            // Wakes the listener, which then sees that it is over.
            let _ = TcpStream::connect_timeout(&self.reachable(), Duration::from_secs(1));
            let _ = listener.join();
        }
        let threads = std::mem::take(&mut self.shared.clients.lock().threads);
        for thread in threads.into_values() {
            let _ = thread.join();
        }
    }

    /// Our own address for ourselves: one that stands for all cannot be connected to everywhere.
    fn reachable(&self) -> SocketAddr {
        let mut address = self.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        address
    }
}

impl Drop for Donor {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.stop.is_closed() {
            return;
        }
        match accepted {
            Ok((socket, peer)) => {
                if let Err(error) = admit(socket, shared) {
                    warn!("client {peer} cannot be served: {error}");
                }
            }
            Err(error) => {
                warn!("no client can be accepted: {error}");
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Gives a client its thread, or sends it away.
fn admit(socket: TcpStream, shared: &Arc<Shared>) -> Result<()> {
    let mut clients = shared.clients.lock();
    clients.threads.retain(|_, thread| !thread.is_finished());
    if clients.threads.len() >= shared.options.max_connections {
        drop(clients);
        return turn_away(&socket);
    }
    clients.next_id = clients.next_id.wrapping_add(1).max(1);
    let id = clients.next_id;
    let serving = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name(format!("rejoin-donor-{id}"))
        .spawn(move || session::run(socket, id, &serving))
        .map_err(no_thread)?;
    clients.threads.insert(id, thread);
    Ok(())
}

/// Says why in one packet, which fits the socket's buffer: nobody is waited for.
fn turn_away(mut socket: &TcpStream) -> Result<()> {
    let refusal = Refusal::with_state(1040, "08004", "Too many connections");
    let mut bytes = Vec::new();
    write_packet(0, &refusal.packet(), &mut bytes);
    let failed = |error: std::io::Error| Error::new(ErrorKind::Network, error.to_string());
    socket.set_nonblocking(true).map_err(failed)?;
    socket.write_all(&bytes).map_err(failed)
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("cannot start a thread: {error}"),
    )
    .caused_by(error)
}
