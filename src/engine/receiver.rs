//! The receiver thread: one donor's stream in, batches of whole transactions out.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver as Pool, SendTimeoutError, Sender};
use log::{debug, info, warn};

use super::intake::Intake;
use super::shared::{Fact, Received, Shared, spawn};
use crate::gtid::Uuid;
use crate::net::{BinlogStream, Closer, ConnectOptions, Connection, DumpRequest, Endpoint};
use crate::queue::Bell;
use crate::transaction::{Batch, Piece};
use crate::{Error, ErrorKind, Limits, Result};

/// How long a full cache is waited for before the receiver looks whether it is to stop.
const OFFER: Duration = Duration::from_millis(50);

/// What reads donors for the controller, one at a time.
pub(super) trait Receivers: Send {
    fn start(&mut self, receiver: Receiver) -> Result<()>;

    /// Ends the one that was started last. Nothing of it is sent any more when this returns.
    fn stop(&mut self);
}

/// Each receiver is a thread.
pub(super) struct ReceiverThreads {
    facts: Sender<Fact>,
    current: Option<(Closer, JoinHandle<()>)>,
}

impl ReceiverThreads {
    pub(super) fn new(facts: Sender<Fact>) -> Self {
        Self {
            facts,
            current: None,
        }
    }
}

impl Receivers for ReceiverThreads {
    fn start(&mut self, receiver: Receiver) -> Result<()> {
        let closer = receiver.closer.clone();
        let thread = spawn("rejoin-recv", &self.facts, move || receiver.run())?;
        self.current = Some((closer, thread));
        Ok(())
    }

    fn stop(&mut self) {
        if let Some((closer, thread)) = self.current.take() {
            closer.close();
            if thread.join().is_err() {
                warn!("the receiver thread had panicked");
            }
        }
    }
}

pub(super) struct Receiver {
    pub(super) attempt: u32,
    pub(super) connection: u32,
    pub(super) donor: Uuid,
    pub(super) endpoint: Endpoint,
    pub(super) options: ConnectOptions,
    pub(super) request: DumpRequest,
    pub(super) limits: Limits,
    pub(super) shared: Arc<Shared>,
    /// Stops this thread wherever it is.
    pub(super) closer: Closer,
    pub(super) received: Sender<Received>,
    /// Tells the cache that there is something in `received`.
    pub(super) bell: Arc<Bell<Piece>>,
    /// A transaction of so many bytes goes to the cache in parts.
    pub(super) large_bytes: usize,
    pub(super) recycled: Pool<Batch>,
    pub(super) facts: Sender<Fact>,
}

impl Receiver {
    pub(super) fn run(self) {
        let attempt = self.attempt;
        let result = self.connect().and_then(|stream| {
            self.tell(Fact::Connected { attempt });
            self.receive(stream)
        });
        if let Err(error) = result {
            if self.closer.is_closed() {
                debug!("receiver of attempt {attempt} stopped: {error}");
            } else {
                self.tell(Fact::ReceiverFailed { attempt, error });
            }
        }
    }

    fn connect(&self) -> Result<BinlogStream> {
        let connection =
            Connection::connect_with(&self.endpoint, &self.options, &self.limits, &self.closer)
                .map_err(|error| error.at_donor(self.endpoint.to_string()))?;
        let stream = BinlogStream::open(connection, &self.request)?;
        info!(
            "connected to donor {} ({}), attempt {}",
            self.endpoint, self.donor, self.attempt
        );
        Ok(stream)
    }

    fn receive(&self, mut stream: BinlogStream) -> Result<()> {
        let mut intake = Intake::new(
            self.limits.clone(),
            stream.initial_checksum(),
            Arc::clone(&self.shared),
            self.recycled.clone(),
            self.large_bytes,
        );
        loop {
            let Some(event) = stream.next_event()? else {
                return Err(ended().at_donor(self.endpoint.to_string()));
            };
            intake
                .push(event)
                .map_err(|error| error.at_donor(self.endpoint.to_string()))?;
            while let Some(piece) = intake.take(|| stream.has_buffered_event()) {
                if !self.pass_on(piece) {
                    return Ok(());
                }
            }
        }
    }

    /// `false` when the receiver is to stop.
    fn pass_on(&self, piece: Piece) -> bool {
        let mut received = Received {
            connection: self.connection,
            piece,
        };
        loop {
            if self.closer.is_closed() {
                return false;
            }
            match self.received.send_timeout(received, OFFER) {
                Ok(()) => {
                    self.bell.ring();
                    return true;
                }
                Err(SendTimeoutError::Timeout(back)) => {
                    self.shared.held_back.store(true, Relaxed);
                    received = back;
                }
                Err(SendTimeoutError::Disconnected(_)) => return false,
            }
        }
    }

    fn tell(&self, fact: Fact) {
        // A controller that is gone has stopped caring.
        let _ = self.facts.send(fact);
    }
}

/// The donor has ended the stream without an error.
pub(super) fn ended() -> Error {
    Error::new(
        ErrorKind::Stopped,
        "the donor ended the stream: its dump thread was killed or it shut down",
    )
}
