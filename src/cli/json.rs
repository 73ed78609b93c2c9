//! `--json`: one object a line, with `event`, `ts` and stable snake_case keys.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::attempts;
use crate::Error;
use crate::engine::{Event, Status};
use crate::group::GroupMember;
use crate::recovery::{AttemptRecord, ExitStateAction, Phase};

/// Prints `body` with its `event` and the time in seconds since 1970.
pub(super) fn print(event: &str, body: Value) {
    let mut object = Map::new();
    object.insert("event".into(), event.into());
    let ts = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64());
    object.insert("ts".into(), json!((ts * 1e3).round() / 1e3));
    if let Value::Object(fields) = body {
        object.extend(fields);
    }
    let mut stdout = std::io::stdout().lock();
    // A reader that went away ends the lines, not the recovery.
    let _ = writeln!(stdout, "{}", Value::Object(object));
    let _ = stdout.flush();
}

fn member(donor: &GroupMember) -> Value {
    json!({
        "host": donor.address.host,
        "port": donor.address.port,
        "uuid": donor.uuid.to_string(),
    })
}

/// A step of recovery; `records` are the attempts so far, which the last line tells.
pub(super) fn event(event: &Event, records: &[AttemptRecord]) {
    if let Some((name, body)) = describe(event, records) {
        print(name, body);
    }
}

/// The name and the keys of an event; none where others tell what it does.
pub(super) fn describe(event: &Event, records: &[AttemptRecord]) -> Option<(&'static str, Value)> {
    Some(match event {
        Event::Planned(plan) => (
            "plan",
            json!({
                "method": plan.method.name(),
                "reason": plan.reason,
                "missing": plan.missing.count(),
                "missing_gtid_set": plan.missing.to_string(),
                "errant": plan.errant.count(),
                "errant_gtid_set": plan.errant.to_string(),
            }),
        ),
        Event::Donor { attempt, of, donor } => {
            let mut body = member(donor);
            body["attempt"] = json!(attempt);
            body["of"] = json!(of);
            ("donor", body)
        }
        Event::Failover(record) => ("failover", attempts::record_as_json(record)),
        Event::Sleep(time) => ("sleep", json!({ "seconds": time.as_secs_f64() })),
        Event::Online {
            gtid_executed,
            transactions,
            elapsed,
            attempts: made,
        } => (
            "online",
            json!({
                "gtid_executed": gtid_executed.to_string(),
                "transactions": transactions,
                "seconds": elapsed.as_secs_f64(),
                "attempts": made,
                "attempt_records": attempts::as_json(records),
            }),
        ),
        // Progress tells the phase.
        Event::CatchUp => return None,
    })
}

pub(super) fn progress(status: &Status) {
    print("progress", measures(status));
}

/// The keys of `progress`.
pub(super) fn measures(status: &Status) -> Value {
    json!({
        "phase": phase(status.phase),
        "transactions": status.transactions,
        "bytes": status.received_bytes,
        "missing": status.missing,
        "queued": status.queued,
        "rate": status.rate,
        "eta_s": status.eta.map(|eta| eta.as_secs()),
        "stalled_s": (status.stalled.as_secs_f64() * 1e3).round() / 1e3,
        "overflow_bytes": status.overflow_bytes,
        "relay_log_bytes": status.relay_log_bytes,
    })
}

fn phase(phase: Phase) -> u8 {
    match phase {
        Phase::CatchUp | Phase::Online => 2,
        _ => 1,
    }
}

pub(super) fn error(error: &Error) {
    print("error", error_body(error));
}

/// The error in which a recovery ended, with how the member stood, if there ever was one.
pub(super) fn recovery_error(error: &Error, status: Option<&Status>) {
    let mut body = error_body(error);
    if let Some(status) = status {
        body["attempts"] = json!(status.attempts);
        body["attempt_records"] = attempts::as_json(&status.attempt_records);
        body["exit_state_action"] = json!(status.exit_state_action.map(ExitStateAction::name));
    }
    print("error", body);
}

fn error_body(error: &Error) -> Value {
    json!({
        "class": error.kind().name(),
        "message": error.to_string(),
        "remedy": error.remedy_text(),
    })
}
