//! A store that follows the server, and the comparison of all tables.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rejoin::Limits;
use rejoin::gtid::{GtidSet, Uuid};
use rejoin::net::{BinlogStream, Connection, DumpRequest, Url};
use rejoin::target::Target;
use rejoin::target::schema::TableName;
use rejoin::target::store::{Store, StoreOptions};
use rejoin::transaction::{Assembler, Batch};
use rejoin::verify::Report;

use crate::dice::Dice;
use crate::support::compare;
use crate::support::reaper::{self, Directory};
use crate::support::server::Server;

#[derive(Debug)]
pub struct Follower<'a> {
    server: &'a Server,
    directory: Directory,
    store: Option<Store>,
    #[cfg(feature = "disk")]
    on_disk: Option<rejoin::target::disk::Store>,
}

impl<'a> Follower<'a> {
    pub fn new(server: &'a Server) -> Self {
        let directory = reaper::directory();
        let store = Store::open(directory.path().join("store")).expect("an empty store");
        Self {
            server,
            #[cfg(feature = "disk")]
            on_disk: Some(
                rejoin::target::disk::Store::open(directory.path().join("disk"))
                    .expect("an empty store"),
            ),
            directory,
            store: Some(store),
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("it is open")
    }

    /// How many transactions were executed until now.
    pub fn transactions(&self) -> u64 {
        let store = self.store.as_ref().expect("it is open");
        store.gtid_executed().count()
    }

    /// Applies everything that the server has logged, in group commits of any size; may be, the store
    /// is closed and opened in between.
    pub fn catch_up(&mut self, dice: &mut Dice) -> Result<(), String> {
        if dice.percent(30) {
            if dice.percent(50) {
                self.store().checkpoint().expect("a checkpoint");
            }
            self.store = None;
            let mut options = StoreOptions::default();
            options.replica_parallel_workers = dice.between(1, 4);
            let store = Store::open_with(self.directory.path().join("store"), options);
            self.store = Some(store.map_err(|error| format!("opened again: {error}"))?);
            #[cfg(feature = "disk")]
            {
                self.on_disk = None;
                let store = rejoin::target::disk::Store::open(self.directory.path().join("disk"));
                self.on_disk = Some(store.map_err(|error| format!("opened again: {error}"))?);
            }
        }
        let mut stream = open(self.server, self.store().gtid_executed());
        let mut assembler = Assembler::new(Limits::default(), stream.initial_checksum());
        let group_bytes = 1 << dice.between(8, 20);
        while let Some(event) = stream.next_event().expect("the stream is whole") {
            assembler.push(event).expect("whole events");
            if assembler.byte_size() > group_bytes {
                self.apply(&mut assembler)?;
            }
        }
        self.apply(&mut assembler)
    }

    fn apply(&mut self, assembler: &mut Assembler) -> Result<(), String> {
        let batch = assembler.take(Batch::new());
        #[cfg(feature = "disk")]
        if let Some(store) = &mut self.on_disk {
            store
                .apply(&batch)
                .map_err(|error| format!("on the disk: {error}"))?;
        }
        self.store()
            .apply(&batch)
            .map_err(|error| error.to_string())
    }

    /// The store's own comparison with the server: the differences by table.
    pub fn verify(&mut self) -> Result<BTreeMap<String, u64>, String> {
        let url: Url = self.server.url().parse().expect("a URL");
        let snapshot = self.store().reader().snapshot();
        let mut settings = rejoin::verify::Settings::default();
        // Many chunks, also of small tables.
        settings.chunk_rows = 7;
        let mut differences = BTreeMap::new();
        let mut listed = Vec::new();
        rejoin::verify::verify(&url, &snapshot, &settings, &mut |report| {
            match report {
                Report::Table(told) if told.differences > 0 => {
                    let name = String::from_utf8_lossy(&told.table.table).into_owned();
                    differences.insert(name, told.differences);
                }
                Report::Difference(difference) => listed.push(difference),
                _ => {}
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| format!("verify: {error}"))?;
        let told: u64 = differences.values().sum();
        if told != listed.len() as u64 {
            return Err(format!("{told} differences counted, listed are {listed:?}"));
        }
        Ok(differences)
    }

    /// Compares the tables of a database with the server's; gives how many rows were compared.
    pub fn compare(&mut self, database: &str) -> Result<usize, String> {
        let theirs = tables_of(self.server, database);
        let snapshot = self.store().reader().snapshot();
        let ours: Vec<String> = snapshot
            .tables()
            .filter(|table| table.database == database.as_bytes())
            .map(|table| String::from_utf8_lossy(&table.table).into_owned())
            .collect();
        if !ours.iter().eq(theirs.keys()) {
            return Err(format!("tables {ours:?} against {:?}", theirs.keys()));
        }
        let mut rows = 0;
        for (table, (ordered, expected)) in &theirs {
            let name = TableName::new(database, table);
            let mut dump = Vec::new();
            let dumped = snapshot.dump(&name, &mut dump);
            dumped.map_err(|error| format!("{table}: {error}"))?;
            rows += compare_table(&dump, table, *ordered, expected)?;
            #[cfg(feature = "disk")]
            if let Some(store) = &self.on_disk {
                let mut dump = Vec::new();
                let dumped = store.reader().snapshot().dump(&name, &mut dump);
                dumped.map_err(|error| format!("{table} on the disk: {error}"))?;
                compare_table(&dump, table, *ordered, expected)
                    .map_err(|difference| format!("on the disk: {difference}"))?;
            }
        }
        Ok(rows)
    }
}

fn open(server: &Server, have: GtidSet) -> BinlogStream {
    let url: Url = server.url().parse().expect("a URL");
    let connection = Connection::connect(&url.endpoints[0], &url.options, &Limits::default())
        .expect("the server answers");
    let request = DumpRequest {
        non_blocking: true,
        ..DumpRequest::new(4_000_000_001, Uuid([0x4c; 16]), have)
    };
    BinlogStream::open(connection, &request).expect("the server serves")
}

/// What `mysql -BN` prints of each table, and whether the order of the rows is said by a key whose
/// order is known to the store.
fn tables_of(server: &Server, database: &str) -> BTreeMap<String, (bool, Vec<u8>)> {
    const MARK: &str = "@@ the next table @@";
    let tables = compare::tables_in(server, database);
    let mut script = String::new();
    for (table, order) in &tables {
        let order = order
            .as_ref()
            .map_or(String::new(), |key| format!(" ORDER BY {key}"));
        let name = format!("`{database}`.`{}`", table.replace('`', "``"));
        script.push_str(&format!("SELECT * FROM {name}{order}; SELECT '{MARK}';\n"));
    }
    let printed = server.sql_bytes(&script).expect("the tables can be read");
    let mark = format!("{MARK}\n");
    let mut rest = &printed[..];
    let mut read = BTreeMap::new();
    for (table, order) in tables {
        let at = rest
            .windows(mark.len())
            .position(|bytes| bytes == mark.as_bytes());
        let (rows, tail) = rest.split_at(at.expect("every table has its mark"));
        rest = &tail[mark.len()..];
        read.insert(table, (order.is_some(), rows.to_vec()));
    }
    read
}

fn compare_table(
    dump: &[u8],
    table: &str,
    ordered: bool,
    expected: &[u8],
) -> Result<usize, String> {
    let mut ours: Vec<&[u8]> = dump.split(|byte| *byte == b'\n').collect();
    let mut theirs: Vec<&[u8]> = expected.split(|byte| *byte == b'\n').collect();
    if !ordered {
        ours.sort_unstable();
        theirs.sort_unstable();
    }
    if ours == theirs {
        return Ok(theirs.len() - 1);
    }
    let at = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    let show = |lines: &[&[u8]]| {
        lines.get(at).map_or_else(
            || "nothing".to_owned(),
            |line| line.escape_ascii().to_string(),
        )
    };
    Err(format!(
        "{table}: {} lines against {}; line {}\n  store:  {}\n  server: {}",
        ours.len() - 1,
        theirs.len() - 1,
        at + 1,
        show(&ours),
        show(&theirs)
    ))
}
