//! Which transactions are shown: by GTID, by time, by table.

use super::names::seconds;
use crate::binlog::{Event, EventHeader, MappedTable, QueryEvent};
use crate::cli::arguments::Inspect;
use crate::gtid::{Gtid, GtidSet};
use crate::{Error, ErrorKind, Result};

/// What the filter says about a transaction, or about an event between transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Show,
    Skip,
    /// Shown if it touches a wanted table, which it has not done so far.
    Search,
    /// It has touched one.
    Found,
    /// Nothing from here on is wanted.
    Enough,
}

/// What an event has to do with the wanted tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relevance {
    Wanted,
    Other,
    /// Text of a statement; whose rows it made is known at the next table map.
    Announcement,
    /// Belongs to the transaction as a whole.
    Frame,
}

#[derive(Debug)]
struct TableName {
    database: Vec<u8>,
    table: Vec<u8>,
}

/// The filter options, and whether the first wanted time was reached.
#[derive(Debug)]
pub(super) struct Filter {
    include: Option<GtidSet>,
    exclude: GtidSet,
    /// Not reached yet.
    start: Option<i64>,
    stop: Option<i64>,
    tables: Vec<TableName>,
}

impl Filter {
    pub(super) fn new(options: &Inspect) -> Result<Self> {
        let exclude = match &options.exclude_gtids {
            Some(text) => set("--exclude-gtids", text)?,
            None => GtidSet::new(),
        };
        let include = options
            .include_gtids
            .as_deref()
            .map(|text| set("--include-gtids", text))
            .transpose()?;
        let time = |name: &str, text: &Option<String>| {
            text.as_deref().map(|text| time(name, text)).transpose()
        };
        Ok(Self {
            include,
            exclude,
            start: time("--start-datetime", &options.start_datetime)?,
            stop: time("--stop-datetime", &options.stop_datetime)?,
            tables: options
                .table
                .iter()
                .map(|text| table(text))
                .collect::<Result<_>>()?,
        })
    }

    /// For a transaction that begins with an event of this header.
    pub(super) fn transaction(&mut self, gtid: Option<&Gtid>, header: &EventHeader) -> Choice {
        if self.is_over(header) {
            return Choice::Enough;
        }
        if let Some(start) = self.start {
            if i64::from(header.timestamp) < start {
                return Choice::Skip;
            }
            // From here on everything: clocks go back, transactions stay in their order.
            self.start = None;
        }
        let included = match (&self.include, gtid) {
            (Some(set), Some(gtid)) => set.contains(gtid),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let excluded = gtid.is_some_and(|gtid| self.exclude.contains(gtid));
        if !included || excluded {
            Choice::Skip
        } else if self.tables.is_empty() {
            Choice::Show
        } else {
            Choice::Search
        }
    }

    /// For an event between transactions: what frames the log is always shown.
    pub(super) fn outside(&self, header: &EventHeader) -> Choice {
        if header.timestamp != 0 && self.is_over(header) {
            Choice::Enough
        } else {
            Choice::Show
        }
    }

    fn is_over(&self, header: &EventHeader) -> bool {
        self.stop
            .is_some_and(|stop| i64::from(header.timestamp) >= stop)
    }

    /// What `event` has to do with the wanted tables; `mapped` is the table of table maps and rows.
    pub(super) fn relevance(&self, event: &Event<'_>, mapped: Option<&MappedTable>) -> Relevance {
        match event {
            Event::TableMap(map) => self.wants(map.database, map.table),
            Event::Rows(_) => match mapped {
                Some(table) => self.wants(&table.database, &table.table),
                None => Relevance::Other,
            },
            Event::RowsQuery(_) => Relevance::Announcement,
            Event::Query(query) if self.named_in(query) => Relevance::Wanted,
            Event::ExecuteLoadQuery(load) if self.named_in(&load.query) => Relevance::Wanted,
            _ => Relevance::Frame,
        }
    }

    fn wants(&self, database: &[u8], table: &[u8]) -> Relevance {
        let wanted = |name: &TableName| name.database == database && name.table == table;
        if self.tables.iter().any(wanted) {
            Relevance::Wanted
        } else {
            Relevance::Other
        }
    }

    /// Whether a statement has the words of a wanted table's name in it, its database as a word or
    /// as the default database.
    fn named_in(&self, query: &QueryEvent<'_>) -> bool {
        let has = |word: &[u8]| words(query.statement).any(|other| other == word);
        self.tables.iter().any(|name| {
            has(&name.table) && (query.database == name.database || has(&name.database))
        })
    }
}

/// The runs of characters that names are made of.
fn words(statement: &[u8]) -> impl Iterator<Item = &[u8]> {
    statement
        .split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)))
        .filter(|word| !word.is_empty())
}

fn wrong(option: &str, text: &str, expected: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("{option}: {text:?} is not {expected}"),
    )
}

fn set(option: &str, text: &str) -> Result<GtidSet> {
    text.parse()
        .map_err(|_| wrong(option, text, "a GTID set").remedy("for example UUID:1-100,UUID:tag:7"))
}

fn time(option: &str, text: &str) -> Result<i64> {
    seconds(text).ok_or_else(|| {
        wrong(option, text, "a time").remedy("for example '2026-11-21 03:00:00', in UTC")
    })
}

fn table(text: &str) -> Result<TableName> {
    match text.split_once('.') {
        Some((database, table)) if !database.is_empty() && !table.is_empty() => Ok(TableName {
            database: database.into(),
            table: table.into(),
        }),
        _ => Err(wrong("--table", text, "DB.TABLE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_statements() {
        let found: Vec<&[u8]> = words(b"ALTER TABLE `a`.`b_1` ADD c$ INT").collect();
        let expected: [&[u8]; 7] = [b"ALTER", b"TABLE", b"a", b"b_1", b"ADD", b"c$", b"INT"];
        assert_eq!(found, expected);
    }

    #[test]
    fn names_need_both_parts() {
        assert!(table("a.b").is_ok());
        for text in ["a", ".b", "a."] {
            assert!(table(text).is_err(), "{text}");
        }
    }
}
