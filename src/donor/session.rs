//! One client: greeting, login, commands, dump.

use std::net::TcpStream;
use std::sync::Arc;

use log::{debug, info};

use super::clone;
use super::dump::{Agreement, Dump, DumpTicket, Ending};
use super::shared::Shared;
use super::snapshots::Held;
use super::source::file_bytes;
use super::variables::{Asker, Variables};
use crate::net::Accepted;
use crate::wire::clone::CloneRequest;
use crate::wire::server::answer::{self, Refusal};
use crate::wire::server::command::{Command, DumpCommand};
use crate::wire::server::login::{Account, Login, Step, access_denied};
use crate::wire::server::statement::{self, Statement};
use crate::{Error, ErrorKind, Result};

/// Whose protocol we speak.
const MEMBER_VERSION: &str = "9.7.4";

/// Serves a client to its end.
pub(super) fn run(socket: TcpStream, id: u32, shared: &Shared) {
    let timeout = shared.options.connect_timeout;
    let ended = Accepted::new(socket, &shared.stop, timeout)
        .and_then(|accepted| Session::log_in(accepted, id, shared))
        .and_then(|session| match session {
            Some(session) => session.commands(),
            None => Ok(()),
        });
    match ended {
        Ok(()) => debug!("client {id} has left"),
        Err(error) => debug!("client {id} is gone: {error}"),
    }
}

#[derive(Debug)]
struct Session<'a> {
    accepted: Accepted,
    id: u32,
    shared: &'a Shared,
    account: Account,
    host: String,
    /// `name@host`.
    user: String,
    variables: Variables,
    /// The snapshot that it reads, of a clone.
    held: Option<Arc<Held>>,
}

/// Whether a session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Leave,
}

impl<'a> Session<'a> {
    /// `None`: the client was refused.
    fn log_in(mut accepted: Accepted, id: u32, shared: &'a Shared) -> Result<Option<Self>> {
        let host = accepted.peer().ip().to_string();
        let (greeting, mut login) =
            Login::greet(shared.policy.clone(), id, host.clone(), rand::random());
        accepted.send(&greeting)?;
        loop {
            let step = login.handle(accepted.receive()?);
            login = match step {
                Step::Send(packet, next) => {
                    accepted.send(&packet)?;
                    next
                }
                Step::StartTls(next) => {
                    accepted.start_tls(&shared.tls)?;
                    next
                }
                Step::Refused(refusal) => {
                    info!("client {id} from {host} is refused: {refusal}");
                    accepted.send(&refusal.packet())?;
                    return Ok(None);
                }
                Step::Accepted(packets, account) => {
                    for packet in &packets {
                        accepted.send(packet)?;
                    }
                    accepted.end_of_login(shared.options.command_bytes);
                    accepted.set_write_timeout(shared.options.net_write_timeout)?;
                    let user = format!("{}@{host}", account.name());
                    debug!("client {id} is {user}");
                    return Ok(Some(Self {
                        accepted,
                        id,
                        shared,
                        account,
                        host,
                        user,
                        variables: Variables::default(),
                        held: None,
                    }));
                }
            };
        }
    }

    fn commands(mut self) -> Result<()> {
        loop {
            let timeout = self.shared.options.wait_timeout;
            let packet = match self.accepted.receive_command(timeout) {
                Ok(packet) => packet,
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    let idle = Refusal::new(
                        4031,
                        "The client was disconnected by the server because of inactivity. See \
                         wait_timeout and interactive_timeout for configuring this behavior.",
                    );
                    // The client may be gone altogether.
                    let _ = self.accepted.send(&idle.packet());
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            let then = match Command::parse(packet, &self.shared.options.limits) {
                Ok(Command::Query(statement)) if CloneRequest::is_meant(statement) => {
                    let statement = statement.to_vec();
                    self.clone_rows(&statement)
                }
                Ok(Command::Query(statement)) => {
                    let statement = statement::parse(statement);
                    self.query(statement)
                }
                Ok(Command::Quit) => return Ok(()),
                Ok(Command::Ping | Command::Accepted) => self.ok(),
                Ok(Command::ResetConnection) => {
                    self.variables = Variables::default();
                    self.held = None;
                    self.ok()
                }
                Ok(Command::RegisterReplica(replica)) => {
                    if self.account.can_replicate() {
                        debug!("client {} registers as {replica:?}", self.id);
                        self.ok()
                    } else {
                        // The server's own choice of error; the one of a dump is another.
                        let refusal = access_denied(self.account.name(), &self.host, "YES");
                        self.refuse(&refusal)
                    }
                }
                Ok(Command::Dump(command)) => self.dump(command),
                Ok(Command::Unknown(number)) => {
                    debug!("client {} sends the unknown command {number:#04x}", self.id);
                    self.refuse(&Refusal::with_state(1047, "08S01", "Unknown command"))
                }
                Err(refusal) => self.refuse(&refusal),
            };
            if then? == Then::Leave {
                return Ok(());
            }
        }
    }

    fn ok(&mut self) -> Result<Then> {
        self.accepted.send(answer::OK)?;
        Ok(Then::GoOn)
    }

    fn refuse(&mut self, refusal: &Refusal) -> Result<Then> {
        debug!("client {} is told: {refusal}", self.id);
        self.accepted.send(&refusal.packet())?;
        Ok(Then::GoOn)
    }

    fn query(&mut self, statement: Result<Statement, Refusal>) -> Result<Then> {
        let answered = statement.and_then(|statement| self.answer(&statement));
        match answered {
            Ok(None) => self.ok(),
            Ok(Some((columns, rows))) => {
                for packet in answer::rows(&columns, &rows) {
                    self.accepted.send(&packet)?;
                }
                Ok(Then::GoOn)
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn answer(&mut self, statement: &Statement) -> Result<Option<Table>, Refusal> {
        let asker = Asker {
            shared: self.shared,
            connection_id: self.id,
            user: &self.user,
        };
        let variables = &mut self.variables;
        Ok(match statement {
            Statement::Set(assignments) => {
                for (target, value) in assignments {
                    variables.set(target, value, asker)?;
                }
                None
            }
            Statement::Select(items) => {
                let values: Result<_, _> = items
                    .iter()
                    .map(|(expression, _)| variables.value(expression, asker))
                    .collect();
                let names = items.iter().map(|(_, name)| name.clone()).collect();
                Some((names, vec![values?]))
            }
            Statement::ShowVariables(pattern) => {
                let matching = variables.matching(pattern.as_deref(), asker)?;
                Some(table(
                    &["Variable_name", "Value"],
                    matching.into_iter().map(|(name, value)| vec![name, value]),
                ))
            }
            Statement::SelectMembers { columns, condition } => {
                Some(self.member(columns, condition.as_ref())?)
            }
            Statement::ShowGrants => {
                let privilege = if self.account.can_replicate() {
                    "REPLICATION SLAVE"
                } else {
                    "USAGE"
                };
                let grant = format!("GRANT {privilege} ON *.* TO `{}`@`%`", self.account.name());
                let column = format!("Grants for {}@%", self.account.name());
                Some(table(&[&column], [vec![grant]]))
            }
            Statement::ShowWarnings => Some(table(&["Level", "Code", "Message"], [])),
            Statement::ShowBinaryLogs => {
                let files = self.shared.source.files().map_err(internal)?;
                // Behind the list: what is not the newest file by now is complete.
                let end = self.shared.source.end().map_err(internal)?;
                let rows = files.into_iter().map(|file| {
                    let size = file_bytes(&file, &end);
                    vec![file.name, size.to_string(), "No".to_owned()]
                });
                Some(table(&["Log_name", "File_size", "Encrypted"], rows))
            }
            Statement::ShowBinaryLogStatus => {
                let end = self.shared.source.end().map_err(internal)?;
                let executed = self.shared.history.executed().map_err(internal)?;
                let columns = [
                    "File",
                    "Position",
                    "Binlog_Do_DB",
                    "Binlog_Ignore_DB",
                    "Executed_Gtid_Set",
                ];
                let row = vec![
                    end.file,
                    end.bytes.to_string(),
                    String::new(),
                    String::new(),
                    executed.to_string(),
                ];
                Some(table(&columns, [row]))
            }
        })
    }

    /// A donor looks like the only member of a group, so that a joiner can begin with it: where it
    /// was reached is where it can be reached.
    fn member(
        &self,
        columns: &[(String, String)],
        condition: Option<&(String, String)>,
    ) -> Result<Table, Refusal> {
        let (identity, local) = (self.shared.source.identity(), self.accepted.local());
        let value = |column: &str| {
            Ok(match column {
                "channel_name" => "group_replication_applier".to_owned(),
                "member_id" => identity.server_uuid.to_string(),
                "member_host" => local.ip().to_string(),
                "member_port" => local.port().to_string(),
                "member_state" => "ONLINE".to_owned(),
                "member_role" => "PRIMARY".to_owned(),
                "member_version" => MEMBER_VERSION.to_owned(),
                other => {
                    return Err(Refusal::with_state(
                        1054,
                        "42S22",
                        format!("Unknown column '{other}' in 'field list'"),
                    ));
                }
            })
        };
        let names: Vec<&str> = columns.iter().map(|(_, name)| name.as_str()).collect();
        let row: Vec<String> = columns
            .iter()
            .map(|(column, _)| value(column))
            .collect::<Result<_, _>>()?;
        let holds = match condition {
            Some((column, wanted)) => value(column)? == *wanted,
            None => true,
        };
        Ok(table(&names, holds.then_some(row)))
    }

    fn clone_rows(&mut self, statement: &[u8]) -> Result<Then> {
        if !self.account.can_replicate() {
            return self.refuse(&no_privilege());
        }
        let write_timeout = self.variables.write_timeout(self.shared);
        self.accepted.set_write_timeout(write_timeout)?;
        let (accepted, held) = (&mut self.accepted, &mut self.held);
        match clone::answer(statement, self.shared, accepted, held)? {
            Ok(()) => Ok(Then::GoOn),
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn dump(&mut self, command: DumpCommand) -> Result<Then> {
        if !self.account.can_replicate() {
            return self.refuse(&no_privilege());
        }
        let shared = self.shared;
        let write_timeout = self.variables.write_timeout(shared);
        self.accepted.set_write_timeout(write_timeout)?;
        let ticket = Registered::new(
            shared,
            DumpTicket::new(self.id, self.variables.replica_uuid(), command.server_id),
        );
        info!(
            "client {} ({}, server ID {}, UUID {:?}) is sent the binary log",
            self.id, self.user, command.server_id, ticket.ticket.replica_uuid
        );
        let dump = Dump {
            source: &*shared.source,
            history: &shared.history,
            throttle: &shared.throttle,
            stop: &shared.stop,
            limits: &shared.options.limits,
            ticket: &ticket.ticket,
            agreement: Agreement {
                heartbeat_period: self.variables.heartbeat_period(),
                checksum: self.variables.checksum(),
            },
        };
        let ended = dump.run(&mut self.accepted, command);
        let sent = self.accepted.sent_bytes();
        drop(ticket);
        match ended {
            Ok(Ending::Complete) => {
                info!("client {} has the whole binary log, {sent} bytes", self.id);
                self.accepted.send(answer::EOF)?;
                Ok(Then::GoOn)
            }
            Ok(Ending::Refused(refusal)) => {
                info!(
                    "client {} is refused after {sent} bytes: {refusal}",
                    self.id
                );
                self.accepted.send(&refusal.packet())?;
                Ok(Then::GoOn)
            }
            Ok(Ending::ClientLeft) => {
                info!("client {} has left after {sent} bytes", self.id);
                Ok(Then::Leave)
            }
            Err(error) => {
                info!("client {} is gone after {sent} bytes: {error}", self.id);
                Err(error)
            }
        }
    }
}

/// Names of columns, and rows.
type Table = (Vec<String>, Vec<Vec<Option<String>>>);

fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    let rows = rows.into_iter();
    (
        columns,
        rows.map(|row| row.into_iter().map(Some).collect())
            .collect(),
    )
}

#[cold]
fn no_privilege() -> Refusal {
    Refusal::with_state(
        1227,
        "42000",
        "Access denied; you need (at least one of) the REPLICATION SLAVE privilege(s) for this \
         operation",
    )
}

#[cold]
fn internal(error: Error) -> Refusal {
    Refusal::new(1105, format!("Unknown error: {error}"))
}

/// A dump that is in the list of all dumps.
#[derive(Debug)]
struct Registered<'a> {
    shared: &'a Shared,
    ticket: Arc<DumpTicket>,
}

impl<'a> Registered<'a> {
    /// Ends older dumps of the same replica: it has come back before its old connection was missed.
    fn new(shared: &'a Shared, ticket: DumpTicket) -> Self {
        let ticket = Arc::new(ticket);
        let mut clients = shared.clients.lock();
        for other in clients.dumps.values() {
            if other.is_same_replica(&ticket) {
                info!(
                    "client {} takes the place of client {}",
                    ticket.connection_id, other.connection_id
                );
                other.replace();
            }
        }
        clients
            .dumps
            .insert(ticket.connection_id, Arc::clone(&ticket));
        drop(clients);
        Self { shared, ticket }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut clients = self.shared.clients.lock();
        clients.dumps.remove(&self.ticket.connection_id);
    }
}
