//! `rejoin inspect`: binary logs and relay logs, event by event, as text or as JSON.
//!
//! ```text
//! file --walk: checksums, order--> Seen (one event, its transaction, its table) --filter--> text | json
//! ```
//!
//! What counts as damaged, and where, is what `mysqlbinlog --verify-binlog-checksum` of 9.7 calls so:
//! a log that is still being written (or whose server crashed) may end in the middle of an event, any
//! other may not; a checksum that differs, a type that the log's own format description does not
//! have, and a body that breaks the format end the reading at that event.

mod columns;
mod filter;
mod json;
mod json_event;
mod json_rows;
mod names;
mod place;
mod seen;
mod text;
mod text_form;
mod text_rows;
mod walk;

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use super::arguments::Inspect;
use crate::binlog::LogReader;
use crate::{Error, ErrorKind, Limits, Result};

use filter::Filter;
use seen::Totals;
use walk::{Flow, Walk};

/// The name that stands for standard input.
const STDIN: &str = "-";

/// How the events are shown.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Json { rows: bool },
}

pub(super) fn run(options: &Inspect) -> Result<()> {
    let form = if options.json {
        Form::Json { rows: options.rows }
    } else {
        Form::Text
    };
    let mut filter = Filter::new(options)?;
    let mut output = Output {
        sink: BufWriter::with_capacity(1 << 16, std::io::stdout().lock()),
        form,
    };
    let mut totals = Totals::default();
    let result = files(options, &mut filter, &mut output, &mut totals);
    let shown = output.summary(&totals);
    match result {
        Ok(Flow::Closed) => Ok(()),
        Ok(_) => shown,
        Err(error) => Err(error),
    }
}

fn files(
    options: &Inspect,
    filter: &mut Filter,
    output: &mut Output<'_>,
    totals: &mut Totals,
) -> Result<Flow> {
    for name in &options.files {
        if output.many_files(options) {
            output.file(name)?;
        }
        let flow = if name.as_os_str() == STDIN {
            one(std::io::stdin().lock(), options, filter, output, totals)
        } else {
            open(name).and_then(|file| one(file, options, filter, output, totals))
        };
        match flow.map_err(|error| error.in_file(name.display().to_string()))? {
            Flow::On => {}
            end => return Ok(end),
        }
    }
    Ok(Flow::On)
}

fn open(name: &Path) -> Result<File> {
    File::open(name).map_err(|error| {
        Error::new(ErrorKind::Configuration, format!("cannot open it: {error}")).caused_by(error)
    })
}

fn one(
    source: impl Read,
    options: &Inspect,
    filter: &mut Filter,
    output: &mut Output<'_>,
    totals: &mut Totals,
) -> Result<Flow> {
    let limits = Limits::default();
    let mut reader = LogReader::new(source, &limits)?;
    let mut walk = Walk::new(&limits, filter, options.v1_rows, totals);
    let flow = walk.run(&mut reader, output)?;
    if let Some(warning) = walk.warning() {
        let mut stderr = std::io::stderr().lock();
        // With nowhere to write to, the events themselves show where the log ends.
        let _ = writeln!(stderr, "warning: {warning}");
    }
    Ok(flow)
}

/// Where the events go.
struct Output<'a> {
    sink: BufWriter<std::io::StdoutLock<'a>>,
    form: Form,
}

impl Output<'_> {
    /// JSON lines carry no file's name of their own; text tells where a file begins.
    fn many_files(&self, options: &Inspect) -> bool {
        matches!(self.form, Form::Text) && options.files.len() > 1
    }

    fn file(&mut self, name: &Path) -> Result<Flow> {
        self.put(format!("# file {}\n", name.display()).as_bytes())
    }

    /// Writes; a reader that went away ends the work quietly.
    fn put(&mut self, bytes: &[u8]) -> Result<Flow> {
        check(self.sink.write_all(bytes))
    }

    /// The last line, and everything out.
    fn summary(&mut self, totals: &Totals) -> Result<()> {
        let line = match self.form {
            Form::Text => text::summary(totals),
            Form::Json { .. } => json_event::summary(totals),
        };
        self.put(line.as_bytes())?;
        check(self.sink.flush()).map(drop)
    }
}

fn check(result: std::io::Result<()>) -> Result<Flow> {
    match result {
        Ok(()) => Ok(Flow::On),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Flow::Closed),
        Err(error) => Err(Error::new(
            ErrorKind::TargetIo,
            format!("cannot write to stdout: {error}"),
        )),
    }
}
