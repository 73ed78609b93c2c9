//! The thread that writes checkpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::super::{Published, State};
use super::write;
use crate::journal::disk::Disk;
use crate::target::CloneFailure;
use crate::{Error, ErrorKind, Result};

/// What the thread is asked for; the answer goes to whoever waits for it.
enum Request {
    /// A checkpoint of what is published.
    Checkpoint(Option<Sender<Result<()>>>),
    /// A state that takes the place of everything.
    Replace(
        Arc<State>,
        Arc<AtomicBool>,
        Sender<Result<(), CloneFailure>>,
    ),
}

/// How often it is asked whether a replacement is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// Writes checkpoints of published states, beside the applier.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    /// `None` once it is to end.
    requests: Option<Sender<Request>>,
    /// Set before the end, so that a checkpoint that is being written is given up.
    stopping: Arc<AtomicBool>,
    /// The segment from which on the log is needed to open from either of the kept checkpoints.
    needed: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// # Errors
    /// [`ErrorKind::Internal`] where the system gives no thread.
    pub(crate) fn start(
        disk: Disk,
        directory: &Path,
        log_name: &str,
        published: Arc<Published>,
    ) -> Result<Self> {
        let (sender, receiver) = bounded(1);
        let stopping = Arc::new(AtomicBool::new(false));
        let needed = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            needed: Arc::clone(&needed),
            newest_segment: 0,
            disk,
            directory: directory.to_owned(),
            log_name: log_name.to_owned(),
            published,
            stopping: Arc::clone(&stopping),
            newest: None,
        };
        let thread = thread::Builder::new()
            .name("rejoin-ckpt".to_owned())
            .spawn(move || worker.run(&receiver))
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "cannot start the checkpoint thread")
                    .caused_by(error)
            })?;
        Ok(Self {
            requests: Some(sender),
            stopping,
            needed,
            thread: Some(thread),
        })
    }

    /// The number of the first log segment that is needed to open from either of the kept
    /// checkpoints; 0 as long as this process has not written two.
    pub(crate) fn needed_segment(&self) -> u64 {
        self.needed.load(Ordering::Relaxed)
    }

    /// Asks for a checkpoint; `false` if one is being asked for already.
    pub(crate) fn ask(&self) -> bool {
        let requests = self.requests.as_ref();
        requests.is_some_and(|requests| requests.try_send(Request::Checkpoint(None)).is_ok())
    }

    /// Has a checkpoint made and waits for it.
    pub(crate) fn make_now(&self) -> Result<()> {
        let (answer, answers) = bounded(1);
        let requests = self.requests.as_ref();
        let request = Request::Checkpoint(Some(answer));
        let sent = requests.is_some_and(|requests| requests.send(request).is_ok());
        match answers.recv() {
            Ok(result) if sent => result,
            _ => Err(ended()),
        }
    }

    /// Has `state` take the place of all checkpoints and waits for it, unless `stop` says so before it
    /// is written.
    pub(crate) fn replace(
        &self,
        state: Arc<State>,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), CloneFailure> {
        let (answer, answers) = bounded(1);
        let stopped = Arc::new(AtomicBool::new(false));
        let request = Request::Replace(state, Arc::clone(&stopped), answer);
        let requests = self.requests.as_ref().ok_or_else(ended)?;
        requests.send(request).map_err(|_| ended())?;
        loop {
            match answers.recv_timeout(LOOK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) => stopped.store(stop(), Ordering::Relaxed),
                Err(RecvTimeoutError::Disconnected) => return Err(ended().into()),
            }
        }
    }
}

#[cold]
fn ended() -> Error {
    Error::new(ErrorKind::Internal, "the checkpoint thread has ended")
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the checkpoint thread panicked");
        }
    }
}

struct Worker {
    disk: Disk,
    directory: PathBuf,
    log_name: String,
    published: Arc<Published>,
    stopping: Arc<AtomicBool>,
    /// Commit number of the last one that was written.
    newest: Option<u64>,
    /// Where the log goes on behind it.
    newest_segment: u64,
    needed: Arc<AtomicU64>,
}

impl Worker {
    fn run(mut self, requests: &Receiver<Request>) {
        for request in requests {
            let waiting = match request {
                Request::Replace(state, stopped, waiting) => {
                    // Whoever asked may have gone.
                    let _ = waiting.send(self.replace(&state, &stopped));
                    continue;
                }
                Request::Checkpoint(waiting) => waiting,
            };
            let result = self.write();
            match (&result, &waiting) {
                (Ok(()), _) => {}
                (Err(error), None) if error.kind() == ErrorKind::Interrupted => {}
                // The log has everything: the store can do without, and tries again later.
                (Err(error), _) => log::error!("no checkpoint was made: {error}"),
            }
            if let Some(waiting) = waiting {
                // Whoever asked may have gone.
                let _ = waiting.send(result);
            }
        }
    }

    fn replace(&mut self, state: &State, stopped: &AtomicBool) -> Result<(), CloneFailure> {
        let stop = || self.stopping.load(Ordering::Relaxed) || stopped.load(Ordering::Relaxed);
        write::replace(&self.disk, &self.directory, state, &stop)?;
        self.newest = Some(state.commit_number);
        self.newest_segment = state.position.segment;
        self.needed.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let state = self.published.get();
        if self.newest == Some(state.commit_number) {
            return Ok(());
        }
        let stop = || self.stopping.load(Ordering::Relaxed);
        write::write(&self.disk, &self.directory, &self.log_name, &state, &stop)?;
        self.newest = Some(state.commit_number);
        // The one before it stays, in case this one turns out to be damaged.
        let older = std::mem::replace(&mut self.newest_segment, state.position.segment);
        self.needed.store(older, Ordering::Relaxed);
        log::debug!("checkpoint at commit number {}", state.commit_number);
        Ok(())
    }
}
