//! `rejoin demo`: a whole group on loopback, in one process, with everything that recovery is for.
//!
//! - `node`: a member with its store and its donor;
//! - `load`: the clients;
//! - `screen`: what is shown;
//! - here: the acts. Each waits for what it is about, with the screen going on meanwhile.

mod load;
mod node;
mod screen;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::arguments::Demo;
use super::process;
use crate::engine::{Event, Status};
use crate::group::local::LocalGroup;
use crate::gtid::Uuid;
use crate::target::store::Snapshot;
use crate::{Error, ErrorKind, Result};
use load::{Load, Orders};
use node::Node;
use screen::{KILLED, ONLINE, RECOVERING, Screen, Shown};

/// Transactions before anybody joins, and the rows of each.
const HISTORY: usize = 4000;
const ROWS: usize = 10;
/// How fast a donor sends, in bytes a second: slow enough to be watched.
const DONOR_RATE: u64 = 2_000_000;
/// Nothing takes longer, even on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the demo looks what has become of it.
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn run(options: &Demo) -> Result<()> {
    // Without a log: what happens is shown, and failures are part of the play.
    let screen = Screen::new(options.json);
    let result = Stage::open(&screen).and_then(|mut stage| stage.play());
    match result {
        Ok((text, body)) => {
            screen.end(Ok((text, body)));
            Ok(())
        }
        Err(error) => {
            screen.end(Err(&error));
            if error.kind() == ErrorKind::Interrupted {
                return Err(error);
            }
            // Whatever it was: what was to be shown was not.
            Err(Error::new(ErrorKind::Internal, error.to_string()).caused_by(error))
        }
    }
}

/// The directory of all stores, removed in the end.
struct Workplace(PathBuf);

impl Workplace {
    fn make() -> Result<Self> {
        let name = format!(
            "rejoin-demo-{}-{:08x}",
            std::process::id(),
            rand::random::<u32>()
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|error| {
            Error::new(
                ErrorKind::TargetIo,
                format!("cannot make a directory: {error}"),
            )
            .in_file(path.display().to_string())
            .remedy("set TMPDIR to a directory with some 100 MB of space")
        })?;
        Ok(Self(path))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What stays of it is in the system's directory for what nobody needs.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Stage<'a> {
    screen: &'a Screen,
    began: Instant,
    stop: Arc<AtomicBool>,
    group: LocalGroup,
    /// In the order of their numbers.
    nodes: Vec<Node>,
    /// Name and port of those that were killed.
    gone: Vec<(String, u16)>,
    /// The member whose recovery is told step by step.
    joiner: Option<String>,
    load: Option<Load>,
    /// Largest relay log of a joiner that was seen.
    overflow: u64,
    /// Transactions of the load at the beginning of this second, and in the one before.
    meter: (Instant, u64, u64),
    /// The last: stores are closed before.
    workplace: Workplace,
}

impl<'a> Stage<'a> {
    fn open(screen: &'a Screen) -> Result<Self> {
        Ok(Self {
            screen,
            began: Instant::now(),
            stop: process::watch_signals()?,
            group: LocalGroup::new(Uuid([0xde; 16]), node::login())?,
            nodes: Vec::new(),
            gone: Vec::new(),
            joiner: None,
            load: None,
            overflow: 0,
            meter: (Instant::now(), 0, 0),
            workplace: Workplace::make()?,
        })
    }

    fn play(&mut self) -> Result<(String, serde_json::Value)> {
        self.found()?;
        self.fill()?;
        let killed = self.join_while_a_donor_dies()?;
        self.come_back(killed)?;
        self.clone_where_logs_are_purged()?;
        self.compare()
    }

    fn found(&mut self) -> Result<()> {
        self.screen
            .act(1, "Three members form a group, with TLS between them");
        for number in 1..=3 {
            self.start(number)?;
            self.wait(|stage| stage.is_online(number))?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        let title = format!(
            "{} transactions, then a load that goes on",
            HumanCount(HISTORY as u64)
        );
        self.screen.act(2, &title);
        let mut orders = Orders::create(&self.group)?;
        for number in 0..HISTORY {
            orders.write(ROWS)?;
            if number % 100 == 0 {
                self.look()?;
            }
        }
        let executed = self.group.executed();
        self.wait(|stage| {
            let mut readers = stage.nodes.iter().map(|node| node.reader.snapshot());
            readers.all(|snapshot| executed.is_subset(snapshot.gtid_executed()))
        })?;
        let members = self.nodes.iter();
        let members = members.map(|node| (node.name.clone(), node.reader.clone()));
        self.load = Some(Load::start(orders, members.collect())?);
        Ok(())
    }

    /// Gives the number of the member that was killed.
    fn join_while_a_donor_dies(&mut self) -> Result<u8> {
        self.screen
            .act(3, "A member joins, and its donor is killed in mid-transfer");
        let written = self.written();
        self.joiner = Some(self.start(4)?);
        self.wait(|stage| {
            let status = stage.status(4);
            status.transactions > 0 && status.transactions * 2 > status.missing
        })?;
        let donor = self.status(4).donor;
        let index = self.nodes.iter().position(|node| {
            let endpoint = format!("127.0.0.1:{}", node.port);
            donor.as_ref() == Some(&endpoint)
        });
        let index = index.ok_or_else(|| unexpected("db4 has no donor that is known"))?;
        let number = self.kill(index);
        self.wait(|stage| stage.is_online(4))?;
        let attempts = self.status(4).attempts;
        if attempts < 2 {
            return Err(unexpected(format!("db4 needed {attempts} attempts, not 2")));
        }
        if self.overflow == 0 {
            return Err(unexpected("the relay log of db4 was not needed"));
        }
        self.screen.tell(
            &format!(
                "what the group did meanwhile did not fit in its memory: {} went to its relay log",
                HumanBytes(self.overflow)
            ),
            "overflow",
            json!({ "member": "db4", "relay_log_bytes": self.overflow }),
        );
        let meanwhile = self.written() - written;
        if meanwhile == 0 {
            return Err(unexpected("nothing was written while db4 recovered"));
        }
        self.screen.tell(
            &format!(
                "{} transactions were written meanwhile",
                HumanCount(meanwhile)
            ),
            "load",
            json!({ "transactions": meanwhile }),
        );
        Ok(number)
    }

    fn come_back(&mut self, number: u8) -> Result<()> {
        let title = format!("db{number} is started again, and needs only what it missed");
        self.screen.act(4, &title);
        self.gone.clear();
        self.joiner = Some(self.start(number)?);
        self.wait(|stage| stage.is_online(number))?;
        let applied = self.status(number).transactions;
        if applied >= HISTORY as u64 {
            return Err(unexpected(format!("it applied {applied} transactions")));
        }
        Ok(())
    }

    fn clone_where_logs_are_purged(&mut self) -> Result<()> {
        self.screen
            .act(5, "Binary logs are purged: a new member has to be cloned");
        self.joiner = None;
        if let Some(load) = &self.load {
            load.set_heavy(true);
        }
        self.wait(|stage| stage.nodes.iter().all(Node::has_purged))?;
        if let Some(load) = &self.load {
            load.set_heavy(false);
        }
        self.screen.tell(
            "no member has its oldest binary logs any more",
            "purged",
            json!({ "members": self.nodes.len() }),
        );
        self.joiner = Some(self.start(5)?);
        self.wait(|stage| stage.is_online(5))?;
        let applied = self.status(5).transactions;
        if applied >= HISTORY as u64 {
            return Err(unexpected(format!("db5 applied {applied} transactions")));
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<(String, serde_json::Value)> {
        self.screen.act(
            6,
            "The load ends, and every row of every member is compared",
        );
        let written = self.written();
        let load = self.load.take();
        let orders = load.ok_or_else(|| unexpected("no load"))?.stop()?;
        let executed = self.group.executed();
        self.joiner = None;
        let mut first = None;
        for node in &self.nodes {
            let name = &node.name;
            let snapshot = node.reader.wait_for(&executed, PATIENCE);
            let snapshot =
                snapshot.ok_or_else(|| unexpected(format!("{name} lacks transactions")))?;
            if *snapshot.gtid_executed() != executed {
                return Err(unexpected(format!("{name} has more than the group")));
            }
            let (rows, digest) = digest(&snapshot)?;
            self.screen.tell(
                &format!("{name}: {} rows, {}", HumanCount(rows), &digest[..16]),
                "rows",
                json!({ "member": name, "rows": rows, "sha256": digest }),
            );
            if rows != orders.rows() as u64 {
                return Err(unexpected(format!(
                    "{name} should have {} rows",
                    orders.rows()
                )));
            }
            if *first.get_or_insert_with(|| digest.clone()) != digest {
                return Err(unexpected(format!("the rows of {name} differ")));
            }
        }
        let (members, rows) = (self.nodes.len(), orders.rows());
        let seconds = self.began.elapsed().as_secs_f64();
        let transactions = executed.count();
        let text = format!(
            "Verified: {members} members have the same {} rows after {} transactions, in {seconds:.1} s.",
            HumanCount(rows as u64),
            HumanCount(transactions),
        );
        let body = json!({
            "members": members,
            "rows": rows,
            "transactions": transactions,
            "load": written,
            "seconds": (seconds * 1e3).round() / 1e3,
        });
        Ok((text, body))
    }

    /// Starts a member, which joins at once; gives its name.
    fn start(&mut self, number: u8) -> Result<String> {
        let node = Node::start(&self.group, number, self.directory(), DONOR_RATE)?;
        let (name, port) = (node.name.clone(), node.port);
        self.screen.tell(
            &format!("{name} starts on 127.0.0.1:{port}"),
            "start",
            json!({ "member": name, "uuid": node.uuid.to_string(), "host": "127.0.0.1", "port": port }),
        );
        self.nodes.push(node);
        self.nodes.sort_by_key(|node| node.uuid);
        Ok(name)
    }

    /// Kills a member; gives its number.
    fn kill(&mut self, index: usize) -> u8 {
        let node = self.nodes.remove(index);
        let (name, port, number) = (node.name.clone(), node.port, node.number());
        if let Some(load) = &self.load {
            load.disconnect(&name);
        }
        node.kill(&self.group);
        self.screen.tell(
            &format!("{name} is killed"),
            "killed",
            json!({ "member": name, "host": "127.0.0.1", "port": port }),
        );
        self.gone.push((name, port));
        number
    }

    fn directory(&self) -> &Path {
        &self.workplace.0
    }

    fn written(&self) -> u64 {
        self.load.as_ref().map_or(0, Load::written)
    }

    fn node(&self, number: u8) -> Option<&Node> {
        self.nodes.iter().find(|node| node.number() == number)
    }

    fn is_online(&self, number: u8) -> bool {
        let node = self.node(number);
        node.is_some_and(|node| node.member.wait_online(Duration::ZERO).is_ok())
    }

    /// How a member stands that is there, as all are that the acts ask for.
    fn status(&self, number: u8) -> Status {
        self.node(number)
            .expect("a member of the cast")
            .member
            .status()
    }

    /// Waits for `done`, with the screen going on.
    fn wait(&mut self, done: impl Fn(&Self) -> bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.look()?;
            if done(self) {
                // What led to it is told before what follows.
                return self.look();
            }
            if Instant::now() >= until {
                let status = self.nodes.last().map(|node| node.member.status());
                return Err(unexpected(format!(
                    "no progress for {} s: {status:?}",
                    PATIENCE.as_secs()
                )));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Tells what has happened, and sees that nothing has failed.
    fn look(&mut self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::Interrupted,
                "the demo was interrupted",
            ));
        }
        if let Some(load) = &self.load {
            load.check()?;
        }
        for node in &self.nodes {
            while let Some(event) = node.events.try_next() {
                self.tell(node, &event);
            }
            if node.member.is_ended()
                && let Err(error) = node.member.wait_online(Duration::ZERO)
            {
                return Err(Error::new(error.kind(), format!("{}: {error}", node.name)));
            }
        }
        self.show();
        Ok(())
    }

    fn tell(&self, node: &Node, event: &Event) {
        if self.joiner.as_ref() == Some(&node.name) {
            let status = node.member.status();
            let name_of = |port| self.name_of(port);
            return self.screen.recovery(&node.name, event, &status, name_of);
        }
        // Of the others only that they are there.
        if matches!(event, Event::Online { .. }) {
            self.screen.tell(
                &format!("{} is ONLINE", node.name),
                "member",
                json!({ "member": node.name, "state": ONLINE }),
            );
        }
    }

    fn name_of(&self, port: u16) -> String {
        let nodes = self.nodes.iter().map(|node| (&node.name, node.port));
        let gone = self.gone.iter().map(|(name, port)| (name, *port));
        let mut all = nodes.chain(gone);
        let found = all.find(|(_, known)| *known == port);
        found.map_or_else(|| format!("on port {port}"), |(name, _)| name.clone())
    }

    fn show(&mut self) {
        let written = self.written();
        let (since, before, _) = self.meter;
        if since.elapsed() >= Duration::from_secs(1) {
            let rate = (written - before) as f64 / since.elapsed().as_secs_f64();
            self.meter = (Instant::now(), written, rate as u64);
        }
        let statuses: Vec<Status> = self.nodes.iter().map(|n| n.member.status()).collect();
        for (node, status) in self.nodes.iter().zip(&statuses) {
            if self.joiner.as_ref() == Some(&node.name) {
                self.overflow = self.overflow.max(status.relay_log_bytes);
            }
        }
        let mut members: Vec<Shown<'_>> = Vec::new();
        for (node, status) in self.nodes.iter().zip(&statuses) {
            let is_online = status.phase == crate::recovery::Phase::Online;
            let donor = status.donor.as_ref().and_then(|donor| {
                let (_, port) = donor.rsplit_once(':')?;
                Some(self.name_of(port.parse().ok()?))
            });
            members.push(Shown {
                name: &node.name,
                port: node.port,
                state: if is_online { ONLINE } else { RECOVERING },
                status: Some(status),
                donor,
            });
        }
        members.extend(self.gone.iter().map(|(name, port)| Shown {
            name,
            port: *port,
            state: KILLED,
            status: None,
            donor: None,
        }));
        members.sort_by_key(|member| member.name);
        self.screen.show(&members, written, self.meter.2);
    }
}

/// All tables with all rows: how many, and a digest of every byte.
fn digest(snapshot: &Snapshot) -> Result<(u64, String)> {
    let mut text = Vec::new();
    let mut rows = 0;
    for table in snapshot.tables() {
        text.extend_from_slice(format!("-- {table}\n").as_bytes());
        rows += snapshot.dump(table, &mut text)?;
    }
    let digest = Sha256::digest(&text);
    Ok((
        rows,
        digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}

/// Something that the demo was to show is not so.
fn unexpected(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Internal, what.into())
}
