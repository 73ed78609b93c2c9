//! Events as text for people, in the manner of `mysqlbinlog -vv`.
//!
//! ```text
//! # at 1995
//! #2026-11-21 02:57:20 server id 11  end_log_pos 2444  size 449  CRC32 0x38e1b71d  Write_rows  GTID ..
//! # `t1`.`alltypes`, table id 355, flags STMT_END USE_SQL_FOREIGN_KEY
//! ### INSERT INTO `t1`.`alltypes`
//! ### SET
//! ###   @1=1 /* INT UNSIGNED NOT NULL */
//! ```
//!
//! Times are in UTC.

use std::io::Write;

use super::columns::{checksum_name, intvar_name, plain_text, user_value, utf8};
use super::names::{HEADER_FLAGS, SESSION_BITS, flags, server_version, time, time_us};
use super::seen::{Seen, Totals};
use super::text_form::{Hex, escape, line};
use super::text_rows::{rows, table_map};
use crate::binlog::{
    Event, ExecuteLoadQueryEvent, GtidEvent, PayloadCompression, QueryEvent, StatusVariable,
    UNDEFINED_SERVER_VERSION, UserVarEvent, Value,
};
use crate::gtid::GtidSet;

/// Appends the text of an event; whether something in it could not be decoded.
pub(super) fn event(seen: &Seen<'_>, out: &mut Vec<u8>) -> bool {
    head(seen, out);
    match body(seen, out) {
        Ok(()) => false,
        Err(cause) => {
            line!(out, "# cannot be read: {cause}");
            true
        }
    }
}

fn head(seen: &Seen<'_>, out: &mut Vec<u8>) {
    let header = &seen.header;
    line!(out, "# at {}", seen.offset);
    out.push(b'#');
    time(header.timestamp, out);
    let _ = write!(
        out,
        " server id {}  end_log_pos {}  size {}",
        header.server_id, header.end_log_pos, header.length
    );
    if let Some(checksum) = seen.checksum {
        let _ = write!(out, "  CRC32 0x{checksum:08x}");
    }
    let _ = write!(out, "  {}", header.event_type);
    if let Some(gtid) = &seen.gtid {
        let _ = write!(out, "  GTID {gtid}");
    }
    if header.flags != 0 {
        let names = flags(header.flags, HEADER_FLAGS);
        let _ = write!(out, "  flags {}", names.join(" "));
    }
    if let Some(offset) = seen.payload_offset {
        let _ = write!(out, "  (compressed, in the payload at {offset})");
    }
    out.push(b'\n');
}

pub(super) fn summary(totals: &Totals) -> String {
    format!(
        "# {} events, {} transactions, {} checksum errors\n",
        totals.events, totals.transactions, totals.checksum_errors
    )
}

fn body(seen: &Seen<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    match seen.event {
        Event::FormatDescription(format) => {
            line!(
                out,
                "# binlog v 4, server v {}, created {}, {} event types, checksum {}{}",
                format.server_version().escape_ascii(),
                format.created(),
                format.post_header_lengths().len(),
                checksum_name(format.checksum()),
                if format.in_use() {
                    ", in use or not closed"
                } else {
                    ""
                }
            );
        }
        Event::PreviousGtids(previous) => {
            let set = previous
                .gtids(seen.limits)
                .map_err(|error| error.to_string())?;
            gtids(&set, out);
        }
        Event::Rotate(rotate) => line!(
            out,
            "# to {} at {}",
            rotate.file.escape_ascii(),
            rotate.position
        ),
        Event::Stop => {}
        Event::Heartbeat(heartbeat) => line!(
            out,
            "# {} at {}",
            heartbeat.file.escape_ascii(),
            heartbeat.position
        ),
        Event::Incident(incident) => line!(
            out,
            "# incident {}: {}",
            incident.number,
            String::from_utf8_lossy(incident.message)
        ),
        Event::Gtid(event) => gtid(event, out),
        Event::Query(event) => query(event, out)?,
        Event::Xid(event) => line!(out, "# Xid = {}\nCOMMIT;", event.xid),
        Event::XaPrepare(xa) => {
            let verb = if xa.one_phase { "COMMIT" } else { "PREPARE" };
            let end = if xa.one_phase { " ONE PHASE" } else { "" };
            line!(
                out,
                "XA {verb} X'{}',X'{}',{}{end};",
                Hex(xa.gtrid),
                Hex(xa.bqual),
                xa.format_id
            );
        }
        Event::TableMap(map) => table_map(map, seen, out)?,
        Event::Rows(event) => rows(event, seen, out)?,
        Event::RowsQuery(event) => commented(event.statement, out),
        Event::TransactionPayload(payload) => {
            let size = payload
                .uncompressed_size
                .map_or(String::new(), |size| format!(" of {size} bytes"));
            let name = match payload.compression {
                PayloadCompression::Zstd => "ZSTD",
                PayloadCompression::None => "NONE",
            };
            line!(
                out,
                "# compression {name}, {} bytes in place{size}; its events follow",
                payload.payload.len()
            );
        }
        Event::Intvar(intvar) => {
            let name = intvar_name(intvar.kind)?;
            line!(out, "SET {name}={};", intvar.value);
        }
        Event::Rand(rand) => line!(
            out,
            "SET @@rand_seed1={}, @@rand_seed2={};",
            rand.seed1,
            rand.seed2
        ),
        Event::UserVar(variable) => user_var(variable, out)?,
        Event::BeginLoadQuery(block) | Event::AppendBlock(block) => line!(
            out,
            "# file id {}, {} bytes of the file",
            block.file_id,
            block.block.len()
        ),
        Event::DeleteFile(file) => line!(out, "# file id {}", file.file_id),
        Event::ExecuteLoadQuery(event) => load(event, out)?,
        Event::ViewChange(view) => line!(
            out,
            "# view {}, sequence number {}, {} certification entries",
            view.view_id.escape_ascii(),
            view.sequence_number,
            view.certification_count
        ),
        Event::TransactionContext(context) => {
            line!(
                out,
                "# server {}, thread id {}, {} items written, {} read",
                context.server_uuid.escape_ascii(),
                context.thread_id,
                context.write_set_count,
                context.read_set_count
            );
            let set = GtidSet::decode(context.snapshot_version, seen.limits)
                .map_err(|error| error.to_string())?;
            gtids(&set, out);
        }
        Event::Ignorable { body, .. } => line!(out, "# {} bytes: {}", body.len(), Hex(body)),
    }
    Ok(())
}

fn gtids(set: &GtidSet, out: &mut Vec<u8>) {
    if set.is_empty() {
        return line!(out, "# [empty]");
    }
    for part in set.to_string().split(',') {
        line!(out, "# {part}");
    }
}

fn gtid(gtid: &GtidEvent, out: &mut Vec<u8>) {
    line!(
        out,
        "# last_committed={} sequence_number={} rbr_only={} transaction_length={}",
        gtid.last_committed,
        gtid.sequence_number,
        if gtid.flags & GtidEvent::MAY_HAVE_STATEMENTS == 0 {
            "yes"
        } else {
            "no"
        },
        gtid.transaction_length
    );
    for (name, timestamp) in [
        ("original_commit_timestamp", gtid.original_commit_timestamp),
        (
            "immediate_commit_timestamp",
            gtid.immediate_commit_timestamp,
        ),
    ] {
        if timestamp != 0 {
            let _ = write!(out, "# {name}={timestamp} (");
            time_us(timestamp, out);
            line!(out, " UTC)");
        }
    }
    for (name, version) in [
        ("original_server_version", gtid.original_server_version),
        ("immediate_server_version", gtid.immediate_server_version),
    ] {
        if version != UNDEFINED_SERVER_VERSION {
            line!(out, "# {name}={version} ({})", server_version(version));
        }
    }
    if gtid.commit_group_ticket != 0 {
        line!(out, "# commit_group_ticket={}", gtid.commit_group_ticket);
    }
    if gtid.is_anonymous() {
        line!(out, "SET @@SESSION.GTID_NEXT='ANONYMOUS';");
    } else {
        line!(out, "SET @@SESSION.GTID_NEXT='{}';", gtid.gtid);
    }
}

fn query(query: &QueryEvent<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    line!(
        out,
        "# thread_id={} exec_time={} error_code={}",
        query.thread_id,
        query.execution_time,
        query.error_code
    );
    let mut client = None;
    let mut settings = Vec::new();
    for variable in query.status() {
        let variable = variable.map_err(|error| error.to_string())?;
        if let StatusVariable::Charset { client: number, .. } = variable {
            client = Some(number);
        }
        status(&variable, &mut settings);
    }
    if !settings.is_empty() {
        line!(out, "# {}", settings.join(", "));
    }
    if !query.database.is_empty() {
        line!(out, "use `{}`;", String::from_utf8_lossy(query.database));
    }
    let text = utf8(client, query.statement);
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(query.statement).into_owned());
    line!(out, "{text};");
    Ok(())
}

fn status(variable: &StatusVariable<'_>, settings: &mut Vec<String>) {
    let text = |bytes: &[u8]| format!("'{}'", String::from_utf8_lossy(bytes));
    let mut set = |name: &str, value: String| settings.push(format!("{name}={value}"));
    match *variable {
        StatusVariable::Flags2(flags) => {
            for (bit, name, value) in SESSION_BITS {
                set(name, u8::from((flags & bit != 0) == *value).to_string());
            }
        }
        StatusVariable::SqlMode(mode) => set("sql_mode", mode.to_string()),
        StatusVariable::Catalog(name) => set("catalog", text(name)),
        StatusVariable::AutoIncrement(increment, offset) => {
            set("auto_increment_increment", increment.to_string());
            set("auto_increment_offset", offset.to_string());
        }
        StatusVariable::Charset {
            client,
            connection,
            server,
        } => {
            set("character_set_client", client.to_string());
            set("collation_connection", connection.to_string());
            set("collation_server", server.to_string());
        }
        StatusVariable::TimeZone(zone) => set("time_zone", text(zone)),
        StatusVariable::LcTimeNames(number) => set("lc_time_names", number.to_string()),
        StatusVariable::CharsetDatabase(number) => set("collation_database", number.to_string()),
        StatusVariable::TableMapForUpdate(bits) => set("table_map_for_update", bits.to_string()),
        StatusVariable::MasterDataWritten(bytes) => set("master_data_written", bytes.to_string()),
        StatusVariable::Invoker { user, host } => {
            set("invoker", format!("{}@{}", text(user), text(host)));
        }
        StatusVariable::UpdatedDatabases(names) => {
            let names = names.map_or_else(
                || "too many to list".to_owned(),
                |names| {
                    let names: Vec<_> = names
                        .split(|byte| *byte == 0)
                        .filter(|name| !name.is_empty())
                        .map(text)
                        .collect();
                    names.join(" ")
                },
            );
            set("updated_databases", names);
        }
        StatusVariable::Microseconds(number) => set("microseconds", number.to_string()),
        StatusVariable::ExplicitDefaultsForTimestamp(value) => {
            set("explicit_defaults_for_timestamp", value.to_string());
        }
        StatusVariable::DdlXid(xid) => set("Xid", xid.to_string()),
        StatusVariable::DefaultCollationForUtf8mb4(number) => {
            set("default_collation_for_utf8mb4", number.to_string());
        }
        StatusVariable::SqlRequirePrimaryKey(value) => {
            set("sql_require_primary_key", value.to_string());
        }
        StatusVariable::DefaultTableEncryption(value) => {
            set("default_table_encryption", value.to_string());
        }
        StatusVariable::EnableCascadeTriggers(value) => {
            set("enable_cascade_triggers", value.to_string());
        }
    }
}

fn user_var(variable: &UserVarEvent<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let name = String::from_utf8_lossy(variable.name);
    let Some(value) = &variable.value else {
        line!(out, "SET @`{name}`=NULL;");
        return Ok(());
    };
    let text = match user_value(value) {
        Value::Bytes(bytes) => match utf8(u16::try_from(value.collation).ok(), bytes) {
            Some(text) => format!("'{}' /* collation {} */", escape(&text), value.collation),
            None => format!("X'{}' /* collation {} */", Hex(bytes), value.collation),
        },
        other => plain_text(&other).map_err(|error| error.to_string())?,
    };
    line!(out, "SET @`{name}`={text};");
    Ok(())
}

/// A statement that was not executed from here, each line as a comment.
fn commented(statement: &[u8], out: &mut Vec<u8>) {
    for text in String::from_utf8_lossy(statement).lines() {
        line!(out, "# {text}");
    }
}

fn load(load: &ExecuteLoadQueryEvent<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let duplicates = match load.duplicate_handling {
        0 => "are errors",
        1 => "are ignored",
        _ => "are replaced",
    };
    line!(
        out,
        "# file id {}, its name is at {}..{} of the statement, duplicates {duplicates}",
        load.file_id,
        load.file_name_start,
        load.file_name_end
    );
    query(&load.query, out)
}
