//! Makes the first inputs of the fuzz targets from the real logs and the recorded logins in
//! `tests/data`: `seeds CORPUS FILE...`
//!
//! A fuzz target in form, since it is built like them and so needs their runtime; it ends before the
//! fuzzing begins.
#![no_main]

use std::path::{Path, PathBuf};

use rejoin::Limits;
use rejoin::binlog::{
    Cell, ColumnKind, Event, EventHeader, EventType, LogBytes, RowsEvent, TableMaps,
};
use rejoin::wire::packet::write_packet;

struct Corpus {
    root: PathBuf,
    count: usize,
}

impl Corpus {
    fn add(&mut self, target: &str, bytes: &[u8]) {
        let directory = self.root.join(target);
        std::fs::create_dir_all(&directory).expect("the corpus is writable");
        self.count += 1;
        let file = directory.join(format!("seed-{}", self.count));
        std::fs::write(file, bytes).expect("the corpus is writable");
    }
}

libfuzzer_sys::fuzz_target!(
    init: {
        make();
        std::process::exit(0)
    },
    |_data: &[u8]| ()
);

fn make() {
    let mut arguments = std::env::args().skip(1);
    let mut corpus = Corpus {
        root: arguments.next().expect("CORPUS").into(),
        count: 0,
    };
    for path in arguments {
        let path = Path::new(&path);
        let bytes = std::fs::read(path).expect("the file can be read");
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("server") => login("login", 16, &bytes, &mut corpus),
            Some("client") => login("server_login", 4, &bytes, &mut corpus),
            _ => split(&bytes, &mut corpus),
        }
    }
}

/// One side of a login, with every choice that the other side can have made.
fn login(target: &str, choices: u8, stream: &[u8], corpus: &mut Corpus) {
    for choice in 0..choices {
        corpus.add(target, &[&[choice], stream].concat());
    }
    corpus.add("packet_framing", &[&[1, 0xff], stream].concat());
}

fn split(log: &[u8], corpus: &mut Corpus) {
    // The fronts: a large input costs the fuzzer more than it tells.
    let front = &log[..log.len().min(16 << 10)];
    corpus.add("binlog_stream", front);
    let (mut sequence, mut packets) = (0, vec![1, 0xff]);
    corpus.add("differential", front);
    let mut tables = TableMaps::new(&Limits::default());
    let mut map: Vec<u8> = Vec::new();
    let mut reader = LogBytes::new(log, &Limits::default()).expect("a log");
    while let Some(event) = reader.next_event().expect("a sound log") {
        let body = event.verify().expect("a sound log");
        if packets.len() < 16 << 10 {
            sequence = write_packet(sequence, event.bytes, &mut packets);
        }
        if body.len() > 4096 {
            continue;
        }
        corpus.add("binlog_event", body);
        match Event::decode(event.format, body).expect("a sound event") {
            Event::TableMap(_) => {
                map = body[EventHeader::SIZE..].to_vec();
                tables.add(event.format, body).expect("a sound map");
            }
            Event::Rows(rows) => {
                if let Ok(length) = u8::try_from(map.len()) {
                    corpus.add("binlog_rows", &[&[length][..], &map, body].concat());
                }
                documents(&rows, &tables, corpus);
            }
            Event::TransactionPayload(_) => {
                assert_eq!(event.header.event_type, EventType::TRANSACTION_PAYLOAD);
                corpus.add("binlog_payload", &body[EventHeader::SIZE..]);
            }
            Event::PreviousGtids(previous) => corpus.add("gtid_binary", previous.encoded()),
            Event::Gtid(gtid) => corpus.add("gtid_text", gtid.gtid.to_string().as_bytes()),
            _ => {}
        }
    }
    corpus.add("packet_framing", &packets);
}

/// JSON documents, and differences behind the document that they change.
fn documents(rows: &RowsEvent<'_>, tables: &TableMaps, corpus: &mut Corpus) {
    let table = tables.of(rows).expect("a map came before");
    let mut images = rows.rows(&table.columns).expect("a sound event");
    let mut cells = Vec::new();
    let mut before: Vec<u8> = Vec::new();
    while let Some(image) = images.next_image(&mut cells).expect("a sound event") {
        for (column, cell) in table.columns.iter().zip(&cells) {
            if column.kind != ColumnKind::Json {
                continue;
            }
            let Some(bytes) = cell.bytes(image.bytes) else {
                continue;
            };
            let content = column.content(bytes).expect("measured");
            if let Cell::Partial { .. } = cell {
                let length = (before.len() as u16).to_le_bytes();
                corpus.add(
                    "binlog_json_diff",
                    &[&length[..], &before, content].concat(),
                );
            } else {
                corpus.add("binlog_json", content);
                before = content.to_vec();
            }
        }
    }
}
