//! How to connect: the account, TLS, timeouts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{Compression, Secret};
use crate::{Error, ErrorKind, Result};

/// How a connection is encrypted and whom it trusts; the modes of the manual's `--ssl-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SslMode {
    /// No TLS.
    Disabled,
    /// TLS where the server offers it; its certificate is not checked.
    Preferred,
    /// TLS or no connection; the certificate is not checked. This is how MySQL's own recovery
    /// channel connects by default.
    #[default]
    Required,
    /// The certificate must be signed by `ssl_ca`; the name in it is not compared. The certificates
    /// that mysqld makes for itself pass with its `ca.pem`.
    VerifyCa,
    /// The certificate must be signed by `ssl_ca` and name the host (in subjectAltName).
    VerifyIdentity,
}

impl FromStr for SslMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_uppercase().replace('-', "_").as_str() {
            "DISABLED" => Ok(Self::Disabled),
            "PREFERRED" => Ok(Self::Preferred),
            "REQUIRED" => Ok(Self::Required),
            "VERIFY_CA" => Ok(Self::VerifyCa),
            "VERIFY_IDENTITY" => Ok(Self::VerifyIdentity),
            _ => Err(Error::new(
                ErrorKind::Configuration,
                format!("ssl-mode '{text}' is unknown"),
            )
            .remedy("use DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY")),
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "DISABLED",
            Self::Preferred => "PREFERRED",
            Self::Required => "REQUIRED",
            Self::VerifyCa => "VERIFY_CA",
            Self::VerifyIdentity => "VERIFY_IDENTITY",
        })
    }
}

/// The versions of TLS that a connection may have (`tls_version`).
///
/// ```
/// use rejoin::net::TlsVersions;
///
/// assert_eq!("TLSv1.2,TLSv1.3".parse::<TlsVersions>()?, TlsVersions::default());
/// assert_eq!("tlsv1.3".parse::<TlsVersions>()?, TlsVersions::Only13);
/// assert!("TLSv1.1".parse::<TlsVersions>().is_err());
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TlsVersions {
    /// `TLSv1.2,TLSv1.3`.
    #[default]
    Both,
    /// `TLSv1.2`.
    Only12,
    /// `TLSv1.3`.
    Only13,
}

impl FromStr for TlsVersions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut found = [false; 2];
        for version in text.split(',') {
            let version = version.trim();
            let known = ["TLSv1.2", "TLSv1.3"];
            let known = known
                .iter()
                .zip(&mut found)
                .find(|(name, _)| name.eq_ignore_ascii_case(version));
            let Some((_, found)) = known else {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    format!("'{version}' is no version of TLS that is safe"),
                )
                .remedy("use TLSv1.2, TLSv1.3 or both with a comma between"));
            };
            *found = true;
        }
        Ok(match found {
            [true, false] => Self::Only12,
            [false, true] => Self::Only13,
            _ => Self::Both,
        })
    }
}

impl fmt::Display for TlsVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "TLSv1.2,TLSv1.3",
            Self::Only12 => "TLSv1.2",
            Self::Only13 => "TLSv1.3",
        })
    }
}

/// Account, encryption and timeouts of a connection. `Debug` does not show the password.
///
/// ```
/// use rejoin::net::{ConnectOptions, SslMode};
///
/// let options = ConnectOptions {
///     ssl_mode: SslMode::VerifyCa,
///     ssl_ca: Some("/etc/mysql/ca.pem".into()),
///     ..ConnectOptions::new("recovery", "secret")
/// };
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The account's name.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Encryption. Default [`SslMode::Required`].
    pub ssl_mode: SslMode,
    /// File of the certificate authorities that are trusted (PEM); needed by the two VERIFY modes.
    pub ssl_ca: Option<PathBuf>,
    /// File of the client's own certificate (PEM), for accounts that REQUIRE one.
    pub ssl_cert: Option<PathBuf>,
    /// File of the key to `ssl_cert` (PEM).
    pub ssl_key: Option<PathBuf>,
    /// Whether the server may be asked for its RSA public key where the connection is not encrypted.
    /// Whoever sits between could send his own. Default no.
    pub get_server_public_key: bool,
    /// File of the server's RSA public key (PEM), the safe way to log in without TLS.
    pub server_public_key_path: Option<PathBuf>,
    /// What the connection is compressed with. Default: nothing.
    pub compression: Compression,
    /// The versions of TLS that are agreed to. Default: all that are safe.
    pub tls_versions: TlsVersions,
    /// Time for all of: name resolution and TCP connection, then as much again for TLS and login.
    /// Default 10 s.
    pub connect_timeout: Duration,
    /// Longest silence on a connection (`replica_net_timeout`), and longest time to get a command
    /// out. Default 60 s.
    pub read_timeout: Duration,
}

impl ConnectOptions {
    /// The defaults, for this account.
    pub fn new(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
            ssl_mode: SslMode::default(),
            ssl_ca: None,
            ssl_cert: None,
            ssl_key: None,
            get_server_public_key: false,
            server_public_key_path: None,
            compression: Compression::Uncompressed,
            tls_versions: TlsVersions::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
        }
    }
}

impl Default for ConnectOptions {
    /// The account `root` without a password.
    fn default() -> Self {
        Self::new("root", Secret::default())
    }
}
