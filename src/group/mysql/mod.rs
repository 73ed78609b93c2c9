//! A real MySQL Group Replication group, seen from outside through SQL and binary logs.
//!
//! - The membership comes from `performance_schema.replication_group_members` of any member that
//!   answers, read once a second.
//! - The cut is what an ONLINE member has executed or received from the group at the join.
//! - The feed is the tail of an ONLINE member's binary log behind the cut, preferably not the
//!   donor's. GTIDs make it exact: when its source fails, another member goes on with precisely what
//!   was not delivered yet.
//!
//! Nothing is joined in the group's own sense: it neither sees nor waits for this member.

mod keys;
mod members;
mod monitor;
mod survey;
mod tail;

pub use keys::GroupKeys;
pub use survey::{Logs, Survey, Visit};

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use log::{debug, warn};
use parking_lot::{Condvar, Mutex};

use super::{Cut, Feed, Group, GroupMember, Joined, View};
use crate::gtid::{GtidSet, Uuid};
use crate::net::{Closer, ConnectOptions, Connection, Endpoint, Url};
use crate::{Error, ErrorKind, Limits, Result};

/// A group that is reached through some of its members.
///
/// ```no_run
/// use rejoin::group::MySqlGroup;
/// let group = MySqlGroup::connect("mysql://recovery:secret@db1:3306,db2:3306/?ssl-mode=REQUIRED")?;
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct MySqlGroup {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the calls and the threads of a group share.
#[derive(Debug)]
struct Inner {
    options: ConnectOptions,
    donor_options: ConnectOptions,
    limits: Limits,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug)]
struct State {
    /// Where members were last known to be: the seeds, then what views have shown.
    addresses: Vec<Endpoint>,
    view: View,
    donor: Option<Uuid>,
    /// Connections that a call or a thread may be waiting on, by a number of their own.
    open: Vec<(u64, Closer)>,
    next: u64,
    has_left: bool,
}

impl MySqlGroup {
    /// Logs in at the first seed of `url` that answers, to see that the login is right and that the
    /// seed is a member.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a bad URL, [`ErrorKind::Authentication`] for a refused
    /// login, [`ErrorKind::GroupUnavailable`] when no seed can be reached, naming each.
    pub fn connect(url: &str) -> Result<Self> {
        let url: Url = url.parse()?;
        Self::with_options(url.endpoints, url.options)
    }

    /// As [`connect`](Self::connect), with everything given in parts.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn with_options(seeds: Vec<Endpoint>, options: ConnectOptions) -> Result<Self> {
        let group = Self {
            inner: Arc::new(Inner::new(seeds, options)),
            threads: Mutex::default(),
        };
        group.inner.any_member()?;
        Ok(group)
    }

    /// Uses other credentials for the recovery channel than for looking at the group.
    #[must_use]
    pub fn donor_login(mut self, change: impl FnOnce(ConnectOptions) -> ConnectOptions) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.donor_options = change(inner.options.clone());
        }
        self
    }
}

impl MySqlGroup {
    /// Asks the group's members for the keys of tables that no statement of the log has made: to be given
    /// to a store, as [`Store::with_key_source`](crate::target::store::Store::with_key_source) has it.
    ///
    /// The login is that with which the group is looked at; it needs SELECT on the tables.
    pub fn key_source(&self) -> GroupKeys {
        GroupKeys::new(Arc::clone(&self.inner))
    }
}

impl Inner {
    fn new(seeds: Vec<Endpoint>, options: ConnectOptions) -> Self {
        Self {
            donor_options: options.clone(),
            options,
            limits: Limits::default(),
            state: Mutex::new(State {
                addresses: seeds,
                view: View::default(),
                donor: None,
                open: Vec::new(),
                next: 0,
                has_left: false,
            }),
            left: Condvar::new(),
        }
    }

    /// Connects, and lets [`Group::leave`] close the connection while it is in use.
    fn connect(&self, endpoint: &Endpoint) -> Result<Tracked<'_>> {
        self.connect_as(endpoint, &self.options)
    }

    fn connect_as(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Tracked<'_>> {
        let closer = Closer::new();
        let number = {
            let mut state = self.state.lock();
            if state.has_left {
                closer.close();
            }
            state.next += 1;
            let number = state.next;
            state.open.push((number, closer.clone()));
            number
        };
        let tracking = Tracking {
            inner: self,
            number,
        };
        let connection = Connection::connect_with(endpoint, options, &self.limits, &closer)?;
        Ok((connection, tracking))
    }

    fn has_left(&self) -> bool {
        self.state.lock().has_left
    }

    /// Waits, but no longer than until the group is left.
    fn pause(&self, time: Duration) {
        let mut state = self.state.lock();
        if !state.has_left {
            self.left.wait_for(&mut state, time);
        }
    }

    /// A connection to some member of the group that takes part in it.
    fn any_member(&self) -> Result<(Tracked<'_>, View)> {
        let addresses = self.state.lock().addresses.clone();
        let mut failures: Vec<(Endpoint, Error)> = Vec::new();
        for endpoint in addresses {
            let attempt = self.connect(&endpoint).and_then(|mut member| {
                let view = members::read_view(&mut member.0)?;
                Ok((member, view))
            });
            match attempt {
                Ok((member, view)) => {
                    self.remember(&endpoint, &view);
                    return Ok((member, view));
                }
                Err(error) => {
                    debug!("member {endpoint} is no way into the group: {error}");
                    failures.push((endpoint, error));
                }
            }
            if self.has_left() {
                return Err(Error::new(
                    ErrorKind::Interrupted,
                    "the group has been left",
                ));
            }
        }
        Err(unreachable(failures))
    }

    /// Keeps the member that has answered first in line, then all that it knows.
    fn remember(&self, answered: &Endpoint, view: &View) {
        let mut state = self.state.lock();
        let known = std::mem::take(&mut state.addresses);
        state.addresses.push(answered.clone());
        let members = view.members.iter().map(|member| member.address.clone());
        for endpoint in members.chain(known) {
            if !state.addresses.contains(&endpoint) {
                state.addresses.push(endpoint);
            }
        }
        state.view = view.clone();
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                format!("cannot start thread {name}: {error}"),
            )
        })
}

/// One error for all seeds: what each said. The kind is that of the most telling one, since a
/// refused login is mended differently from an unreachable host.
fn unreachable(failures: Vec<(Endpoint, Error)>) -> Error {
    let telling = [
        ErrorKind::Authentication,
        ErrorKind::Privilege,
        ErrorKind::Tls,
        ErrorKind::Configuration,
    ]
    .into_iter()
    .find_map(|kind| failures.iter().find(|(_, error)| error.kind() == kind));
    let kind = telling.map_or(ErrorKind::GroupUnavailable, |(_, error)| error.kind());
    let remedy = telling
        .or(failures.last())
        .and_then(|(_, error)| error.remedy_text())
        .unwrap_or("name members that run and can be reached")
        .to_string();
    let mut message = String::from("no seed leads into the group");
    for (endpoint, error) in &failures {
        message.push_str(&format!("; {endpoint}: {}", error.message()));
    }
    Error::new(kind, message).remedy(remedy)
}

/// A connection that [`Group::leave`] closes, for as long as the second part lives.
type Tracked<'a> = (Connection, Tracking<'a>);

struct Tracking<'a> {
    inner: &'a Inner,
    number: u64,
}

impl Drop for Tracking<'_> {
    fn drop(&mut self) {
        self.inner
            .state
            .lock()
            .open
            .retain(|(number, _)| *number != self.number);
    }
}

impl Group for MySqlGroup {
    fn join(&self, feed: Feed) -> Result<Joined> {
        let view = self.read()?;
        let cut = self.executed()?;
        let mut threads = self.threads.lock();
        let (inner, news) = (Arc::clone(&self.inner), feed.clone());
        threads.push(spawn("rejoin-view", move || monitor::run(&inner, &news))?);
        let (inner, delivered) = (Arc::clone(&self.inner), cut.clone());
        threads.push(spawn("rejoin-feed", move || {
            tail::run(&inner, &feed, delivered)
        })?);
        Ok(Joined {
            view,
            cut: Cut::Gtids(cut),
        })
    }

    fn read(&self) -> Result<View> {
        let (member, mut view) = self.inner.any_member()?;
        drop(member);
        members::read_sets(&self.inner, &mut view);
        Ok(view)
    }

    fn executed(&self) -> Result<GtidSet> {
        let (member, view) = self.inner.any_member()?;
        drop(member);
        let mut last = Error::new(ErrorKind::NoDonor, "the group has no ONLINE member")
            .remedy("bring at least one member ONLINE, or bootstrap the group");
        for online in view.online() {
            let set = self
                .inner
                .connect(&online.address)
                .and_then(|mut member| members::read_executed(&mut member.0));
            match set {
                Ok(set) => return Ok(set),
                Err(error) => last = error.at_donor(online.address.to_string()),
            }
        }
        Err(last)
    }

    fn donor_options(&self, _donor: &GroupMember) -> ConnectOptions {
        self.inner.donor_options.clone()
    }

    fn donor_chosen(&self, donor: &Uuid) {
        self.inner.state.lock().donor = Some(*donor);
    }

    fn leave(&self) {
        {
            let mut state = self.inner.state.lock();
            state.has_left = true;
            for (_, closer) in &state.open {
                closer.close();
            }
        }
        self.inner.left.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                warn!("a thread of the group's feed had panicked");
            }
        }
    }
}
