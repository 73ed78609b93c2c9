//! Ends a connection from another thread.

use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::{Error, ErrorKind, Result};

/// A handle that closes a connection while another thread reads from it.
///
/// Closing shuts the socket down, below TLS, so a thread that waits for bytes wakes at once and gets
/// an error of kind [`ErrorKind::Interrupted`]. A closer given to
/// [`Connection::connect_with`](super::Connection::connect_with) works from before the first byte,
/// so that a connect or login that hangs can be ended too.
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
    /// Set once, before the socket is shut: whoever then sees the socket fail knows why.
    closed: AtomicBool,
    /// A second handle of the connection's socket, while there is one.
    socket: Mutex<Option<TcpStream>>,
}

impl Closer {
    /// A closer of a connection still to be made.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the connection, now or as soon as it is made. Does not block.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        if let Some(socket) = self.0.socket.lock().as_ref() {
            // Fails only where the peer was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// Takes charge of the socket of a new connection.
    pub(super) fn attach(&self, socket: &TcpStream) -> Result<()> {
        let handle = socket.try_clone().map_err(|error| {
            Error::new(ErrorKind::Network, "cannot duplicate the socket").caused_by(error)
        })?;
        *self.0.socket.lock() = Some(handle);
        // Behind the lock: a close before it found no socket, one after it shuts this one.
        if self.is_closed() {
            return Err(Self::interrupted());
        }
        Ok(())
    }

    /// Lets go of the socket, which this handle would otherwise keep open.
    pub(super) fn detach(&self) {
        *self.0.socket.lock() = None;
    }

    #[cold]
    pub(super) fn interrupted() -> Error {
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
