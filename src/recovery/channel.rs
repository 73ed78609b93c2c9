//! How the recovery channel connects where it is to differ from how the group is looked at.

use std::path::PathBuf;

use crate::net::{Compression, ConnectOptions, SslMode, TlsVersions};
use crate::{Error, ErrorKind, Result};

/// The connection settings of the recovery channel. What is not set stays as the group's own
/// [`donor_options`](crate::group::Group::donor_options) have it.
///
/// ```
/// use rejoin::net::{ConnectOptions, SslMode};
/// use rejoin::recovery::ChannelSettings;
///
/// let mut options = ConnectOptions::new("recovery", "secret");
/// let channel = ChannelSettings {
///     recovery_ssl_ca: Some("/etc/mysql/ca.pem".into()),
///     ..ChannelSettings::default()
/// };
/// channel.apply(&mut options);
/// assert_eq!(options.ssl_mode, SslMode::VerifyCa);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelSettings {
    /// `group_replication_recovery_use_ssl`: TLS or no connection (true), no TLS (false).
    pub recovery_use_ssl: Option<bool>,
    /// `group_replication_recovery_ssl_ca`: certificates must be signed by one of these.
    pub recovery_ssl_ca: Option<PathBuf>,
    /// `group_replication_recovery_ssl_cert`: our own certificate.
    pub recovery_ssl_cert: Option<PathBuf>,
    /// `group_replication_recovery_ssl_key`: its key.
    pub recovery_ssl_key: Option<PathBuf>,
    /// `group_replication_recovery_ssl_verify_server_cert`: whether the certificate must name the
    /// donor's host.
    pub recovery_ssl_verify_server_cert: Option<bool>,
    /// `group_replication_recovery_get_public_key`.
    pub recovery_get_public_key: Option<bool>,
    /// `group_replication_recovery_public_key_path`.
    pub recovery_public_key_path: Option<PathBuf>,
    /// `group_replication_recovery_tls_version`.
    pub recovery_tls_version: Option<TlsVersions>,
    /// `group_replication_recovery_compression_algorithms`, of which there is one: uncompressed, zlib,
    /// or zstd at the level of `group_replication_recovery_zstd_compression_level`, 1 to 22.
    pub recovery_compression_algorithms: Option<Compression>,
}

impl ChannelSettings {
    /// Puts what is set into `options`.
    pub fn apply(&self, options: &mut ConnectOptions) {
        let set = |to: &mut Option<PathBuf>, from: &Option<PathBuf>| {
            if from.is_some() {
                to.clone_from(from);
            }
        };
        set(&mut options.ssl_ca, &self.recovery_ssl_ca);
        set(&mut options.ssl_cert, &self.recovery_ssl_cert);
        set(&mut options.ssl_key, &self.recovery_ssl_key);
        set(
            &mut options.server_public_key_path,
            &self.recovery_public_key_path,
        );
        if let Some(get) = self.recovery_get_public_key {
            options.get_server_public_key = get;
        }
        if let Some(versions) = self.recovery_tls_version {
            options.tls_versions = versions;
        }
        if let Some(compression) = self.recovery_compression_algorithms {
            options.compression = compression;
        }
        options.ssl_mode = self.ssl_mode(options.ssl_mode);
    }

    pub(super) fn validate(&self) -> Result<()> {
        match self.recovery_compression_algorithms {
            Some(Compression::Zstd { level }) if !(1..=22).contains(&level) => Err(Error::new(
                ErrorKind::Configuration,
                "recovery_zstd_compression_level must be 1 to 22",
            )),
            _ => Ok(()),
        }
    }

    /// As a real recovery channel: TLS alone trusts anyone, an authority makes it check the
    /// certificate, verify_server_cert makes it check the host's name too.
    fn ssl_mode(&self, group: SslMode) -> SslMode {
        let encrypted = match (self.recovery_use_ssl, group) {
            (Some(false), _) | (None, SslMode::Disabled) => return SslMode::Disabled,
            (Some(true), SslMode::Disabled | SslMode::Preferred) => SslMode::Required,
            (_, mode) => mode,
        };
        match (self.recovery_ssl_verify_server_cert, encrypted) {
            (Some(true), _) => SslMode::VerifyIdentity,
            (Some(false), SslMode::VerifyIdentity) => SslMode::VerifyCa,
            (_, SslMode::Preferred | SslMode::Required) if self.recovery_ssl_ca.is_some() => {
                SslMode::VerifyCa
            }
            (_, mode) => mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_changes_nothing() {
        let mut options = ConnectOptions::new("user", "password");
        options.ssl_ca = Some("ca".into());
        options.get_server_public_key = true;
        let before = options.clone();
        ChannelSettings::default().apply(&mut options);
        assert_eq!(options, before);
    }

    #[test]
    fn what_is_set_replaces_the_groups_own() {
        let mut options = ConnectOptions::new("user", "password");
        ChannelSettings {
            recovery_use_ssl: Some(false),
            recovery_ssl_ca: Some("ca".into()),
            recovery_ssl_cert: Some("cert".into()),
            recovery_ssl_key: Some("key".into()),
            recovery_ssl_verify_server_cert: None,
            recovery_get_public_key: Some(true),
            recovery_public_key_path: Some("public".into()),
            recovery_tls_version: Some(TlsVersions::Only13),
            recovery_compression_algorithms: Some(Compression::Zlib),
        }
        .apply(&mut options);
        assert_eq!(options.ssl_mode, SslMode::Disabled);
        assert_eq!(options.ssl_ca, Some("ca".into()));
        assert_eq!(options.ssl_cert, Some("cert".into()));
        assert_eq!(options.ssl_key, Some("key".into()));
        assert_eq!(options.server_public_key_path, Some("public".into()));
        assert!(options.get_server_public_key);
        assert_eq!(options.tls_versions, TlsVersions::Only13);
        assert_eq!(options.compression, Compression::Zlib);
    }

    #[test]
    fn levels_are_those_of_the_variable() {
        for (level, good) in [(0, false), (1, true), (22, true), (23, false)] {
            let channel = ChannelSettings {
                recovery_compression_algorithms: Some(Compression::Zstd { level }),
                ..ChannelSettings::default()
            };
            assert_eq!(channel.validate().is_ok(), good, "{level}");
        }
        assert!(ChannelSettings::default().validate().is_ok());
    }

    #[test]
    fn the_mode_follows_from_the_variables() {
        use SslMode::{Disabled, Preferred, Required, VerifyCa, VerifyIdentity};
        for (use_ssl, ca, verify, group, expected) in [
            (None, false, None, Disabled, Disabled),
            (None, true, Some(true), Disabled, Disabled),
            (Some(true), false, None, Disabled, Required),
            (Some(true), false, None, Preferred, Required),
            (Some(true), false, None, VerifyIdentity, VerifyIdentity),
            (Some(true), true, None, Disabled, VerifyCa),
            (None, true, None, Preferred, VerifyCa),
            (None, true, None, VerifyIdentity, VerifyIdentity),
            (None, true, Some(true), Required, VerifyIdentity),
            (None, false, Some(false), VerifyIdentity, VerifyCa),
            (None, false, Some(false), Required, Required),
            (Some(false), true, Some(true), Required, Disabled),
        ] {
            let channel = ChannelSettings {
                recovery_use_ssl: use_ssl,
                recovery_ssl_ca: ca.then(|| "ca".into()),
                recovery_ssl_verify_server_cert: verify,
                ..ChannelSettings::default()
            };
            assert_eq!(
                channel.ssl_mode(group),
                expected,
                "{use_ssl:?} {ca} {verify:?} {group}"
            );
        }
    }
}
