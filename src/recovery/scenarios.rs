//! Scenarios as text: facts in, actions out, one file a scenario in `tests/data/recovery`.
//!
//! ```text
//! # What it shows.
//! member n1 ONLINE executed=1-100   the group before the join; then facts and what comes of them:
//! > own 1-10
//! < join
//! > joined 1-100
//! < plan binary_log: 1 ONLINE members have the 90 missing transactions
//! ```
//!
//! `REJOIN_UPDATE=1 cargo test --lib scenarios` writes the actions anew; read what has changed then.
//! Files named `gr_*` show what MySQL's own test of that name asserts, as far as it concerns a
//! joiner.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::testing::{gtids, member, uuid};
use super::{
    Action, DonorPolicy, ExitStateAction, Input, Machine, OnlineRule, Reaction, Reactions,
    Settings, SlowDonor,
};
use crate::group::{Cut, GroupMember, MemberState, View};
use crate::gtid::{GtidSet, Uuid};
use crate::net::{Compression, ConnectOptions, ServerVersion, TlsVersions};
use crate::{Error, ErrorKind};

/// Reads a scenario and writes it with what the machine does now.
struct Script {
    machine: Machine,
    now: Duration,
    view: View,
    donor: Option<Uuid>,
    attempt: u32,
    text: String,
}

const KINDS: [ErrorKind; 20] = [
    ErrorKind::Network,
    ErrorKind::TimedOut,
    ErrorKind::Authentication,
    ErrorKind::Tls,
    ErrorKind::Privilege,
    ErrorKind::Purged,
    ErrorKind::Ahead,
    ErrorKind::Refused,
    ErrorKind::Stopped,
    ErrorKind::Malformed,
    ErrorKind::Checksum,
    ErrorKind::Unsupported,
    ErrorKind::Limit,
    ErrorKind::Conflict,
    ErrorKind::Schema,
    ErrorKind::TargetIo,
    ErrorKind::TargetCorrupt,
    ErrorKind::GroupUnavailable,
    ErrorKind::Configuration,
    ErrorKind::Internal,
];

fn error(name: &str) -> Error {
    let kind = KINDS.into_iter().find(|kind| kind.name() == name);
    Error::new(kind.unwrap_or_else(|| panic!("no kind {name}")), "planted")
}

/// `-` is empty; `1-5` are the group's transactions, `local:1-5` our own.
fn set(text: &str) -> GtidSet {
    let mut all = GtidSet::new();
    for part in text.split(',').filter(|part| *part != "-") {
        match part.strip_prefix("local:") {
            Some(intervals) => {
                all.extend(&format!("{}:{intervals}", uuid(9)).parse().unwrap());
            }
            None => all.extend(&gtids(part)),
        }
    }
    all
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs_f64(text.parse().unwrap())
}

fn number(name: &str) -> u8 {
    name.strip_prefix('n')
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("{name} is no member"))
}

fn reaction(text: &str) -> Reaction {
    match text {
        "another_donor" => Reaction::AnotherDonor,
        "give_donor_up" => Reaction::GiveDonorUp,
        "end" => Reaction::End,
        _ => panic!("no reaction {text}"),
    }
}

impl Script {
    fn new() -> Self {
        Self {
            machine: Machine::new(Settings::default(), uuid(9), 7),
            now: Duration::ZERO,
            view: View::default(),
            donor: None,
            attempt: 0,
            text: String::new(),
        }
    }

    /// The scenario with its actions written anew.
    fn run(mut self, scenario: &str) -> String {
        for line in scenario.lines().filter(|line| !line.starts_with('<')) {
            self.text.push_str(line);
            self.text.push('\n');
            let line = line.split(" #").next().unwrap_or_default().trim_end();
            match line.strip_prefix("> ") {
                Some(fact) => self.fact(&fact.split(' ').collect::<Vec<_>>()),
                None if line.is_empty() || line.starts_with('#') => {}
                None => self.setup(&line.split(' ').collect::<Vec<_>>()),
            }
        }
        self.text
    }

    fn setup(&mut self, words: &[&str]) {
        match words {
            ["member", name, state, rest @ ..] => self.put(name, state, rest),
            ["set", name, value] => self.set(name, value),
            ["seed", seed] => {
                let settings = self.machine.settings().clone();
                self.machine = Machine::new(settings, uuid(9), seed.parse().unwrap());
            }
            _ => panic!("{words:?}"),
        }
    }

    fn put(&mut self, name: &str, state: &str, rest: &[&str]) {
        let state = MemberState::from_name(state).unwrap();
        let mut new = member(number(name), state);
        if let Some(known) = self.view.member(&new.uuid) {
            new = GroupMember {
                state,
                ..known.clone()
            };
        }
        for word in rest {
            match word.split_once('=').unwrap_or((word, "")) {
                ("executed", text) => new.executed = Some(set(text)),
                ("purged", text) => new.purged = Some(set(text)),
                ("version", text) => new.version = Some(ServerVersion::parse(text)),
                ("primary", _) => new.primary = true,
                ("endpoints", "") => new.recovery_endpoints.clear(),
                ("endpoints", list) => {
                    new.recovery_endpoints =
                        list.split(',').map(|text| text.parse().unwrap()).collect();
                }
                _ => panic!("{word}"),
            }
        }
        self.view.members.retain(|known| known.uuid != new.uuid);
        self.view.members.push(new);
        self.view.members.sort_by_key(|known| known.uuid);
    }

    fn set(&mut self, name: &str, value: &str) {
        let mut settings = self.machine.settings().clone();
        match name {
            "recovery_retry_count" => settings.recovery_retry_count = value.parse().unwrap(),
            "recovery_reconnect_interval" => settings.recovery_reconnect_interval = seconds(value),
            "clone_threshold" => settings.clone_threshold = value.parse().unwrap(),
            "components_stop_timeout" => settings.components_stop_timeout = seconds(value),
            "unreachable_majority_timeout" => {
                settings.unreachable_majority_timeout = seconds(value);
            }
            "flow_control_period" => settings.flow_control_period = seconds(value),
            "exit_state_action" => {
                settings.exit_state_action = [
                    ExitStateAction::ReadOnly,
                    ExitStateAction::OfflineMode,
                    ExitStateAction::AbortServer,
                ]
                .into_iter()
                .find(|action| action.name() == value)
                .unwrap();
            }
            "online_rule" => {
                settings.online_rule = match value {
                    "queue_empty" => OnlineRule::QueueEmpty,
                    "fits_window" => OnlineRule::FitsWindow,
                    _ => panic!("{value}"),
                }
            }
            "slow_donor" => {
                let (bytes, patience) = value.split_once('/').unwrap();
                settings.slow_donor = Some(SlowDonor {
                    bytes_per_second: bytes.parse().unwrap(),
                    patience: seconds(patience),
                });
            }
            "recovery_use_ssl" => {
                settings.recovery_channel.recovery_use_ssl = Some(value == "ON");
            }
            "recovery_ssl_ca" => settings.recovery_channel.recovery_ssl_ca = Some(value.into()),
            "recovery_get_public_key" => {
                settings.recovery_channel.recovery_get_public_key = Some(value == "ON");
            }
            "recovery_compression_algorithms" => {
                settings.recovery_channel.recovery_compression_algorithms = Some(match value {
                    "zlib" => Compression::Zlib,
                    "zstd" => Compression::Zstd { level: 3 },
                    _ => Compression::Uncompressed,
                });
            }
            "recovery_tls_version" => {
                settings.recovery_channel.recovery_tls_version = Some(value.parse().unwrap());
            }
            _ => match name.split_once('.') {
                Some(("policy", rule)) => set_policy(&mut settings.donor_policy, rule, value),
                Some(("reaction", class)) => {
                    set_reaction(&mut settings.reactions, class, reaction(value));
                }
                _ => panic!("no setting {name}"),
            },
        }
        settings.validate().unwrap();
        self.machine.set_settings(settings);
    }

    fn fact(&mut self, words: &[&str]) {
        let attempt = self.attempt;
        let input = match words {
            ["set", name, value] => return self.set(name, value),
            ["status"] => return self.status(),
            ["restart"] => {
                let settings = self.machine.settings().clone();
                self.machine = Machine::new(settings, uuid(9), 7);
                return self.actions();
            }
            ["start"] => return self.actions(),
            ["wake"] => {
                self.now = self.machine.next_wakeup().expect("something to wait for");
                self.write(format!("at {} s", self.now.as_secs_f64()));
                Input::Tick
            }
            ["wait", time] => {
                self.now += seconds(time);
                Input::Tick
            }
            ["own", executed, rest @ ..] => Input::Own {
                executed: set(executed),
                unapplied: rest
                    .iter()
                    .find_map(|word| word.strip_prefix("unapplied="))
                    .map(set)
                    .unwrap_or_default(),
                can_clone: rest.contains(&"can_clone"),
            },
            ["joined", "view", id] => Input::Joined {
                view: self.view.clone(),
                cut: Cut::ViewId(String::from(*id)),
            },
            ["joined", cut] => Input::Joined {
                view: self.view.clone(),
                cut: Cut::Gtids(set(cut)),
            },
            ["join", "failed", kind] => Input::JoinFailed(error(kind)),
            ["view"] => Input::View(self.view.clone()),
            ["leaves", names @ ..] => {
                for name in names {
                    let gone = self.named(name);
                    self.view.members.retain(|member| member.uuid != gone);
                }
                Input::View(self.view.clone())
            }
            ["member", name, state, rest @ ..] => {
                let name = format!("n{}", self.named(name).0[0]);
                self.put(&name, state, rest);
                Input::View(self.view.clone())
            }
            ["read", "failed", kind] => Input::ReadFailed(error(kind)),
            ["unreachable"] => Input::GroupUnreachable(error("group_unavailable")),
            ["cloned"] => Input::Cloned,
            ["clone", "failed", kind, rest @ ..] => Input::CloneFailed {
                error: error(kind),
                data_dropped: rest == ["dropped"],
            },
            ["connected"] => Input::Connected { attempt },
            ["received", bytes, rest @ ..] => {
                self.now += Duration::from_secs(1);
                Input::Received {
                    attempt,
                    bytes: bytes.parse().unwrap(),
                    held_back: rest == ["held", "back"],
                }
            }
            ["failed", kind] => Input::DonorFailed {
                attempt,
                error: error(kind),
            },
            ["stopped"] => Input::DonorStopped { attempt },
            ["applied", executed] => Input::Executed(set(executed)),
            ["view_change", id] => Input::ViewChangeApplied(String::from(*id)),
            ["queue", queued, "last", applied, "delivered", delivered] => Input::Queue {
                queued: queued.parse().unwrap(),
                applied_last_second: applied.parse().unwrap(),
                delivered: set(delivered),
            },
            ["group", "executed", executed] => Input::GroupExecuted(set(executed)),
            ["applier", "failed", kind] => Input::Failed(error(kind)),
            ["STOP"] => Input::Stop,
            _ => panic!("no fact {words:?}"),
        };
        self.machine.handle(self.now, input);
        self.actions();
    }

    /// `n1`, or `donor` for the present one.
    fn named(&self, name: &str) -> Uuid {
        match name {
            "donor" => self.donor.expect("a donor was asked"),
            _ => uuid(number(name)),
        }
    }

    fn write(&mut self, line: impl AsRef<str>) {
        writeln!(self.text, "< {}", line.as_ref()).unwrap();
    }

    fn status(&mut self) {
        self.write(format!("{:?}", self.machine.phase()));
        let records: Vec<_> = self.machine.attempt_records().cloned().collect();
        for record in records {
            let end = record.end.as_ref().map_or_else(
                || String::from("brought all"),
                |end| format!("{:?}: {}", end.class, end.message),
            );
            self.write(format!(
                "attempt {} at {}, {} to {} s, {} transactions, {end}",
                record.number,
                record
                    .endpoint
                    .map_or_else(|| "no endpoint".into(), |at| at.to_string()),
                record.began.as_secs(),
                record.ended.as_secs(),
                record.applied,
            ));
        }
    }

    fn actions(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            let line = self.describe(action);
            self.write(line);
        }
    }

    fn describe(&mut self, action: Action) -> String {
        match action {
            Action::ReadOwn => "read own".into(),
            Action::ApplyRelayLog => "apply relay log".into(),
            Action::Join => "join".into(),
            Action::ReadGroup => "read group".into(),
            Action::Planned(plan) => format!("plan {}: {}", plan.method.name(), plan.reason),
            Action::Clone { donor, endpoint } => {
                self.donor = Some(donor.uuid);
                format!("clone n{} at {endpoint}", donor.uuid.0[0])
            }
            Action::StopClone => "stop clone".into(),
            Action::Connect {
                attempt,
                of,
                donor,
                endpoint,
                again,
            } => {
                self.donor = Some(donor.uuid);
                self.attempt = attempt;
                let again = if again { " again" } else { "" };
                let mut options = ConnectOptions::new("user", "password");
                let channel = &self.machine.settings().recovery_channel;
                channel.apply(&mut options);
                let mut how = String::new();
                if options.ssl_mode != ConnectOptions::default().ssl_mode {
                    write!(how, ", ssl-mode {}", options.ssl_mode).unwrap();
                }
                if options.compression != Compression::Uncompressed {
                    write!(how, ", {}", options.compression.name()).unwrap();
                }
                if options.tls_versions != TlsVersions::default() {
                    write!(how, ", {}", options.tls_versions).unwrap();
                }
                if options.get_server_public_key {
                    how.push_str(", public key asked for");
                }
                format!(
                    "connect{again} to n{} at {endpoint}, attempt {attempt} of {of}{how}",
                    donor.uuid.0[0]
                )
            }
            Action::StopDonor { .. } => "stop donor".into(),
            Action::Failover(record) => {
                let end = record.end.expect("a failure has a reason");
                format!("failover from n{}: {}", record.donor.uuid.0[0], end.kind)
            }
            Action::Sleep(time) => format!("sleep {} s", time.as_secs_f64()),
            Action::StartCatchUp => "start catch-up".into(),
            Action::ReadGroupExecuted => "read what the group has executed".into(),
            Action::DeclareOnline => "ONLINE".into(),
            Action::End(end) => {
                let action = end
                    .exit_state_action
                    .map_or_else(|| "no exit action".into(), |a| a.name().to_string());
                match end.result {
                    Ok(()) => format!("end {}, {action}", end.state),
                    Err(error) => {
                        format!("end {}, {action}: {}: {error}", end.state, error.kind())
                    }
                }
            }
        }
    }
}

fn set_policy(policy: &mut DonorPolicy, rule: &str, value: &str) {
    let list = || value.split(',').map(|text| text.parse().unwrap());
    match rule {
        "exclude" => policy.exclude = list().collect(),
        "prefer" => policy.prefer = list().collect(),
        "must_have_missing" => policy.must_have_missing = value == "ON",
        "label" => {
            let (label, members) = value.split_once('=').unwrap();
            policy.labels.push((label.into(), members.parse().unwrap()));
        }
        _ => panic!("no rule {rule}"),
    }
}

fn set_reaction(reactions: &mut Reactions, class: &str, reaction: Reaction) {
    let to = match class {
        "purged" => &mut reactions.purged,
        "conflict" => &mut reactions.conflict,
        "authentication" => &mut reactions.authentication,
        "network" => &mut reactions.network,
        "damaged" => &mut reactions.damaged,
        "slow" => &mut reactions.slow,
        "stopped" => &mut reactions.stopped,
        "other" => &mut reactions.other,
        _ => panic!("no class {class}"),
    };
    *to = reaction;
}

/// The tests of MySQL's suite for what a joiner from outside can show, each in a file of its name.
const OF_MYSQL: [&str; 65] = [
    "gr_addmember_insert_on_donor",
    "gr_addmember_insert_on_nondonor",
    "gr_clone_integration_basics",
    "gr_clone_integration_clone_not_installed",
    "gr_clone_integration_ddl_error",
    "gr_clone_integration_kill_donor_during_clone",
    "gr_clone_integration_no_privileges",
    "gr_clone_integration_purged_donor",
    "gr_clone_integration_purged_donor_invalid_version",
    "gr_clone_integration_purged_donor_no_plugin_error",
    "gr_clone_integration_stop_donor_during_clone",
    "gr_clone_integration_stop_donor_during_clone_failover",
    "gr_clone_integration_stop_joiner_during_clone",
    "gr_crash_donor_server",
    "gr_crash_donor_server_continuously",
    "gr_crash_recovery_server",
    "gr_crash_while_dml_and_some_server_recovering",
    "gr_cross_version_lower_version_recovery_donor",
    "gr_exit_state_action_on_clone_error",
    "gr_exit_state_action_on_join_transaction_mismatch",
    "gr_exit_state_action_on_recovery",
    "gr_exit_state_action_on_recovery_offline_mode",
    "gr_exit_state_action_on_recovery_stage0",
    "gr_majority_loss_5_to_2_recovery",
    "gr_partial_trx_in_applier_relay_log",
    "gr_recovery",
    "gr_recovery_channel_compression",
    "gr_recovery_clone_activation_threshold",
    "gr_recovery_completion_mode",
    "gr_recovery_completion_mode_failure",
    "gr_recovery_conflicting_data_failover",
    "gr_recovery_conflicting_data_failure",
    "gr_recovery_connection_options",
    "gr_recovery_donor_failover",
    "gr_recovery_donor_public_key",
    "gr_recovery_donor_retry",
    "gr_recovery_double_view_update",
    "gr_recovery_endpoints_invalid_donor",
    "gr_recovery_endpoints_ipv6_ipv4",
    "gr_recovery_endpoints_iterate_list_clone",
    "gr_recovery_endpoints_iterate_list_incremental",
    "gr_recovery_endpoints_multiple_valid",
    "gr_recovery_endpoints_no_fallback",
    "gr_recovery_endpoints_retry_clone",
    "gr_recovery_errors_report",
    "gr_recovery_fails_to_detect_thread_stop",
    "gr_recovery_lower_max_retry_count",
    "gr_recovery_metadata_all_donor_left_unreachable_state",
    "gr_recovery_metadata_joiner_recovery_timeout",
    "gr_recovery_metadata_recovery_contain_gtids_check",
    "gr_recovery_metadata_vcle_is_logged",
    "gr_recovery_metadata_vcle_is_not_logged",
    "gr_recovery_metadata_wait_before_verify_recovery_start",
    "gr_recovery_no_donors",
    "gr_recovery_no_donors_no_vcle",
    "gr_recovery_no_more_donors",
    "gr_recovery_purged_donor_failover",
    "gr_recovery_reconnection_options",
    "gr_recovery_single_server",
    "gr_recovery_single_server_backlog",
    "gr_recovery_ssl",
    "gr_recovery_tlsv13",
    "gr_recovery_updates",
    "gr_start_stop_recovery",
    "gr_stop_while_recovery_locked",
];

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recovery");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for name in OF_MYSQL {
        let file = folder.join(name).with_extension("txt");
        assert!(files.contains(&file), "there is no scenario {name}");
    }
    let update = std::env::var_os("REJOIN_UPDATE").is_some();
    let mut wrong = Vec::new();
    for file in files {
        let expected = fs::read_to_string(&file).unwrap();
        let actual = Script::new().run(&expected);
        if actual == expected {
            continue;
        }
        if update {
            fs::write(&file, actual).unwrap();
            continue;
        }
        let differs = actual
            .lines()
            .zip(expected.lines())
            .find(|(now, before)| now != before);
        wrong.push(format!("{}: {differs:?}", file.display()));
    }
    assert!(
        wrong.is_empty(),
        "not what the file says (REJOIN_UPDATE=1 rewrites it):\n{}",
        wrong.join("\n")
    );
}
