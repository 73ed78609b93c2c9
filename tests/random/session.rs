//! A client that tries statements and counts what became of them.

use std::collections::BTreeSet;

use rejoin::Limits;
use rejoin::net::{Connection, Rows, Url};

use crate::model::{self, Table};
use crate::support::server::Server;

#[derive(Debug)]
pub struct Session {
    connection: Connection,
    database: String,
    tried: u64,
    done: u64,
    last_refusal: String,
    types: BTreeSet<String>,
    tables: Vec<Table>,
    names: u64,
}

impl Session {
    /// A session whose default database is a new one of the seed's.
    pub fn open(server: &Server, seed: u64) -> Self {
        let user = format!("writer_{seed}");
        server.sql(&format!(
            "CREATE USER {user} IDENTIFIED BY 'Write-1t'; GRANT ALL ON *.* TO {user};"
        ));
        let url = format!(
            "mysql://{user}:Write-1t@127.0.0.1:{}/?ssl-mode=DISABLED&get-server-public-key=ON",
            server.port
        );
        let url: Url = url.parse().expect("a URL");
        let connection = Connection::connect(&url.endpoints[0], &url.options, &Limits::default())
            .expect("login");
        let mut session = Self {
            connection,
            database: format!("random_{seed}"),
            tried: 0,
            done: 0,
            last_refusal: String::new(),
            types: BTreeSet::new(),
            tables: Vec::new(),
            names: 0,
        };
        for statement in [
            format!("CREATE DATABASE {}", session.database),
            format!("USE {}", session.database),
            "SET NAMES utf8mb4".to_owned(),
            "SET SESSION cte_max_recursion_depth = 100000".to_owned(),
        ] {
            assert!(session.execute(&statement), "{}", session.last_refusal);
        }
        session
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    pub fn tried(&self) -> u64 {
        self.tried
    }

    pub fn done(&self) -> u64 {
        self.done
    }

    pub fn last_refusal(&self) -> &str {
        &self.last_refusal
    }

    /// The types that columns had.
    pub fn types(&self) -> &BTreeSet<String> {
        &self.types
    }

    /// The tables as they were when the model was read last.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// A name that was never used before.
    pub fn new_name(&mut self, prefix: &str) -> String {
        self.names += 1;
        // Names that have to be quoted, and names that only look as if.
        let tail = ["", "", "", " x", "``q", "é", ";--", "select"][self.names as usize % 8];
        format!("`{prefix}{}{tail}`", self.names)
    }

    /// Tries a statement; whether the server did it.
    pub fn execute(&mut self, statement: &str) -> bool {
        if std::env::var("REJOIN_WORKLOAD_TRACE").is_ok() {
            eprintln!("{statement};");
        }
        self.tried += 1;
        match self.connection.execute(statement) {
            Ok(()) => {
                self.done += 1;
                true
            }
            Err(error) => {
                if std::env::var("REJOIN_WORKLOAD_TRACE").is_ok() {
                    eprintln!("-- {error}");
                }
                self.last_refusal = format!("{error}: {statement}");
                // A refusal of the server's leaves the session as it is; anything else breaks the test.
                self.connection
                    .execute("DO 1")
                    .unwrap_or_else(|_| panic!("{error}"));
                false
            }
        }
    }

    /// Executes a statement that has to succeed and gives how many rows it changed.
    pub fn changed_rows(&mut self, statement: &str) -> u64 {
        if !self.execute(statement) {
            return 0;
        }
        let count = self.query("SELECT ROW_COUNT()");
        count.text(0, 0).expect("a count").parse().unwrap_or(0)
    }

    pub fn query(&mut self, statement: &str) -> Rows {
        let rows = self.connection.query(statement);
        rows.unwrap_or_else(|error| panic!("{error}: {statement}"))
    }

    /// Reads the model anew.
    pub fn read_model(&mut self) {
        self.tables = model::read(self);
        let columns = self.tables.iter().flat_map(|table| &table.columns);
        let types = columns.map(|column| format!("{} {:?}", column.declared, column.charset));
        self.types.extend(types);
    }
}
