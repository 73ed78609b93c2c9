//! One event as one line of JSON.
//!
//! ```text
//! {"event":"event","offset":..,"type":..,"timestamp":..,"server_id":..,"size":..,"gtid":..,..,"body":{..}}
//! {"event":"summary","events":N,"transactions":N,"checksum_errors":N,..}
//! ```

use super::columns::{checksum_name, intvar_name, user_value, utf8};
use super::json::{Container, hex};
use super::json_rows::{fill_rows, fill_table_map, write_value};
use super::names::{HEADER_FLAGS, SESSION_BITS, flags};
use super::seen::{Seen, Totals};
use crate::Result;
use crate::binlog::{
    Event, ExecuteLoadQueryEvent, GtidEvent, PayloadCompression, QueryEvent, StatusVariable,
    UserVarEvent, Value,
};
use crate::gtid::GtidSet;

/// Appends the line of an event; whether something in it could not be decoded.
pub(super) fn event(seen: &Seen<'_>, with_rows: bool, out: &mut Vec<u8>) -> bool {
    let mut undecoded = false;
    {
        let mut line = Container::object(out);
        line.string("event", "event");
        line.number("offset", seen.offset);
        line.string("type", &seen.header.event_type.to_string());
        line.number("timestamp", seen.header.timestamp);
        line.number("server_id", seen.header.server_id);
        line.number("size", seen.header.length);
        match &seen.gtid {
            Some(gtid) => line.string("gtid", &gtid.to_string()),
            None => line.null("gtid"),
        }
        line.number("end_log_pos", seen.header.end_log_pos);
        line.strings("flags", &flags(seen.header.flags, HEADER_FLAGS));
        if let Some(checksum) = seen.checksum {
            line.string("checksum", &format!("{checksum:08x}"));
        }
        if let Some(offset) = seen.payload_offset {
            line.number("payload_offset", offset);
        }
        let mut body = Container::object(line.value("body"));
        if let Err(error) = fill(seen, with_rows, &mut body) {
            body.string("error", &error);
            undecoded = true;
        }
    }
    out.push(b'\n');
    undecoded
}

/// The last line.
pub(super) fn summary(totals: &Totals) -> String {
    let mut out = Vec::new();
    {
        let mut line = Container::object(&mut out);
        line.string("event", "summary");
        line.number("events", totals.events);
        line.number("transactions", totals.transactions);
        line.number("checksum_errors", totals.checksum_errors);
        line.number("undecoded", totals.undecoded);
    }
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}

/// Fills in the body, as far as it can be decoded; then the cause is returned.
fn fill(seen: &Seen<'_>, with_rows: bool, body: &mut Container<'_>) -> Result<(), String> {
    let set = |set: Result<GtidSet>| set.map(|set| set.to_string()).map_err(|e| e.to_string());
    match seen.event {
        Event::FormatDescription(format) => {
            body.text("server_version", format.server_version());
            body.number("created", format.created());
            body.number("header_length", format.header_length());
            body.number("event_types", format.post_header_lengths().len());
            body.string("checksum", checksum_name(format.checksum()));
            body.boolean("in_use", format.in_use());
        }
        Event::PreviousGtids(previous) => {
            body.string("gtids", &set(previous.gtids(seen.limits))?);
        }
        Event::Rotate(rotate) => {
            body.number("position", rotate.position);
            body.text("file", rotate.file);
        }
        Event::Heartbeat(heartbeat) => {
            body.number("position", heartbeat.position);
            body.text("file", heartbeat.file);
        }
        Event::Incident(incident) => {
            body.number("number", incident.number);
            body.text("message", incident.message);
        }
        Event::Gtid(gtid) => fill_gtid(gtid, body),
        Event::Query(query) => return fill_query(query, body),
        Event::Xid(xid) => body.number("xid", xid.xid),
        Event::XaPrepare(xa) => {
            body.boolean("one_phase", xa.one_phase);
            body.number("format_id", xa.format_id);
            hex(xa.gtrid, body.value("gtrid"));
            hex(xa.bqual, body.value("bqual"));
        }
        Event::TableMap(map) => return fill_table_map(map, seen, body),
        Event::Rows(rows) => return fill_rows(rows, seen, with_rows, body),
        Event::RowsQuery(query) => body.text("statement", query.statement),
        Event::TransactionPayload(payload) => {
            let name = match payload.compression {
                PayloadCompression::Zstd => "ZSTD",
                PayloadCompression::None => "NONE",
            };
            body.string("compression", name);
            body.number("payload_size", payload.payload.len());
            if let Some(size) = payload.uncompressed_size {
                body.number("uncompressed_size", size);
            }
        }
        Event::Intvar(intvar) => {
            body.string("variable", intvar_name(intvar.kind)?);
            body.number("value", intvar.value);
        }
        Event::Rand(rand) => {
            body.number("seed1", rand.seed1);
            body.number("seed2", rand.seed2);
        }
        Event::UserVar(variable) => return fill_user_var(variable, body),
        Event::BeginLoadQuery(block) | Event::AppendBlock(block) => {
            body.number("file_id", block.file_id);
            body.number("block_size", block.block.len());
        }
        Event::DeleteFile(file) => body.number("file_id", file.file_id),
        Event::ExecuteLoadQuery(load) => return fill_load(load, body),
        Event::ViewChange(view) => {
            body.text("view_id", view.view_id);
            body.number("sequence_number", view.sequence_number);
            body.number("certification_count", view.certification_count);
        }
        Event::TransactionContext(context) => {
            body.text("server_uuid", context.server_uuid);
            body.number("thread_id", context.thread_id);
            body.boolean("gtid_specified", context.is_gtid_specified);
            body.number("write_set_count", context.write_set_count);
            body.number("read_set_count", context.read_set_count);
            let snapshot = GtidSet::decode(context.snapshot_version, seen.limits);
            body.string("snapshot_version", &set(snapshot)?);
        }
        Event::Ignorable { body: bytes, .. } => hex(bytes, body.value("bytes")),
        Event::Stop => {}
    }
    Ok(())
}

fn fill_gtid(gtid: &GtidEvent, body: &mut Container<'_>) {
    body.boolean("anonymous", gtid.is_anonymous());
    body.boolean(
        "may_have_statements",
        gtid.flags & GtidEvent::MAY_HAVE_STATEMENTS != 0,
    );
    body.number("last_committed", gtid.last_committed);
    body.number("sequence_number", gtid.sequence_number);
    body.number(
        "immediate_commit_timestamp",
        gtid.immediate_commit_timestamp,
    );
    body.number("original_commit_timestamp", gtid.original_commit_timestamp);
    body.number("transaction_length", gtid.transaction_length);
    body.number("immediate_server_version", gtid.immediate_server_version);
    body.number("original_server_version", gtid.original_server_version);
    if gtid.commit_group_ticket != 0 {
        body.number("commit_group_ticket", gtid.commit_group_ticket);
    }
}

fn fill_query(query: &QueryEvent<'_>, body: &mut Container<'_>) -> Result<(), String> {
    body.number("thread_id", query.thread_id);
    body.number("exec_time", query.execution_time);
    body.number("error_code", query.error_code);
    body.text("database", query.database);
    let client = query.status().find_map(|variable| match variable {
        Ok(StatusVariable::Charset { client, .. }) => Some(client),
        _ => None,
    });
    match utf8(client, query.statement) {
        Some(statement) => body.string("statement", &statement),
        None => body.text("statement", query.statement),
    }
    let mut status = Container::object(body.value("status"));
    for variable in query.status() {
        fill_status(&variable.map_err(|error| error.to_string())?, &mut status);
    }
    Ok(())
}

fn fill_status(variable: &StatusVariable<'_>, status: &mut Container<'_>) {
    match *variable {
        StatusVariable::Flags2(flags) => {
            for (bit, name, value) in SESSION_BITS {
                status.boolean(name, (flags & bit != 0) == *value);
            }
        }
        StatusVariable::SqlMode(mode) => status.number("sql_mode", mode),
        StatusVariable::Catalog(name) => status.text("catalog", name),
        StatusVariable::AutoIncrement(increment, offset) => {
            status.number("auto_increment_increment", increment);
            status.number("auto_increment_offset", offset);
        }
        StatusVariable::Charset {
            client,
            connection,
            server,
        } => {
            status.number("character_set_client", client);
            status.number("collation_connection", connection);
            status.number("collation_server", server);
        }
        StatusVariable::TimeZone(zone) => status.text("time_zone", zone),
        StatusVariable::LcTimeNames(number) => status.number("lc_time_names", number),
        StatusVariable::CharsetDatabase(number) => status.number("collation_database", number),
        StatusVariable::TableMapForUpdate(bits) => status.number("table_map_for_update", bits),
        StatusVariable::MasterDataWritten(bytes) => status.number("master_data_written", bytes),
        StatusVariable::Invoker { user, host } => {
            status.text("invoker_user", user);
            status.text("invoker_host", host);
        }
        StatusVariable::UpdatedDatabases(names) => match names {
            Some(names) => {
                let names: Vec<_> = names
                    .split(|byte| *byte == 0)
                    .filter(|name| !name.is_empty())
                    .map(String::from_utf8_lossy)
                    .collect();
                status.strings("updated_databases", &names);
            }
            None => status.null("updated_databases"),
        },
        StatusVariable::Microseconds(number) => status.number("microseconds", number),
        StatusVariable::ExplicitDefaultsForTimestamp(value) => {
            status.boolean("explicit_defaults_for_timestamp", value != 0);
        }
        StatusVariable::DdlXid(xid) => status.number("ddl_xid", xid),
        StatusVariable::DefaultCollationForUtf8mb4(number) => {
            status.number("default_collation_for_utf8mb4", number);
        }
        StatusVariable::SqlRequirePrimaryKey(value) => {
            status.boolean("sql_require_primary_key", value != 0);
        }
        StatusVariable::DefaultTableEncryption(value) => {
            status.boolean("default_table_encryption", value != 0);
        }
        StatusVariable::EnableCascadeTriggers(value) => {
            status.boolean("enable_cascade_triggers", value != 0);
        }
    }
}

fn fill_load(load: &ExecuteLoadQueryEvent<'_>, body: &mut Container<'_>) -> Result<(), String> {
    let duplicates = match load.duplicate_handling {
        0 => "ERROR",
        1 => "IGNORE",
        _ => "REPLACE",
    };
    body.number("file_id", load.file_id);
    body.number("file_name_start", load.file_name_start);
    body.number("file_name_end", load.file_name_end);
    body.string("duplicates", duplicates);
    fill_query(&load.query, body)
}

fn fill_user_var(variable: &UserVarEvent<'_>, body: &mut Container<'_>) -> Result<(), String> {
    body.text("name", variable.name);
    let Some(value) = &variable.value else {
        body.null("value");
        return Ok(());
    };
    match user_value(value) {
        Value::Bytes(bytes) => match utf8(u16::try_from(value.collation).ok(), bytes) {
            Some(text) => body.string("value", &text),
            None => hex(bytes, body.value("value")),
        },
        other => write_value(None, &other, body.value("value")).map_err(|e| e.to_string())?,
    }
    body.number("collation", value.collation);
    Ok(())
}
