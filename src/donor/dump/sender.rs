//! Walks through the files and decides what is sent.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{debug, warn};

use super::outlet::Outlet;
use super::refusal::{self, Place};
use super::{Agreement, DumpTicket};
use crate::binlog::{
    ChecksumAlgorithm, Event, EventHeader, EventType, FormatDescription, HeartbeatEvent,
    PreviousGtidsEvent, RotateEvent,
};
use crate::donor::source::events::{EventFile, Next};
use crate::donor::source::{History, LogEnd, LogFile, LogSource, decode_gtid, file_bytes, is_gtid};
use crate::donor::throttle::Throttle;
use crate::gtid::GtidSet;
use crate::net::{Accepted, Closer, Input};
use crate::wire::server::answer::Refusal;
use crate::wire::server::command::DumpCommand;
use crate::{Error, Limits, Result};

/// Where the first event of a file begins.
const FIRST_POSITION: u64 = 4;

/// In whose format the events that are made up here are written.
const SERVER_VERSION: &str = "9.7.4";

/// How long to wait for new events before the client and the wish to stop are looked at.
const WAIT_SLICE: Duration = Duration::from_millis(100);

/// How a dump has ended, the connection being whole.
#[derive(Debug)]
pub(in crate::donor) enum Ending {
    /// Everything was sent to a client that does not wait for more.
    Complete,
    /// The client has to be told an error.
    Refused(Refusal),
    /// The client has spoken or gone: there is nobody to send to.
    ClientLeft,
}

/// Everything that a dump needs from the donor.
#[derive(Debug, Clone, Copy)]
pub(in crate::donor) struct Dump<'a> {
    pub(in crate::donor) source: &'a dyn LogSource,
    pub(in crate::donor) history: &'a History,
    pub(in crate::donor) throttle: &'a Throttle,
    pub(in crate::donor) stop: &'a Closer,
    pub(in crate::donor) limits: &'a Limits,
    pub(in crate::donor) ticket: &'a DumpTicket,
    pub(in crate::donor) agreement: Agreement,
}

impl Dump<'_> {
    /// Sends what `command` asks for until it is complete, the client leaves, or something fails.
    ///
    /// # Errors
    /// Those of the connection; what else goes wrong is told to the client.
    pub(in crate::donor) fn run(
        self,
        accepted: &mut Accepted,
        command: DumpCommand,
    ) -> Result<Ending> {
        let outlet = Outlet::new(accepted, self.throttle, self.stop);
        let mut sender = Sender {
            place: Place {
                start_file: String::from_utf8_lossy(&command.file).into_owned(),
                start_position: command.position,
                ..Place::default()
            },
            checksum: self.agreement.checksum.unwrap_or_default(),
            format: None,
            have: None,
            skipped_to: None,
            is_skipping: false,
            limit: 0,
            is_closed: false,
            end: None,
            skips_first: None,
            held: None,
            dump: self,
            outlet,
            command,
        };
        let ending = match sender.serve() {
            Ok(ending) => ending,
            Err(Stop::Refusal(refusal)) => Ending::Refused(refusal),
            Err(Stop::ClientLeft) => return Ok(Ending::ClientLeft),
            Err(Stop::Broken(error)) => return Err(error),
        };
        sender.outlet.finish()?;
        Ok(ending)
    }
}

/// Why a dump does not go on.
enum Stop {
    /// Something of which the client is told.
    Refusal(Refusal),
    ClientLeft,
    /// The connection failed.
    Broken(Error),
}

type Step<T> = std::result::Result<T, Stop>;

struct Sender<'a> {
    dump: Dump<'a>,
    outlet: Outlet<'a>,
    command: DumpCommand,
    place: Place,
    /// Of events that are made up here: as agreed, then as in the file that is sent.
    checksum: ChecksumAlgorithm,
    format: Option<FormatDescription>,
    /// What the client will have once it has read everything; only in a dump by GTIDs alone, in which
    /// it must not miss anything.
    have: Option<GtidSet>,
    /// Transactions were skipped up to here and the client does not know yet.
    skipped_to: Option<u64>,
    is_skipping: bool,
    /// How far the current file may be read.
    limit: u64,
    /// Nothing will be appended to the current file.
    is_closed: bool,
    end: Option<LogEnd>,
    /// Whether the client has the first transaction of the first file: then no format description
    /// is to look like a restart of the source, in whatever file (as mysqld does it).
    skips_first: Option<bool>,
    /// Keeps the current file, and what comes behind it, from being purged.
    held: Option<Box<dyn Any + Send>>,
}

impl Sender<'_> {
    fn serve(&mut self) -> Step<Ending> {
        let mut file = self.first_file()?;
        let mut position = self.command.position;
        loop {
            self.begin(&file, position)?;
            if !self.file(&file, position)? {
                return Ok(Ending::Complete);
            }
            file = self.file_after(&file)?;
            position = FIRST_POSITION;
        }
    }

    fn first_file(&mut self) -> Step<LogFile> {
        let files = self.dump.source.files().map_err(|e| self.unreadable(&e))?;
        let no_such_file = || refuse("Could not find first log file name in binary log index file");
        let named = String::from_utf8_lossy(&self.command.file).into_owned();
        let file = match (named.as_str(), &self.command.gtid_set) {
            ("", Some(set)) => {
                self.have = Some(set.clone());
                let uuid = self.dump.source.identity().server_uuid;
                let start = self.dump.history.start_for(set, uuid);
                match start.map_err(|error| self.unreadable(&error))? {
                    Ok(file) => file,
                    Err(dispute) => {
                        return Err(Stop::Refusal(refusal::disputed(&dispute, set)));
                    }
                }
            }
            ("", None) => files.first().cloned().ok_or_else(no_such_file)?,
            (name, _) => {
                // Servers compare the names without their directories.
                let name = name.rsplit('/').next().unwrap_or(name);
                let file = files.into_iter().find(|file| file.name == name);
                file.ok_or_else(no_such_file)?
            }
        };
        if self.command.position < FIRST_POSITION {
            return Err(refuse(
                "Client requested source to start replication from position < 4",
            ));
        }
        let end = self.dump.source.end().map_err(|e| self.unreadable(&e))?;
        if self.command.position > file_bytes(&file, &end) {
            return Err(refuse(
                "Client requested source to start replication from position > file size",
            ));
        }
        Ok(file)
    }

    fn file_after(&self, file: &LogFile) -> Step<LogFile> {
        let files = self.dump.source.files().map_err(|e| self.unreadable(&e))?;
        let mut behind = files
            .into_iter()
            .skip_while(|other| other.name != file.name);
        behind
            .nth(1)
            .ok_or_else(|| Stop::Refusal(refusal::fatal("could not find next log")))
    }

    /// Tells the client which file comes.
    fn begin(&mut self, file: &LogFile, position: u64) -> Step<()> {
        debug!(
            "dump for {} sends {}",
            self.dump.ticket.connection_id, file.name
        );
        self.place.file.clone_from(&file.name);
        self.place.event_end = position;
        self.held = self.dump.source.hold(file);
        self.limit = 0;
        self.is_closed = false;
        self.is_skipping = false;
        self.skipped_to = None;
        let rotate = Event::Rotate(RotateEvent {
            position,
            file: file.name.as_bytes(),
        });
        let header = self.own_header(EventType::ROTATE, EventHeader::ARTIFICIAL, 0);
        self.send_own(&rotate, header)
    }

    /// Sends a file; `false` when it is the last one and the client does not wait for more.
    fn file(&mut self, file: &LogFile, position: u64) -> Step<bool> {
        let limits = self.dump.limits;
        let opened = EventFile::open(file, limits);
        let mut events = opened.map_err(|error| self.unreadable(&error))?;
        let Some(header) = self.next(&mut events)? else {
            return Err(self.truncated());
        };
        self.format_description(&mut events, header, position)?;
        if position > FIRST_POSITION {
            let sought = events.seek(position);
            sought.map_err(|error| self.unreadable(&error))?;
        }
        while let Some(header) = self.next(&mut events)? {
            if !self.event(&mut events, &header)? {
                break;
            }
            self.place.event_end = events.end_offset();
        }
        // Of what was skipped at the end of a file the client is told by the next file's beginning.
        Ok(self.is_closed)
    }

    /// The next event, waited for where there is none yet; `None` at the end of a closed file, or of
    /// the last one for a client that does not wait.
    fn next(&mut self, events: &mut EventFile) -> Step<Option<EventHeader>> {
        loop {
            let next = events.next(self.limit);
            match next.map_err(|error| self.unreadable(&error))? {
                Next::Event(header) => return Ok(Some(header)),
                Next::Beyond(wanted) => {
                    if !self.reach(events, wanted)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits until the current file may be read up to `wanted`; `false` where that will not be.
    fn reach(&mut self, events: &EventFile, wanted: u64) -> Step<bool> {
        loop {
            self.look(events)?;
            if wanted <= self.limit {
                return Ok(true);
            }
            if self.is_closed {
                return match self.limit.checked_sub(events.end_offset()) {
                    Some(0) if wanted == events.end_offset() + EventHeader::SIZE as u64 => {
                        Ok(false)
                    }
                    _ => Err(self.truncated()),
                };
            }
            self.tell_position()?;
            self.outlet.flush().map_err(Stop::Broken)?;
            self.report(events.offset());
            if self.command.non_blocking {
                return Ok(false);
            }
            self.wait()?;
        }
    }

    /// Finds out how far the current file may be read.
    fn look(&mut self, events: &EventFile) -> Step<()> {
        if self.is_closed {
            return Ok(());
        }
        let end = self.dump.source.end().map_err(|e| self.unreadable(&e))?;
        if end.file == events.source().name {
            self.limit = end.bytes;
        } else {
            // Asked after it was known to be closed: nothing can have been added since.
            self.limit = events.size().map_err(|error| self.unreadable(&error))?;
            self.is_closed = true;
        }
        self.end = Some(end);
        Ok(())
    }

    fn wait(&mut self) -> Step<()> {
        self.check()?;
        if self.outlet.input() != Input::Silent {
            return Err(Stop::ClientLeft);
        }
        let mut slice = WAIT_SLICE;
        if let Some(period) = self.dump.agreement.heartbeat_period {
            let silence = self.outlet.silence();
            if silence >= period {
                self.heartbeat(self.place.event_end)?;
                self.outlet.flush().map_err(Stop::Broken)?;
            }
            let left = period.saturating_sub(self.outlet.silence());
            slice = slice.min(left.max(Duration::from_millis(1)));
        }
        if let Some(end) = &self.end {
            self.dump.source.wait(end, slice);
        }
        Ok(())
    }

    /// Whether the dump is to go on.
    fn check(&self) -> Step<()> {
        if self.dump.stop.is_closed() {
            return Err(Stop::Broken(Closer::interrupted()));
        }
        if self.dump.ticket.is_replaced() {
            return Err(self.fatal(
                "A replica with the same server_uuid/server_id as this replica has connected to \
                 the source",
            ));
        }
        Ok(())
    }

    /// Shows others how far this dump is.
    fn report(&self, position: u64) {
        let ticket = self.dump.ticket;
        let sent = self.outlet.sent_bytes();
        // Once a flush, not once a transaction.
        if ticket.sent_bytes.swap(sent, Ordering::Relaxed) != sent {
            let mut shown = ticket.position.lock();
            shown.0.clone_from(&self.place.file);
            shown.1 = position;
        }
    }

    /// Sends the first event of a file, as it stands there but for the mark of an open file.
    fn format_description(
        &mut self,
        events: &mut EventFile,
        header: EventHeader,
        position: u64,
    ) -> Step<()> {
        let bytes = events.whole().unwrap_or_default().to_vec();
        let format = FormatDescription::decode(&bytes);
        let format = format.map_err(|error| self.unreadable(&error))?;
        if format.checksum() != ChecksumAlgorithm::None && self.dump.agreement.checksum.is_none() {
            return Err(self.fatal(
                "Replica can not handle replication events with the checksum that source is \
                 configured to log",
            ));
        }
        self.checksum = format.checksum();
        if self.skips_first.is_none() {
            self.skips_first = Some(self.skips_first_transaction(events, &format)?);
        }
        let skips_first = self.skips_first == Some(true);
        let mut header = EventHeader {
            flags: header.flags & !EventHeader::BINLOG_IN_USE,
            ..header
        };
        // A replica that starts inside the file must not take it for the source's restart, and drop
        // its temporary tables.
        let is_inside = position > FIRST_POSITION;
        if is_inside {
            header.end_log_pos = 0;
        }
        let mut sent = bytes;
        if is_inside || skips_first && format.created() != 0 {
            sent.clear();
            let without = format.clone().with_created(0);
            Event::FormatDescription(Box::new(without)).encode(&format, &header, &mut sent);
        } else if let Some(place) = sent.get_mut(..EventHeader::SIZE) {
            place.copy_from_slice(&header.encode());
        }
        self.format = Some(format);
        self.outlet.event(&sent).map_err(Stop::Broken)
    }

    /// Whether the client has the first transaction of this file; reading then goes on where it was.
    fn skips_first_transaction(
        &mut self,
        events: &mut EventFile,
        format: &FormatDescription,
    ) -> Step<bool> {
        let Some(have) = &self.have else {
            return Ok(false);
        };
        let back = events.end_offset();
        let mut skips = false;
        let result: Result<()> = (|| {
            while let Next::Event(header) = events.next(self.limit)? {
                if is_gtid(&header) {
                    skips = have.contains(&decode_gtid(events, format)?.gtid);
                    break;
                }
                if header.event_type != EventType::PREVIOUS_GTIDS {
                    break;
                }
            }
            events.seek(back)
        })();
        result.map_err(|error| self.unreadable(&error))?;
        Ok(skips)
    }

    /// Sends an event or skips it; `false` where the rest of its transaction will not come.
    fn event(&mut self, events: &mut EventFile, header: &EventHeader) -> Step<bool> {
        if is_gtid(header) && !self.begin_transaction(events)? {
            return Ok(false);
        }
        if header.event_type == EventType::ANONYMOUS_GTID && self.command.gtid_set.is_some() {
            return Err(Stop::Refusal(refusal::fatal(format!(
                "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file ./{}, \
                 position {}.",
                self.place.file,
                events.offset()
            ))));
        }
        if self.is_skipping && header.event_type != EventType::ROTATE {
            self.skipped_to = Some(events.end_offset());
            return Ok(true);
        }
        let verified = events.verify(self.checksum);
        verified.map_err(|error| self.unreadable(&error))?;
        if header.event_type == EventType::PREVIOUS_GTIDS {
            self.check_nothing_is_missing(events)?;
        }
        self.tell_position()?;
        if let Some(event) = events.whole() {
            self.outlet.event(event).map_err(Stop::Broken)?;
            return Ok(true);
        }
        let outlet = &mut self.outlet;
        outlet
            .begin_event(header.length as usize)
            .and_then(|()| events.pieces(|piece| outlet.piece(piece)))
            .map_err(Stop::Broken)?;
        Ok(true)
    }

    /// Decides whether a transaction is skipped, when all of it is there.
    fn begin_transaction(&mut self, events: &mut EventFile) -> Step<bool> {
        self.check()?;
        self.report(events.offset());
        let Some(format) = &self.format else {
            return Err(self.fatal("bogus data in log event"));
        };
        let gtid = decode_gtid(events, format).map_err(|error| self.unreadable(&error))?;
        let behind = events.offset().saturating_add(gtid.transaction_length);
        if behind > self.limit && !self.reach(events, behind)? {
            return Ok(false);
        }
        let set = self.command.gtid_set.as_ref();
        self.is_skipping = set.is_some_and(|set| set.contains(&gtid.gtid));
        if self.is_skipping {
            // Older servers do not tell the length: then the events are passed over one by one.
            if gtid.transaction_length > 0 {
                let sought = events.seek(behind);
                sought.map_err(|error| self.unreadable(&error))?;
            }
        } else if let Some(have) = &mut self.have {
            have.insert(&gtid.gtid);
        }
        Ok(true)
    }

    /// Checks that what came before this file is with the client, or was sent to it: transactions
    /// that are in no file (those of a `gtid_purged` that was set) would be missed without a sign.
    fn check_nothing_is_missing(&self, events: &mut EventFile) -> Step<()> {
        let (Some(have), Some(format), Some(set)) =
            (&self.have, &self.format, &self.command.gtid_set)
        else {
            return Ok(());
        };
        let previous = events.copy().and_then(|event| {
            let event = format.verify(&event)?;
            PreviousGtidsEvent::decode(format, event)?.gtids(self.dump.limits)
        });
        let previous = previous.map_err(|error| self.unreadable(&error))?;
        if previous.is_subset(have) {
            return Ok(());
        }
        let missing = previous.subtract(have);
        warn!(
            "the binary log has lost {missing} before {}: a replica that lacks it is refused",
            events.source().name
        );
        Err(Stop::Refusal(refusal::purged(set, &missing)))
    }

    /// Tells the client how far it has come by what was skipped.
    fn tell_position(&mut self) -> Step<()> {
        match self.skipped_to.take() {
            Some(position) => self.heartbeat(position),
            None => Ok(()),
        }
    }

    fn heartbeat(&mut self, position: u64) -> Step<()> {
        let is_v2 = self.command.heartbeat_v2;
        let mut body = Vec::new();
        let name = self.place.file.clone();
        let event = HeartbeatEvent::compose(name.as_bytes(), position, is_v2, &mut body);
        let event_type = if is_v2 {
            EventType::HEARTBEAT_V2
        } else {
            EventType::HEARTBEAT
        };
        // Modulo 2^32 in both versions: all that the first has.
        let header = self.own_header(event_type, 0, position as u32);
        self.send_own(&Event::Heartbeat(event), header)
    }

    /// The header of an event that is in no file.
    fn own_header(&self, event_type: EventType, flags: u16, end_log_pos: u32) -> EventHeader {
        EventHeader {
            timestamp: 0,
            event_type,
            server_id: self.dump.source.identity().server_id,
            length: 0,
            end_log_pos,
            flags,
        }
    }

    fn send_own(&mut self, event: &Event<'_>, header: EventHeader) -> Step<()> {
        let format = FormatDescription::new(SERVER_VERSION, self.checksum);
        let format = format.map_err(Stop::Broken)?;
        let mut bytes = Vec::new();
        event.encode(&format, &header, &mut bytes);
        self.outlet.event(&bytes).map_err(Stop::Broken)
    }

    fn truncated(&self) -> Stop {
        self.fatal("binlog truncated in the middle of event; consider out of disk space on source")
    }

    fn fatal(&self, text: &str) -> Stop {
        Stop::Refusal(refusal::fatal_at(text, &self.place))
    }

    #[cold]
    fn unreadable(&self, error: &Error) -> Stop {
        warn!("a dump ends, for the log cannot be read: {error}");
        Stop::Refusal(refusal::unreadable(error, &self.place))
    }
}

fn refuse(text: &str) -> Stop {
    Stop::Refusal(refusal::fatal(text))
}
