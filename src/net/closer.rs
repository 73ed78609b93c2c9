//! Ends connections from another thread.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

/// A handle that closes connections while another thread reads from them.
///
/// Closing shuts the sockets down, below TLS, so a thread that waits for bytes wakes at once and gets
/// an error of kind [`ErrorKind::Interrupted`]. A closer given to
/// [`Connection::connect_with`](super::Connection::connect_with) works from before the first byte,
/// so that a connect or login that hangs can be ended too; it may be given to several, and closes
/// them all. Closing is for good: what is connected with it later is refused.
///
/// ```
/// let closer = rejoin::net::Closer::new();
/// closer.close();
/// assert!(closer.is_closed());
/// ```
#[derive(Clone, Default)]
pub struct Closer(Arc<State>);

#[derive(Default)]
struct State {
    /// Set once, before the sockets are shut: whoever then sees one fail knows why.
    closed: AtomicBool,
    sockets: Mutex<Sockets>,
}

/// A second handle of each connection's socket, by the order in which they came.
#[derive(Default)]
struct Sockets {
    next: u64,
    open: BTreeMap<u64, TcpStream>,
}

/// Names the socket of one connection to its closer.
#[derive(Debug)]
pub(super) struct Attachment(u64);

impl Closer {
    /// A closer of a connection still to be made.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the connection, now or as soon as it is made. Does not block.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        for socket in self.0.sockets.lock().open.values() {
            // Fails only where the peer was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// Takes charge of the socket of a new connection.
    pub(super) fn attach(&self, socket: &TcpStream) -> Result<Attachment> {
        let handle = socket.try_clone().map_err(|error| {
            Error::new(ErrorKind::Network, "cannot duplicate the socket").caused_by(error)
        })?;
        let mut sockets = self.0.sockets.lock();
        // Under the lock: a close that did not set the flag yet will find the socket.
        if self.is_closed() {
            return Err(Self::interrupted());
        }
        let id = sockets.next;
        sockets.next += 1;
        sockets.open.insert(id, handle);
        Ok(Attachment(id))
    }

    /// Lets go of the socket, which this handle would otherwise keep open.
    pub(super) fn detach(&self, attachment: &Attachment) {
        self.0.sockets.lock().open.remove(&attachment.0);
    }

    #[cold]
    pub(crate) fn interrupted() -> Error {
        Error::new(
            ErrorKind::Interrupted,
            "the connection was closed by this program",
        )
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
