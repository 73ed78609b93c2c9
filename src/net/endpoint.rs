//! Where a server listens.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};

/// A host and a TCP port.
///
/// ```
/// use rejoin::net::Endpoint;
///
/// let endpoint: Endpoint = "db1".parse()?;
/// assert_eq!(endpoint, Endpoint::new("db1", 3306));
/// assert_eq!("[::1]:13306".parse::<Endpoint>()?.to_string(), "[::1]:13306");
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// The port of the classic protocol where none is given.
    pub const DEFAULT_PORT: u16 = 3306;

    /// The endpoint of `host` and `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Configuration, format!("address '{text}': {why}"))
                .remedy("write host:port, with an IPv6 address in brackets")
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest
                    .split_once(']')
                    .ok_or_else(|| wrong("the bracket is not closed"))?;
                match behind.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if behind.is_empty() => (host, None),
                    None => return Err(wrong("expected a colon behind the bracket")),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        let port = match port {
            None => Self::DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(wrong("the port is not a number of 1 to 65535")),
                Ok(port) => port,
            },
        };
        Ok(Self::new(host, port))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_addresses_are_refused() {
        for text in [
            "", ":3306", "a:", "a:0", "a:65536", "a:x", "[::1", "[::1]x", "::1",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
        }
    }
}
