//! What the group has committed: one total order of transactions, as bytes of a real binary log.

use std::collections::HashMap;

use crate::binlog::{
    ChecksumAlgorithm, Event, EventHeader, EventType, FormatDescription, GtidEvent, QueryEvent,
    RotateEvent, XidEvent,
};
use crate::gtid::{Gtid, GtidSet, Tag, Tsid, Uuid};

/// More than the largest transaction of a history.
pub(super) const LARGEST_TRANSACTION: usize = 50_000;
/// What a joiner takes of a transaction at most.
pub(super) const TRANSACTION_LIMIT: usize = 3 * LARGEST_TRANSACTION;

/// UUID of the group itself.
pub(super) const GROUP: Uuid = Uuid([0xaa; 16]);

pub(super) struct Transaction {
    pub(super) gtid: Gtid,
    /// Its events as a donor sends them, back to back, with checksums.
    pub(super) bytes: Vec<u8>,
    /// The transaction that has to be applied before this one, because it changes the same row.
    pub(super) needs: Option<usize>,
}

/// All transactions in the group's order.
pub(super) struct History {
    format: FormatDescription,
    transactions: Vec<Transaction>,
    places: HashMap<Gtid, usize>,
    executed: Vec<GtidSet>,
    used: HashMap<(Tsid, u64), u64>,
    position: u32,
}

/// What a donor puts in place of a transaction on which its data differs.
const CONFLICT: &[u8] = b"UPDATE t SET a = 'other'";

impl History {
    pub(super) fn new() -> Self {
        let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::Crc32);
        Self {
            format: format.expect("a version of today"),
            transactions: Vec::new(),
            places: HashMap::new(),
            executed: vec![GtidSet::new()],
            used: HashMap::new(),
            position: 200,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.transactions.len()
    }

    pub(super) fn get(&self, place: usize) -> &Transaction {
        &self.transactions[place]
    }

    pub(super) fn place(&self, gtid: &Gtid) -> Option<usize> {
        self.places.get(gtid).copied()
    }

    /// The GTIDs of the first `count` transactions.
    pub(super) fn executed(&self, count: usize) -> &GtidSet {
        &self.executed[count]
    }

    /// The next number of `tsid`: each member of a multi-primary group takes them from a block of
    /// its own.
    fn next_gno(&mut self, tsid: &Tsid, block: u64) -> u64 {
        let used = self.used.entry((*tsid, block)).or_default();
        *used += 1;
        block * 100_000 + *used
    }

    /// Commits a transaction whose statement has about `size` bytes.
    pub(super) fn commit(&mut self, tagged: bool, block: u64, size: usize, needs_last: bool) {
        let tag = if tagged {
            Tag::new(b"blue").expect("a tag")
        } else {
            Tag::NONE
        };
        let tsid = Tsid { uuid: GROUP, tag };
        let gtid = Gtid {
            tsid,
            gno: self.next_gno(&tsid, block),
        };
        let place = self.transactions.len();
        let mut statement = b"UPDATE t SET a = ".to_vec();
        statement.extend_from_slice(&(place as u64).to_le_bytes());
        statement.resize(statement.len().max(size), place as u8);
        let bytes = self.encode(gtid, &statement, place);
        self.push(Transaction {
            gtid,
            bytes,
            needs: place.checked_sub(1).filter(|_| needs_last),
        });
    }

    /// Commits the transaction with which older groups log a view.
    pub(super) fn commit_view(&mut self, view_id: &str) {
        let tsid = Tsid {
            uuid: GROUP,
            tag: Tag::NONE,
        };
        let gtid = Gtid {
            tsid,
            gno: self.next_gno(&tsid, 9),
        };
        let mut bytes = Vec::new();
        self.put_gtid(gtid, &mut bytes);
        self.put_query(b"BEGIN", &mut bytes);
        let mut body = [0; 40].to_vec();
        body[..view_id.len()].copy_from_slice(view_id.as_bytes());
        body.extend_from_slice(&[0; 12]);
        let mut event = header(EventType::VIEW_CHANGE, 0).encode().to_vec();
        event.extend_from_slice(&body);
        seal(&mut event);
        bytes.extend_from_slice(&event);
        self.put_query(b"COMMIT", &mut bytes);
        self.position += bytes.len() as u32;
        let place = self.transactions.len();
        self.push(Transaction {
            gtid,
            bytes,
            needs: place.checked_sub(1),
        });
    }

    fn push(&mut self, transaction: Transaction) {
        let mut executed = self.executed.last().cloned().unwrap_or_default();
        executed.insert(&transaction.gtid);
        self.executed.push(executed);
        self.places
            .insert(transaction.gtid, self.transactions.len());
        self.transactions.push(transaction);
    }

    /// A transaction of a donor whose data differs: it changes another row.
    pub(super) fn conflicting(&self, place: usize) -> Vec<u8> {
        let mut events = Vec::new();
        self.put_gtid(self.transactions[place].gtid, &mut events);
        self.put_query(CONFLICT, &mut events);
        events
    }

    /// A transaction as nobody has ever sent it.
    pub(super) fn altered(&self, place: usize) -> Vec<u8> {
        let mut events = Vec::new();
        self.put_gtid(self.transactions[place].gtid, &mut events);
        self.put_query(b"UPDATE t SET a = 'altered'", &mut events);
        events
    }

    /// The beginning of a transaction that is too large for any joiner.
    pub(super) fn oversized(&self, place: usize) -> Vec<u8> {
        let mut events = Vec::new();
        self.put_gtid(self.transactions[place].gtid, &mut events);
        self.put_query(b"BEGIN", &mut events);
        self.put_query(&vec![b'x'; TRANSACTION_LIMIT], &mut events);
        events
    }

    fn encode(&mut self, gtid: Gtid, statement: &[u8], place: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(statement.len() + 300);
        self.put_gtid(gtid, &mut bytes);
        if place % 7 == 3 {
            // A statement that is a transaction by itself.
            self.put_query(statement, &mut bytes);
        } else {
            self.put_query(b"BEGIN", &mut bytes);
            self.put_query(statement, &mut bytes);
            let xid = Event::Xid(XidEvent { xid: place as u64 });
            xid.encode(&self.format, &header(EventType::XID, 0), &mut bytes);
        }
        self.position = self.position.wrapping_add(bytes.len() as u32);
        bytes
    }

    fn put_gtid(&self, gtid: Gtid, out: &mut Vec<u8>) {
        let event = GtidEvent::new(gtid);
        let header = header(event.event_type(), 0);
        Event::Gtid(Box::new(event)).encode(&self.format, &header, out);
    }

    fn put_query(&self, statement: &[u8], out: &mut Vec<u8>) {
        let event = QueryEvent {
            thread_id: 1,
            execution_time: 0,
            error_code: 0,
            status_bytes: b"",
            database: b"d",
            statement,
        };
        Event::Query(event).encode(&self.format, &header(EventType::QUERY, 0), out);
    }

    /// The end of one file of the binary log, and the beginning of the next.
    pub(super) fn rotation(&self, number: u64) -> Vec<u8> {
        let file = format!("binlog.{:06}", number + 2);
        let rotate = RotateEvent {
            position: 4,
            file: file.as_bytes(),
        };
        let mut bytes = Vec::new();
        let header = header(EventType::ROTATE, 0);
        Event::Rotate(rotate).encode(&self.format, &header, &mut bytes);
        bytes.extend_from_slice(&self.preamble(file.as_bytes()));
        bytes
    }

    /// The events with which every stream begins: the rotate that the donor makes up, and the
    /// format description.
    pub(super) fn preamble(&self, file: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let rotate = RotateEvent { position: 4, file };
        Event::Rotate(rotate).encode(
            &self.format,
            &header(EventType::ROTATE, EventHeader::ARTIFICIAL),
            &mut bytes,
        );
        self.format.encode(0, 1, false, &mut bytes);
        bytes
    }

    pub(super) fn heartbeat(&self, file: &[u8]) -> Vec<u8> {
        let mut event = header(EventType::HEARTBEAT, EventHeader::ARTIFICIAL)
            .encode()
            .to_vec();
        event.extend_from_slice(file);
        seal(&mut event);
        event
    }

    /// What applying `bytes`, events without checksums, as the transaction at `place` would do.
    pub(super) fn judge(&self, place: usize, bytes: &[u8]) -> Verdict {
        let known = &self.transactions[place];
        if is_same(&self.format, &known.bytes, bytes) {
            Verdict::Right
        } else if bytes.ends_with(CONFLICT) {
            Verdict::Conflict
        } else {
            Verdict::Wrong
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    /// The donor's data differs from the group's.
    Conflict,
    /// Nobody has ever sent this.
    Wrong,
}

fn header(event_type: EventType, flags: u16) -> EventHeader {
    EventHeader {
        timestamp: 0,
        event_type,
        server_id: 1,
        length: 0,
        end_log_pos: 0,
        flags,
    }
}

/// Sets the length of a hand-made event and appends its checksum.
fn seal(event: &mut Vec<u8>) {
    let length = event.len() as u32 + 4;
    event[EventHeader::LENGTH_OFFSET..][..4].copy_from_slice(&length.to_le_bytes());
    ChecksumAlgorithm::Crc32.append(0, event);
}

/// The events of `bytes`, one by one.
pub(super) fn events(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header = EventHeader::decode(bytes).ok()?;
        let (event, rest) = bytes.split_at(header.length as usize);
        bytes = rest;
        Some(event)
    })
}

/// Whether `stripped` are the events of `sent` without their checksums, as sent or as a relay log
/// gives them back: at other positions, and with a logical clock of its own.
fn is_same(format: &FormatDescription, sent: &[u8], mut stripped: &[u8]) -> bool {
    for (number, event) in events(sent).enumerate() {
        let length = |bytes: &[u8]| EventHeader::decode(bytes).map_or(0, |header| header.length);
        let Some((ours, rest)) = stripped.split_at_checked(length(stripped) as usize) else {
            return false;
        };
        let event = &event[..event.len() - 4];
        let place = EventHeader::LENGTH_OFFSET..EventHeader::LENGTH_OFFSET + 8;
        let same = if number == 0 {
            is_same_gtid(format, event, ours)
        } else {
            ours.len() == event.len()
                && ours[..place.start] == event[..place.start]
                && ours[place.end..] == event[place.end..]
        };
        if !same {
            return false;
        }
        stripped = rest;
    }
    stripped.is_empty()
}

/// Whether two GTID events differ in nothing but the logical clock and the length that follows from it.
fn is_same_gtid(format: &FormatDescription, one: &[u8], other: &[u8]) -> bool {
    let heads = [one, other].map(|event| event.get(..EventHeader::LENGTH_OFFSET));
    let (Ok(one), Ok(mut other)) = (
        GtidEvent::decode(format, one),
        GtidEvent::decode(format, other),
    ) else {
        return false;
    };
    other.last_committed = one.last_committed;
    other.sequence_number = one.sequence_number;
    other.transaction_length = one.transaction_length;
    heads[0] == heads[1] && one == other
}
