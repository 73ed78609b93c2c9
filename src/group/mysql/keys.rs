//! Keys of tables, asked of the group's members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::Inner;
use crate::clone::table_now;
use crate::gtid::GtidSet;
use crate::net::{Closer, ConnectOptions, Connection, Endpoint};
use crate::target::schema::TableName;
use crate::target::{GroupTable, KeySource};
use crate::{Error, ErrorKind, Result};

/// How long the applier waits for an answer, whatever the network does.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time for each step with one member, so that another one can still be asked.
const STEP: Duration = Duration::from_secs(2);
/// How long nobody is asked when none has answered: with many tables, each would be waited for.
const REST: Duration = Duration::from_secs(60);

/// The members of a group as a [`KeySource`]: an answer, or none, within 5 seconds.
#[derive(Debug)]
pub struct GroupKeys {
    inner: Arc<Inner>,
    patience: Duration,
    /// When nobody answered last.
    failed: Option<Instant>,
}

impl GroupKeys {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            patience: PATIENCE,
            failed: None,
        }
    }
}

impl KeySource for GroupKeys {
    fn table(&mut self, name: &TableName, at_least: &GtidSet) -> Result<Option<GroupTable>> {
        if self.failed.is_some_and(|failed| failed.elapsed() < REST) {
            return Err(Error::new(
                ErrorKind::GroupUnavailable,
                "no member has answered a moment ago",
            ));
        }
        let asked = ask(&self.inner, self.patience, name, at_least);
        let is_silent = |error: &Error| {
            matches!(
                error.kind(),
                ErrorKind::Network | ErrorKind::TimedOut | ErrorKind::GroupUnavailable
            )
        };
        self.failed = asked.as_ref().is_err_and(is_silent).then(Instant::now);
        asked
    }
}

/// Asks on a thread of its own, which nobody waits for when the time is up.
fn ask(
    inner: &Arc<Inner>,
    patience: Duration,
    name: &TableName,
    at_least: &GtidSet,
) -> Result<Option<GroupTable>> {
    let closer = Closer::new();
    let (tell, told) = bounded(1);
    let job = (
        Arc::clone(inner),
        closer.clone(),
        name.clone(),
        at_least.clone(),
    );
    super::spawn("rejoin-key", move || {
        let (inner, closer, name, at_least) = job;
        let _ = tell.send(ask_members(&inner, &closer, &name, &at_least));
    })?;
    told.recv_timeout(patience).unwrap_or_else(|_| {
        closer.close();
        Err(Error::new(
            ErrorKind::TimedOut,
            format!("no answer in {} s", patience.as_secs_f32()),
        ))
    })
}

/// The answer of the first member that has one.
fn ask_members(
    inner: &Inner,
    closer: &Closer,
    name: &TableName,
    at_least: &GtidSet,
) -> Result<Option<GroupTable>> {
    let options = ConnectOptions {
        connect_timeout: inner.options.connect_timeout.min(STEP),
        read_timeout: inner.options.read_timeout.min(2 * STEP),
        ..inner.options.clone()
    };
    let addresses: Vec<Endpoint> = inner.state.lock().addresses.clone();
    let mut last = Error::new(ErrorKind::GroupUnavailable, "no member is known");
    for endpoint in addresses {
        let asked = Connection::connect_with(&endpoint, &options, &inner.limits, closer)
            .and_then(|mut member| table_now(&mut member, name, at_least));
        match asked {
            Ok(told) => return Ok(told),
            Err(error) => last = error,
        }
        if closer.is_closed() {
            break;
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A member that takes connections and says nothing.
    #[test]
    fn the_applier_waits_no_longer_than_is_said() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let members = vec![Endpoint::new("127.0.0.1", port); 3];
        let inner = Inner::new(members, ConnectOptions::default());
        let mut keys = GroupKeys {
            patience: Duration::from_millis(300),
            ..GroupKeys::new(Arc::new(inner))
        };
        let begun = Instant::now();
        let mut ask = || keys.table(&TableName::new("d", "t"), &GtidSet::new());
        assert_eq!(ask().unwrap_err().kind(), ErrorKind::TimedOut);
        // And not once for each of a thousand tables.
        for _ in 0..1000 {
            assert_eq!(ask().unwrap_err().kind(), ErrorKind::GroupUnavailable);
        }
        assert!(begun.elapsed() < STEP, "{:?}", begun.elapsed());
    }
}
