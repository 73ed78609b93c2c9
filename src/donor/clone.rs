//! Snapshots of the rows for joiners that clone.
//!
//! ```text
//! session 1   CLONE SNAPSHOT      -> the source's newest rows are held, under a number
//! session 2   CLONE SESSION OF n  -> the same
//! each        CLONE ROWS OF t     -> chunk by chunk, as fast as the client reads and the rate allows
//! ```
//!
//! A snapshot is held as long as a session that has asked for it is there. It costs what the store has
//! changed since; so the number of snapshots at a time is bounded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::info;

use super::shared::Shared;
use super::snapshots::Held;
use crate::gtid::GtidSet;
use crate::net::{Accepted, Closer, Input};
use crate::target::schema::TableName;
use crate::target::store::Snapshot;
use crate::wire::clone::{ChunkWriter, CloneRequest, seal};
use crate::wire::packet::write_packet;
use crate::wire::server::answer::{self, Refusal};
use crate::{Error, Result};

/// What is sent in one turn: with a low rate, other connections wait so long.
const PIECE_BYTES: usize = 32 << 10;
/// How long a joiner's earlier transactions are waited for.
const CATCH_UP: Duration = Duration::from_secs(30);
/// How often it is looked meanwhile whether the donor stops.
const LOOK: Duration = Duration::from_millis(100);

/// Answers a statement about clones; the refusal is the caller's to send.
///
/// # Errors
/// Those of the connection.
pub(super) fn answer(
    statement: &[u8],
    shared: &Shared,
    accepted: &mut Accepted,
    held: &mut Option<Arc<Held>>,
) -> Result<Result<(), Refusal>> {
    let Some(request) = CloneRequest::parse(statement) else {
        return Ok(Err(Refusal::with_state(
            1235,
            "42000",
            "This version of MySQL doesn't yet support another form of clone than that of `rejoin`",
        )));
    };
    match request {
        CloneRequest::Snapshot { at_least } => {
            // Of two snapshots, one would be held for nothing.
            *held = None;
            match open(shared, accepted, &at_least) {
                Ok(opened) => {
                    send_head(&opened, accepted)?;
                    *held = Some(opened);
                    Ok(Ok(()))
                }
                Err(refusal) => Ok(Err(refusal)),
            }
        }
        CloneRequest::Session { snapshot } => match shared.snapshots.get(snapshot) {
            Ok(found) => {
                *held = Some(found);
                accepted.send(answer::OK)?;
                Ok(Ok(()))
            }
            Err(refusal) => Ok(Err(refusal)),
        },
        CloneRequest::Rows {
            database,
            table,
            behind,
        } => {
            let Some(held) = held else {
                return Ok(Err(Refusal::new(3635, "The session has no snapshot")));
            };
            let name = TableName { database, table };
            if held.rows.definition(&name).is_none() {
                return Ok(Err(Refusal::with_state(
                    1146,
                    "42S02",
                    format!("Table '{name}' doesn't exist"),
                )));
            }
            send_rows(shared, accepted, &held.rows, &name, behind.as_deref())?;
            Ok(Ok(()))
        }
    }
}

fn open(shared: &Shared, accepted: &Accepted, at_least: &GtidSet) -> Result<Arc<Held>, Refusal> {
    let until = Instant::now() + CATCH_UP;
    let failed = |error: Error| Refusal::new(1105, format!("Unknown error: {error}"));
    loop {
        // Rows may have to be read from the disk: not before they are likely to suffice.
        let executed = shared.history.executed().map_err(failed)?;
        if at_least.is_subset(&executed)
            && let Some(_one_at_a_time) = shared.snapshots.opening.try_lock_for(LOOK)
        {
            shared.snapshots.check_room(shared.options.max_clones)?;
            let Some(rows) = shared.source.snapshot().map_err(failed)? else {
                return Err(Refusal::with_state(
                    1235,
                    "42000",
                    "This version of MySQL doesn't yet support 'CLONE': the donor serves binary \
                     logs only",
                ));
            };
            if rows.prepared_count() > 0 {
                return Err(Refusal::new(
                    1105,
                    format!(
                        "{} XA transactions are prepared, which no clone shows",
                        rows.prepared_count()
                    ),
                ));
            }
            if at_least.is_subset(rows.gtid_executed()) {
                let count = rows.gtid_executed().count();
                info!("a clone of {count} transactions begins");
                return Ok(shared.snapshots.hold(rows));
            }
        }
        if accepted.input() == Input::Closed {
            return Err(Refusal::new(3635, "The client has gone"));
        }
        if Instant::now() >= until || shared.stop.is_closed() {
            return Err(Refusal::new(
                1105,
                "the donor does not have the transactions of an earlier snapshot",
            ));
        }
        std::thread::sleep(LOOK);
    }
}

fn send_head(held: &Held, accepted: &mut Accepted) -> Result<()> {
    let mut catalog = Vec::new();
    held.rows.catalog().encode(&mut catalog);
    let values = [
        held.id.to_string().into_bytes(),
        held.rows.gtid_executed().to_string().into_bytes(),
        seal(&catalog),
    ];
    for packet in answer::head(&["snapshot", "gtid_executed", "catalog"]) {
        accepted.send(&packet)?;
    }
    accepted.send(&answer::row(&values.each_ref().map(Vec::as_slice)))?;
    accepted.send(answer::EOF)
}

/// Sends the rows of a table behind a key.
fn send_rows(
    shared: &Shared,
    accepted: &mut Accepted,
    rows: &Snapshot,
    table: &TableName,
    behind: Option<&[u8]>,
) -> Result<()> {
    for packet in answer::head(&["chunk"]) {
        accepted.send(&packet)?;
    }
    let mut send = |chunk: &[u8]| {
        let mut bytes = Vec::with_capacity(chunk.len() + 16);
        let next = write_packet(accepted.sequence(), &answer::row(&[chunk]), &mut bytes);
        accepted.set_sequence(next);
        for piece in bytes.chunks(PIECE_BYTES) {
            let allowed = shared
                .throttle
                .take(piece.len(), || shared.stop.is_closed());
            if !allowed {
                return Err(Closer::interrupted());
            }
            accepted.send_raw(piece)?;
        }
        Ok(())
    };
    let mut writer = ChunkWriter::new();
    for (key, row) in rows.scan_from(table, behind.unwrap_or_default())? {
        if Some(key) == behind {
            continue;
        }
        if writer.is_full(row.image().len()) {
            send(writer.take())?;
            writer.clear();
        }
        writer.push(row.image())?;
    }
    send(writer.take())?;
    send(writer.last())?;
    accepted.send(answer::EOF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::donor::{
        Account, BinlogDirectory, Donor, DonorOptions, LogSource, MemberLog, SourceIdentity,
    };
    use crate::gtid::Uuid;
    use crate::net::{ConnectOptions, Connection, Endpoint};
    use crate::sample::{CREATE_TABLE, Change, Item, Source};
    use crate::target::Target;
    use crate::target::store::Store;
    use crate::{ErrorKind, Limits};

    const SNAPSHOT: &str = "CLONE SNAPSHOT FORMAT 1";

    fn serve(source: impl LogSource) -> Donor {
        let mut options = DonorOptions::new(vec![
            Account::new("recovery", b"secret"),
            Account::new("reader", b"secret").without_replication(),
        ]);
        options.max_clones = 2;
        Donor::start("127.0.0.1:0", Arc::new(source), options).unwrap()
    }

    fn connect(donor: &Donor, user: &str) -> Connection {
        let endpoint = Endpoint::new("127.0.0.1", donor.local_addr().port());
        let login = ConnectOptions::new(user, "secret");
        Connection::connect(&endpoint, &login, &Limits::default()).unwrap()
    }

    fn refused(connection: &mut Connection, statement: &str, number: &str) {
        let error = connection.query(statement).unwrap_err();
        assert!(error.to_string().contains(number), "{statement}: {error}");
    }

    fn store(directory: &std::path::Path) -> Store {
        let mut store = Store::open(directory).unwrap();
        let mut source = Source::new();
        source.statement("CREATE DATABASE shop");
        source.statement(CREATE_TABLE);
        source.rows(&[Change::Insert(Item::new(1, "one"))]);
        store.apply(&source.take()).unwrap();
        store
    }

    fn of(store: &Store) -> MemberLog {
        let identity = SourceIdentity {
            server_id: 5,
            server_uuid: Uuid([5; 16]),
        };
        MemberLog::of(store, identity)
    }

    #[test]
    fn a_session_reads_its_snapshot_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let donor = serve(of(&store));
        let mut first = connect(&donor, "recovery");
        let items = CloneRequest::Rows {
            database: b"shop".to_vec(),
            table: b"items".to_vec(),
            behind: None,
        };
        refused(&mut first, &items.statement(), "3635");
        let rows = first.query(SNAPSHOT).unwrap();
        assert_eq!(rows.text(0, 1).unwrap(), store.gtid_executed().to_string());
        let mut second = connect(&donor, "recovery");
        let number = rows.text(0, 0).unwrap();
        second
            .execute(&format!("CLONE SESSION OF {number}"))
            .unwrap();
        let chunks = second.query(&items.statement()).unwrap();
        assert_eq!(chunks.len(), 2, "the only one and the last");
        refused(&mut second, "CLONE ROWS OF x'61'.x'62'", "1146");
        // Whoever has opened it may go; when the last one has, it is gone.
        drop(first);
        assert_eq!(second.query(&items.statement()).unwrap(), chunks);
        drop(second);
        let mut third = connect(&donor, "recovery");
        let until = Instant::now() + CATCH_UP;
        while third.execute(&format!("CLONE SESSION OF {number}")).is_ok() {
            assert!(Instant::now() < until, "it is still there");
        }
    }

    #[test]
    fn clones_are_bounded_and_for_replicas_only() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let donor = serve(of(&store));
        let error = connect(&donor, "reader").query(SNAPSHOT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Privilege, "{error}");
        let (mut first, mut second) = (connect(&donor, "recovery"), connect(&donor, "recovery"));
        first.query(SNAPSHOT).unwrap();
        second.query(SNAPSHOT).unwrap();
        let mut third = connect(&donor, "recovery");
        refused(&mut third, SNAPSHOT, "3634");
        // Who takes a new one gives the old one back.
        first.query(SNAPSHOT).unwrap();
        drop(second);
        let until = Instant::now() + CATCH_UP;
        while third.query(SNAPSHOT).is_err() {
            assert!(Instant::now() < until, "there is no room");
        }
    }

    #[test]
    fn a_directory_has_rows_only_if_it_is_a_stores() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path());
        let logs = serve(BinlogDirectory::open(directory.path()).unwrap());
        refused(&mut connect(&logs, "recovery"), SNAPSHOT, "1235");
        let all = serve(BinlogDirectory::open_store(directory.path()).unwrap());
        let mut source = Source::new();
        source.skip_to(10);
        source.rows(&[Change::Insert(Item::new(2, "two"))]);
        store.apply(&source.take()).unwrap();
        let executed = store.gtid_executed();
        let wanted = format!("{SNAPSHOT} AT LEAST '{executed}'");
        let rows = connect(&all, "recovery").query(&wanted).unwrap();
        assert_eq!(rows.text(0, 1).unwrap(), executed.to_string());
    }
}
