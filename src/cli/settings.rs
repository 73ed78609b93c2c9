//! The settings of recovery as options, under the variables' names.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::net::{Compression, TlsVersions};
use crate::recovery::{
    ChannelSettings, DonorPolicy, ExitStateAction, FailureClass, OnlineRule, Reaction, Reactions,
    Selector, Settings, SlowDonor,
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Settings of recovery")]
pub(super) struct SettingsOptions {
    /// Attempts over all donors together (0 to 31536000)
    #[arg(long, value_name = "N", default_value_t = 10)]
    recovery_retry_count: u32,
    /// Seconds to sleep when every donor was tried (0 to 31536000)
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    recovery_reconnect_interval: u64,
    #[command(flatten)]
    clone: CloneOptions,
    /// Seconds that a failover waits for the applier to finish what it is at (2 to 31536000)
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    components_stop_timeout: u64,
    /// What the error asks of the host when recovery has failed in the group
    #[arg(long, value_name = "ACTION", default_value = "OFFLINE_MODE", ignore_case = true,
        value_parser = choice(&EXIT_STATE_ACTIONS))]
    exit_state_action: ExitStateAction,
    /// Seconds that a group whose majority cannot be reached is waited for; 0 waits for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    unreachable_majority_timeout: u64,
    /// Seconds of work that may remain when the member is declared ONLINE under load (1 to 60)
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    flow_control_period: u64,
    /// When the member is declared ONLINE: as MySQL when what remains fits into
    /// --flow-control-period, or only when the queue is empty
    #[arg(long, value_name = "RULE", default_value = "fits-window", ignore_case = true,
        value_parser = choice(&ONLINE_RULES))]
    online_rule: OnlineRule,
    /// What follows a failure of a class; classes: purged, conflict, authentication, network,
    /// damaged, slow, stopped, other; reactions: another-donor (as MySQL, the default),
    /// give-donor-up, end
    #[arg(long, value_name = "CLASS=REACTION", value_parser = on_failure)]
    on_failure: Vec<(FailureClass, Reaction)>,
    /// Give a donor up that has sent less than so many bytes a second for so many seconds
    #[arg(long, value_name = "BYTES/SECONDS", value_parser = slow_donor)]
    slow_donor: Option<SlowDonor>,
    #[command(flatten)]
    channel: ChannelOptions,
    #[command(flatten)]
    pub(super) donors: DonorOptions,
}

#[derive(Debug, Args)]
pub(super) struct CloneOptions {
    /// From this number of missing transactions on, prefer a clone (1 to 9223372036854775807)
    #[arg(long, value_name = "N", default_value_t = i64::MAX as u64)]
    pub(super) clone_threshold: u64,
}

/// Where these are not given, the recovery channel connects as the group's URL says.
#[derive(Debug, Args)]
#[command(next_help_heading = "The recovery channel, where it differs from the URL")]
struct ChannelOptions {
    /// Whether the recovery channel uses TLS
    #[arg(long, value_name = "ON|OFF", ignore_case = true, value_parser = switch())]
    recovery_use_ssl: Option<bool>,
    /// Certificates must be signed by one of these
    #[arg(long, value_name = "PEM")]
    recovery_ssl_ca: Option<PathBuf>,
    /// Our own certificate
    #[arg(long, value_name = "PEM")]
    recovery_ssl_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "PEM")]
    recovery_ssl_key: Option<PathBuf>,
    /// Whether the certificate must name the donor's host
    #[arg(long, value_name = "ON|OFF", ignore_case = true, value_parser = switch())]
    recovery_ssl_verify_server_cert: Option<bool>,
    /// Whether to ask the donor for its RSA public key where there is no TLS
    #[arg(long, value_name = "ON|OFF", ignore_case = true, value_parser = switch())]
    recovery_get_public_key: Option<bool>,
    /// The donors' RSA public key
    #[arg(long, value_name = "PEM")]
    recovery_public_key_path: Option<PathBuf>,
    /// Versions of TLS: TLSv1.2, TLSv1.3 or both with a comma between
    #[arg(long, value_name = "VERSIONS")]
    recovery_tls_version: Option<TlsVersions>,
    /// What the recovery channel is compressed with: zlib, zstd or uncompressed
    #[arg(long, value_name = "ALGORITHM", ignore_case = true, value_parser = choice(&COMPRESSIONS))]
    recovery_compression_algorithms: Option<Compression>,
    /// The level of zstd (1 to 22)
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(1..=22))]
    recovery_zstd_compression_level: u8,
}

/// MEMBERS is member:UUID, host:NAME, label:NAME, role:primary or role:secondary.
#[derive(Debug, Args)]
#[command(next_help_heading = "Choice of the donor, at random where nothing is given")]
pub(super) struct DonorOptions {
    /// Give members a label: NAME=member:UUID, host:NAME, role:primary or role:secondary
    #[arg(long, value_name = "NAME=MEMBERS", value_parser = pair::<String, Selector>)]
    donor_label: Vec<(String, Selector)>,
    /// Never ask these: member:UUID, host:NAME, label:NAME, role:primary or role:secondary
    #[arg(long, value_name = "MEMBERS")]
    donor_exclude: Vec<Selector>,
    /// Ask these first; those named earlier before those named later
    #[arg(long, value_name = "MEMBERS")]
    donor_prefer: Vec<Selector>,
    /// How likely these are to be asked before others of the same preference (1 to 1000000, else 1)
    #[arg(long, value_name = "MEMBERS=N", value_parser = pair::<Selector, u32>)]
    donor_weight: Vec<(Selector, u32)>,
    /// Read the members again before each attempt, and pass over those that have purged what is
    /// missing
    #[arg(long)]
    donor_must_have_missing: bool,
}

impl SettingsOptions {
    pub(super) fn settings(&self) -> Settings {
        let mut reactions = Reactions::default();
        for (class, reaction) in &self.on_failure {
            reactions.set(*class, *reaction);
        }
        Settings {
            recovery_retry_count: self.recovery_retry_count,
            recovery_reconnect_interval: Duration::from_secs(self.recovery_reconnect_interval),
            recovery_channel: self.channel.settings(),
            clone_threshold: self.clone.clone_threshold,
            components_stop_timeout: Duration::from_secs(self.components_stop_timeout),
            exit_state_action: self.exit_state_action,
            unreachable_majority_timeout: Duration::from_secs(self.unreachable_majority_timeout),
            online_rule: self.online_rule,
            flow_control_period: Duration::from_secs(self.flow_control_period),
            donor_policy: self.donors.policy(),
            reactions,
            slow_donor: self.slow_donor,
        }
    }
}

impl ChannelOptions {
    fn settings(&self) -> ChannelSettings {
        ChannelSettings {
            recovery_use_ssl: self.recovery_use_ssl,
            recovery_ssl_ca: self.recovery_ssl_ca.clone(),
            recovery_ssl_cert: self.recovery_ssl_cert.clone(),
            recovery_ssl_key: self.recovery_ssl_key.clone(),
            recovery_ssl_verify_server_cert: self.recovery_ssl_verify_server_cert,
            recovery_get_public_key: self.recovery_get_public_key,
            recovery_public_key_path: self.recovery_public_key_path.clone(),
            recovery_tls_version: self.recovery_tls_version,
            recovery_compression_algorithms: self.recovery_compression_algorithms.map(
                |compression| match compression {
                    Compression::Zstd { .. } => Compression::Zstd {
                        level: self.recovery_zstd_compression_level,
                    },
                    other => other,
                },
            ),
        }
    }
}

impl DonorOptions {
    pub(super) fn policy(&self) -> DonorPolicy {
        DonorPolicy {
            labels: self.donor_label.clone(),
            exclude: self.donor_exclude.clone(),
            prefer: self.donor_prefer.clone(),
            weights: self.donor_weight.clone(),
            must_have_missing: self.donor_must_have_missing,
        }
    }
}

type Choices<T> = [(&'static str, T)];

const EXIT_STATE_ACTIONS: [(&str, ExitStateAction); 3] = [
    ("READ_ONLY", ExitStateAction::ReadOnly),
    ("OFFLINE_MODE", ExitStateAction::OfflineMode),
    ("ABORT_SERVER", ExitStateAction::AbortServer),
];
const ONLINE_RULES: [(&str, OnlineRule); 2] = [
    ("fits-window", OnlineRule::FitsWindow),
    ("queue-empty", OnlineRule::QueueEmpty),
];
const COMPRESSIONS: [(&str, Compression); 3] = [
    ("zlib", Compression::Zlib),
    ("zstd", Compression::Zstd { level: 3 }),
    ("uncompressed", Compression::Uncompressed),
];
const SWITCH: [(&str, bool); 4] = [("ON", true), ("OFF", false), ("1", true), ("0", false)];
const CLASSES: [(&str, FailureClass); 8] = [
    ("purged", FailureClass::Purged),
    ("conflict", FailureClass::Conflict),
    ("authentication", FailureClass::Authentication),
    ("network", FailureClass::Network),
    ("damaged", FailureClass::Damaged),
    ("slow", FailureClass::Slow),
    ("stopped", FailureClass::Stopped),
    ("other", FailureClass::Other),
];
const REACTIONS: [(&str, Reaction); 3] = [
    ("another-donor", Reaction::AnotherDonor),
    ("give-donor-up", Reaction::GiveDonorUp),
    ("end", Reaction::End),
];

/// One of a few values by its name, however it is capitalised.
fn choice<T: Copy + Send + Sync + 'static>(
    choices: &'static Choices<T>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(choices.iter().map(|(name, _)| *name))
        .try_map(|name| named(choices, &name).ok_or("unknown"))
}

fn switch() -> impl TypedValueParser<Value = bool> {
    choice(&SWITCH)
}

fn named<T: Copy>(choices: &Choices<T>, name: &str) -> Option<T> {
    let mut known = choices.iter();
    known
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

/// `A=B`. The last `=` counts: of a selector nothing behind its name may have one.
fn pair<A, B>(text: &str) -> Result<(A, B), String>
where
    A: FromStr<Err: ToString>,
    B: FromStr<Err: ToString>,
{
    let (a, b) = text.rsplit_once('=').ok_or("there is no =")?;
    let a = a.parse().map_err(|error: A::Err| error.to_string())?;
    let b = b.parse().map_err(|error: B::Err| error.to_string())?;
    Ok((a, b))
}

fn on_failure(text: &str) -> Result<(FailureClass, Reaction), String> {
    let (class, reaction) = text.split_once('=').ok_or("there is no =")?;
    let class = named(&CLASSES, class).ok_or_else(|| format!("there is no class '{class}'"))?;
    let reaction =
        named(&REACTIONS, reaction).ok_or_else(|| format!("there is no reaction '{reaction}'"))?;
    Ok((class, reaction))
}

fn slow_donor(text: &str) -> Result<SlowDonor, String> {
    let (bytes, seconds) = text.split_once('/').ok_or("there is no /")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(SlowDonor {
        bytes_per_second: number(bytes)?,
        patience: Duration::from_secs(number(seconds)?),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::gtid::Uuid;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: SettingsOptions,
    }

    fn parse(options: &[&str]) -> Result<Settings, clap::Error> {
        let line = std::iter::once(&"recover").chain(options);
        Ok(Line::try_parse_from(line)?.options.settings())
    }

    #[test]
    fn without_options_they_are_the_defaults() {
        assert_eq!(parse(&[]).unwrap(), Settings::default());
    }

    /// Every setting, each with a value that is not its default.
    #[test]
    fn every_setting_has_its_option() {
        let settings = parse(&[
            "--recovery-retry-count=3",
            "--recovery-reconnect-interval=5",
            "--recovery-use-ssl=off",
            "--recovery-ssl-ca=ca",
            "--recovery-ssl-cert=cert",
            "--recovery-ssl-key=key",
            "--recovery-ssl-verify-server-cert=ON",
            "--recovery-get-public-key=1",
            "--recovery-public-key-path=public",
            "--recovery-tls-version=TLSv1.3",
            "--recovery-compression-algorithms=ZSTD",
            "--recovery-zstd-compression-level=7",
            "--clone-threshold=7",
            "--components-stop-timeout=2",
            "--exit-state-action=abort_server",
            "--unreachable-majority-timeout=9",
            "--online-rule=queue-empty",
            "--flow-control-period=60",
            "--donor-label=near=host:db1",
            "--donor-exclude=role:primary",
            "--donor-prefer=label:near",
            "--donor-prefer=role:secondary",
            "--donor-weight=member:01010101-0101-0101-0101-010101010101=5",
            "--donor-must-have-missing",
            "--on-failure=authentication=end",
            "--on-failure=purged=give-donor-up",
            "--slow-donor=1000/30",
        ])
        .unwrap();
        let expected = Settings {
            recovery_retry_count: 3,
            recovery_reconnect_interval: Duration::from_secs(5),
            recovery_channel: ChannelSettings {
                recovery_use_ssl: Some(false),
                recovery_ssl_ca: Some("ca".into()),
                recovery_ssl_cert: Some("cert".into()),
                recovery_ssl_key: Some("key".into()),
                recovery_ssl_verify_server_cert: Some(true),
                recovery_get_public_key: Some(true),
                recovery_public_key_path: Some("public".into()),
                recovery_tls_version: Some(TlsVersions::Only13),
                recovery_compression_algorithms: Some(Compression::Zstd { level: 7 }),
            },
            clone_threshold: 7,
            components_stop_timeout: Duration::from_secs(2),
            exit_state_action: ExitStateAction::AbortServer,
            unreachable_majority_timeout: Duration::from_secs(9),
            online_rule: OnlineRule::QueueEmpty,
            flow_control_period: Duration::from_secs(60),
            donor_policy: DonorPolicy {
                labels: vec![("near".into(), Selector::Host("db1".into()))],
                exclude: vec![Selector::Primary],
                prefer: vec![Selector::Label("near".into()), Selector::Secondary],
                weights: vec![(Selector::Member(Uuid([1; 16])), 5)],
                must_have_missing: true,
            },
            reactions: Reactions {
                authentication: Reaction::End,
                purged: Reaction::GiveDonorUp,
                ..Reactions::default()
            },
            slow_donor: Some(SlowDonor {
                bytes_per_second: 1000,
                patience: Duration::from_secs(30),
            }),
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn mistakes_are_refused() {
        for option in [
            "--recovery-use-ssl=perhaps",
            "--online-rule=soon",
            "--exit-state-action=PANIC",
            "--donor-exclude=db1",
            "--donor-weight=role:primary",
            "--donor-weight=role:primary=many",
            "--donor-label=near",
            "--on-failure=purged",
            "--on-failure=purged=never",
            "--on-failure=weather=end",
            "--slow-donor=1000",
            "--slow-donor=a/b",
        ] {
            assert!(parse(&[option]).is_err(), "{option}");
        }
    }
}
