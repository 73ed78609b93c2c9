//! A source of transactions as a server would log them, byte by byte, for tests that need no server.
//!
//! Its one table is `shop.items (id BIGINT PRIMARY KEY, name VARCHAR(255) of latin1, note LONGTEXT)`.

use rejoin::Limits;
use rejoin::binlog::{ChecksumAlgorithm, EventHeader, EventType, FormatDescription};
use rejoin::gtid::{Gtid, Tag, Tsid, Uuid};
use rejoin::transaction::{Assembler, Batch, Progress};

/// `CREATE TABLE` of the table that the rows belong to.
pub const CREATE_TABLE: &str = "CREATE TABLE items (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(255) CHARACTER SET latin1, note LONGTEXT)";

/// One row: `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub id: i64,
    pub name: Option<Vec<u8>>,
    pub note: Option<Vec<u8>>,
}

impl Item {
    pub fn new(id: i64, name: impl AsRef<[u8]>) -> Self {
        Self {
            id,
            name: Some(name.as_ref().to_vec()),
            note: None,
        }
    }

    /// The full row image.
    pub fn image(&self) -> Vec<u8> {
        let mut image = vec![0xf8];
        image.extend_from_slice(&self.id.to_le_bytes());
        match &self.name {
            Some(name) => {
                image.push(name.len() as u8);
                image.extend_from_slice(name);
            }
            None => image[0] |= 2,
        }
        match &self.note {
            Some(note) => {
                image.extend_from_slice(&(note.len() as u32).to_le_bytes());
                image.extend_from_slice(note);
            }
            None => image[0] |= 4,
        }
        image
    }
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Insert(Item),
    Update(Item, Item),
    Delete(Item),
    /// As it is logged with `binlog_row_image=MINIMAL`: the row before has its key alone.
    DeleteByKey(i64),
    /// `INSERT INTO items () VALUES ()` with `binlog_row_image=MINIMAL`: nothing of the row is logged.
    InsertDefaults,
    /// As it is logged with `binlog_row_image=NOBLOB`: the row before has its id and its name.
    DeleteWithoutNote(i64, String),
}

/// Makes transactions with rising GTIDs and gathers them in batches.
#[derive(Debug)]
pub struct Source {
    assembler: Assembler,
    tsid: Tsid,
    gno: u64,
    /// Behind `items` in the name of the table that rows belong to.
    table: u8,
}

impl Source {
    pub fn new() -> Self {
        Self::with_tag(Tag::NONE)
    }

    /// A source whose GTIDs have a tag.
    pub fn with_tag(tag: Tag) -> Self {
        Self::of("9.7.4", tag)
    }

    /// A source of another server version.
    pub fn with_version(version: &str) -> Self {
        Self::of(version, Tag::NONE)
    }

    fn of(version: &str, tag: Tag) -> Self {
        let format = FormatDescription::new(version, ChecksumAlgorithm::None).unwrap();
        let mut event = Vec::new();
        format.encode(0, 1, false, &mut event);
        let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
        assembler.push(&event).unwrap();
        Self {
            assembler,
            tsid: Tsid {
                uuid: Uuid([0xab; 16]),
                tag,
            },
            gno: 0,
            table: 0,
        }
    }

    /// The GTID with that number.
    pub fn gtid(&self, gno: u64) -> Gtid {
        Gtid {
            tsid: self.tsid,
            gno,
        }
    }

    /// Goes on behind the GTID with that number.
    pub fn skip_to(&mut self, gno: u64) {
        self.gno = gno;
    }

    /// The transactions since the last call.
    pub fn take(&mut self) -> Batch {
        self.assembler.take(Batch::new())
    }

    /// Rows that follow belong to table `shop.items<number>`, and to `shop.items` for 0.
    pub fn choose_table(&mut self, number: u8) {
        self.table = number;
    }

    /// A transaction of one statement.
    pub fn statement(&mut self, sql: &str) {
        self.gtid_event();
        assert!(self.query(sql));
    }

    /// A transaction that changes rows, one row event for each change.
    pub fn rows(&mut self, changes: &[Change]) {
        self.gtid_event();
        assert!(!self.query("BEGIN"));
        self.changes(changes);
        self.push(EventType::XID, &7u64.to_le_bytes());
    }

    /// A transaction between two statements, say `XA START ..` and `XA END ..`, and an event that
    /// ends it.
    pub fn bracketed(&mut self, statements: &[&str], changes: &[Change], end: (EventType, &[u8])) {
        self.gtid_event();
        self.query(statements[0]);
        self.changes(changes);
        for statement in &statements[1..] {
            self.query(statement);
        }
        if end.0 != EventType::QUERY {
            self.push(end.0, end.1);
        }
    }

    fn changes(&mut self, changes: &[Change]) {
        for (index, change) in changes.iter().enumerate() {
            self.push(EventType::TABLE_MAP, &table_map(self.table));
            let last = index + 1 == changes.len();
            let (event_type, images, both) = match change {
                Change::Insert(item) => (EventType::WRITE_ROWS, vec![item], false),
                Change::Update(old, new) => (EventType::UPDATE_ROWS, vec![old, new], true),
                Change::Delete(item) => (EventType::DELETE_ROWS, vec![item], false),
                Change::InsertDefaults => {
                    let body = [9 + self.table, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0b1111_1000];
                    self.push(EventType::WRITE_ROWS, &body);
                    continue;
                }
                Change::DeleteByKey(id) => {
                    let mut body = vec![9 + self.table, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0b1111_1001];
                    body.push(0xfe);
                    body.extend_from_slice(&id.to_le_bytes());
                    self.push(EventType::DELETE_ROWS, &body);
                    continue;
                }
                Change::DeleteWithoutNote(id, name) => {
                    let mut body = vec![9 + self.table, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0b1111_1011];
                    body.push(0xfc);
                    body.extend_from_slice(&id.to_le_bytes());
                    body.push(name.len() as u8);
                    body.extend_from_slice(name.as_bytes());
                    self.push(EventType::DELETE_ROWS, &body);
                    continue;
                }
            };
            let _ = last;
            let mut body = vec![9 + self.table, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0xff];
            if both {
                body.push(0xff);
            }
            for item in images {
                body.extend_from_slice(&item.image());
            }
            self.push(event_type, &body);
        }
    }

    fn gtid_event(&mut self) {
        self.gno += 1;
        let (last_committed, sequence_number) = (self.gno as i64 - 1, self.gno as i64);
        let mut body = Vec::new();
        if self.tsid.tag.is_none() {
            body.push(0);
            body.extend_from_slice(&self.tsid.uuid.0);
            body.extend_from_slice(&self.gno.to_le_bytes());
            body.push(2);
            body.extend_from_slice(&last_committed.to_le_bytes());
            body.extend_from_slice(&sequence_number.to_le_bytes());
            body.extend_from_slice(&1_700_000_000_000_000u64.to_le_bytes()[..7]);
            body.extend_from_slice(&[0xfc, 0x10, 0x01]);
            body.extend_from_slice(&90704u32.to_le_bytes());
            self.push(EventType::GTID, &body);
        } else {
            body.extend_from_slice(&[0, 0, 2]);
            for byte in self.tsid.uuid.0 {
                put_varlen(u64::from(byte), &mut body);
            }
            body.push(4);
            put_varlen(self.gno << 1, &mut body);
            body.push(6);
            let tag = self.tsid.tag.as_str().as_bytes().to_vec();
            put_varlen(tag.len() as u64, &mut body);
            body.extend_from_slice(&tag);
            for (id, value) in [(8, last_committed as u64), (10, sequence_number as u64)] {
                body.push(id);
                put_varlen(value << 1, &mut body);
            }
            body.push(12);
            put_varlen(1_700_000_000_000_000, &mut body);
            body.push(16);
            put_varlen(400, &mut body);
            let mut message = vec![2];
            put_varlen(body.len() as u64 + 3, &mut message);
            message.push(0);
            message.extend_from_slice(&body);
            self.push(EventType::GTID_TAGGED, &message);
        }
    }

    /// A Query event; whether it made a transaction whole.
    fn query(&mut self, sql: &str) -> bool {
        let mut body = vec![0; 8];
        body.push(4);
        body.extend_from_slice(&[0, 0, 0, 0]);
        body.extend_from_slice(b"shop\0");
        body.extend_from_slice(sql.as_bytes());
        self.push(EventType::QUERY, &body)
    }

    /// One event; whether it made a transaction whole.
    fn push(&mut self, event_type: EventType, body: &[u8]) -> bool {
        let header = EventHeader {
            timestamp: 1_700_000_000,
            event_type,
            server_id: 1,
            length: (EventHeader::SIZE + body.len()) as u32,
            end_log_pos: 0,
            flags: 0,
        };
        let mut event = header.encode().to_vec();
        event.extend_from_slice(body);
        self.assembler.push(&event).unwrap() == Progress::Transaction
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::new()
    }
}

fn table_map(number: u8) -> Vec<u8> {
    let mut body = vec![9 + number, 0, 0, 0, 0, 0, 1, 0];
    body.extend_from_slice(b"\x04shop\0");
    let name = match number {
        0 => "items".to_owned(),
        number => format!("items{number}"),
    };
    body.push(name.len() as u8);
    body.extend_from_slice(name.as_bytes());
    body.push(0);
    // Three columns: BIGINT, VARCHAR(255 bytes), BLOB with a length of four bytes.
    body.extend_from_slice(&[3, 8, 15, 252, 3, 255, 0, 4, 0b110]);
    // SIGNEDNESS; DEFAULT_CHARSET utf8mb4_0900_ai_ci, but latin1_swedish_ci for the first of them.
    body.extend_from_slice(&[1, 1, 0, 2, 5, 0xfc, 255, 0, 0, 8]);
    body
}

/// An unsigned number as the serialization library writes it.
fn put_varlen(value: u64, out: &mut Vec<u8>) {
    let bits = 64 - value.leading_zeros().min(63);
    let length = (((bits * 575) >> 12) + 1).min(9) as usize;
    if length == 9 {
        out.push(0xff);
        out.extend_from_slice(&value.to_le_bytes());
        return;
    }
    let marker = (1u64 << (length - 1)) - 1;
    let word = u128::from(value) << length | u128::from(marker);
    out.extend_from_slice(&word.to_le_bytes()[..length]);
}
