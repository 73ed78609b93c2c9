//! Connection URLs.
//!
//! ```text
//! mysql://user:password@host[:port][,host[:port]...][/][?key=value[&key=value...]]
//! ```
//!
//! User and password are percent-encoded. The keys are MySQL's option names; `-` and `_` are the
//! same.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{ConnectOptions, Endpoint, Secret};
use crate::{Error, ErrorKind, Result};

/// Left as they are in what we print.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The same and the path's own separator.
const PLAIN_PATH: &AsciiSet = &PLAIN.remove(b'/');

/// One account on several servers, any of which will do as a first contact.
///
/// | key | value |
/// |---|---|
/// | `ssl-mode` | DISABLED, PREFERRED, REQUIRED (default), VERIFY_CA, VERIFY_IDENTITY |
/// | `ssl-ca`, `ssl-cert`, `ssl-key` | PEM files |
/// | `get-server-public-key` | ON or OFF (default) |
/// | `server-public-key-path` | PEM file |
/// | `connect-timeout`, `read-timeout` | whole seconds, at least 1 |
///
/// Neither `Display` nor `Debug` nor an error shows the password.
///
/// ```
/// use rejoin::net::{Endpoint, Url};
///
/// let url: Url = "mysql://recovery:p%40ss@db1,db2:3307/?ssl-mode=DISABLED".parse()?;
/// assert_eq!(url.endpoints, [Endpoint::new("db1", 3306), Endpoint::new("db2", 3307)]);
/// assert_eq!(url.options.password.expose(), b"p@ss");
/// assert_eq!(url.to_string(), "mysql://recovery@db1:3306,db2:3307/?ssl-mode=DISABLED");
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// The servers, in the order written; at least one.
    pub endpoints: Vec<Endpoint>,
    /// The account and how to connect.
    pub options: ConnectOptions,
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(rest) = text.strip_prefix("mysql://") else {
            return Err(wrong("it does not begin with mysql://"));
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, query),
            None => (rest, ""),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err(wrong("it names a database, and all are recovered"));
        }
        let Some((account, hosts)) = authority.rsplit_once('@') else {
            return Err(wrong("it names no user"));
        };
        let (user, password) = account.split_once(':').unwrap_or((account, ""));
        let user = decode_text("user", user)?;
        if user.is_empty() {
            return Err(wrong("it names no user"));
        }
        let password = Secret::from(percent_decode_str(password).collect::<Vec<u8>>());
        let mut url = Self {
            endpoints: Vec::new(),
            options: ConnectOptions::new(user, password),
        };
        for host in hosts.split(',') {
            let endpoint: Endpoint = host.parse()?;
            if url.endpoints.contains(&endpoint) {
                return Err(wrong(&format!("it names {endpoint} twice")));
            }
            url.endpoints.push(endpoint);
        }
        url.set_keys(query)?;
        Ok(url)
    }
}

impl Url {
    fn set_keys(&mut self, query: &str) -> Result<()> {
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decode_text("key", key)?
                .to_ascii_lowercase()
                .replace('_', "-");
            let value = decode_text(&key, value)?;
            if seen.contains(&key) {
                return Err(wrong(&format!("key '{key}' is there twice")));
            }
            self.set_key(&key, &value)?;
            seen.push(key);
        }
        Ok(())
    }

    fn set_key(&mut self, key: &str, value: &str) -> Result<()> {
        let options = &mut self.options;
        match key {
            "ssl-mode" => options.ssl_mode = value.parse()?,
            "ssl-ca" => options.ssl_ca = Some(file(key, value)?),
            "ssl-cert" => options.ssl_cert = Some(file(key, value)?),
            "ssl-key" => options.ssl_key = Some(file(key, value)?),
            "get-server-public-key" => options.get_server_public_key = switch(key, value)?,
            "server-public-key-path" => options.server_public_key_path = Some(file(key, value)?),
            "connect-timeout" => options.connect_timeout = seconds(key, value)?,
            "read-timeout" => options.read_timeout = seconds(key, value)?,
            _ => {
                return Err(wrong(&format!("key '{key}' is unknown")).remedy(
                    "known keys: ssl-mode, ssl-ca, ssl-cert, ssl-key, get-server-public-key, \
                     server-public-key-path, connect-timeout, read-timeout",
                ));
            }
        }
        Ok(())
    }
}

fn wrong(why: &str) -> Error {
    // The URL itself is not shown: it holds the password.
    Error::new(ErrorKind::Configuration, format!("connection URL: {why}"))
        .remedy("write mysql://user:password@host:port[,host:port...]/?ssl-mode=REQUIRED")
}

fn decode_text(what: &str, text: &str) -> Result<String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.contains('\0') => Ok(text.into_owned()),
        _ => Err(wrong(&format!("{what} is not UTF-8 text"))),
    }
}

fn file(key: &str, value: &str) -> Result<PathBuf> {
    match value {
        "" => Err(wrong(&format!("{key} names no file"))),
        path => Ok(path.into()),
    }
}

fn switch(key: &str, value: &str) -> Result<bool> {
    match value.to_ascii_uppercase().as_str() {
        // MySQL's options without a value are switched on.
        "" | "1" | "ON" | "TRUE" => Ok(true),
        "0" | "OFF" | "FALSE" => Ok(false),
        _ => Err(wrong(&format!("{key} is neither ON nor OFF"))),
    }
}

fn seconds(key: &str, value: &str) -> Result<Duration> {
    match value.parse() {
        // The server's own maximum for timeouts is a year.
        Ok(seconds @ 1..=31_536_000) => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong(&format!(
            "{key} is not a number of seconds from 1 to 31536000"
        ))),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let default = ConnectOptions::default();
        write!(f, "mysql://{}@", utf8_percent_encode(&options.user, PLAIN))?;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(f, "{separator}{endpoint}")?;
        }
        write!(f, "/?ssl-mode={}", options.ssl_mode)?;
        for (key, path) in [
            ("ssl-ca", &options.ssl_ca),
            ("ssl-cert", &options.ssl_cert),
            ("ssl-key", &options.ssl_key),
            ("server-public-key-path", &options.server_public_key_path),
        ] {
            if let Some(path) = path {
                let path = path.to_string_lossy();
                write!(f, "&{key}={}", utf8_percent_encode(&path, PLAIN_PATH))?;
            }
        }
        if options.get_server_public_key {
            f.write_str("&get-server-public-key=ON")?;
        }
        for (key, value, default) in [
            (
                "connect-timeout",
                options.connect_timeout,
                default.connect_timeout,
            ),
            ("read-timeout", options.read_timeout, default.read_timeout),
        ] {
            if value != default {
                write!(f, "&{key}={}", value.as_secs())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::SslMode;

    fn error_of(text: &str) -> Error {
        let error = text.parse::<Url>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
        error
    }

    #[test]
    fn all_keys_are_understood_and_printed_back() {
        let text = "mysql://r%40x:se%3Acret@[::1]:1,db/?ssl-mode=verify_ca&ssl-ca=/a%20b/ca.pem\
                    &ssl-cert=c&ssl_key=k&get-server-public-key&server-public-key-path=/p\
                    &connect-timeout=3&read-timeout=9";
        let url: Url = text.parse().unwrap();
        assert_eq!(url.options.user, "r@x");
        assert_eq!(url.options.password.expose(), b"se:cret");
        assert_eq!(url.options.ssl_mode, SslMode::VerifyCa);
        assert_eq!(url.options.ssl_ca, Some("/a b/ca.pem".into()));
        assert!(url.options.get_server_public_key);
        assert_eq!(url.options.read_timeout.as_secs(), 9);
        let printed = url.to_string();
        let mut again: Url = printed.parse().unwrap();
        assert!(again.options.password.is_empty());
        again.options.password = url.options.password.clone();
        assert_eq!(again, url);
    }

    #[test]
    fn the_password_is_never_shown() {
        let url: Url = "mysql://u:hunter2@h".parse().unwrap();
        assert!(!format!("{url} {url:?}").contains("hunter2"));
        for text in [
            "mysql:/u:hunter2@h",
            "mysql://u:hunter2@h/db",
            "mysql://u:hunter2@h?x=1",
            "mysql://u:hunter2@",
            "mysql://:hunter2@h",
            "mysql://u:hunter2@h:0",
        ] {
            let error = error_of(text);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("mysql://u@h?ssl-mod=REQUIRED", "'ssl-mod'"),
            ("mysql://u@h?ssl-mode=yes", "ssl-mode 'yes'"),
            ("mysql://u@h?ssl-ca=", "ssl-ca names no file"),
            ("mysql://u@h?connect-timeout=0", "connect-timeout"),
            ("mysql://u@h?read-timeout=1.5", "read-timeout"),
            ("mysql://u@h?read-timeout=1&read_timeout=2", "twice"),
            ("mysql://u@h,h:3306", "twice"),
            ("mysql://u@h,", "host is missing"),
            ("mysql://h:3306", "no user"),
            ("http://u@h", "mysql://"),
            ("mysql://u%ff@h", "user is not UTF-8"),
        ] {
            let error = error_of(text);
            assert!(error.message().contains(part), "{error}");
        }
    }
}
