//! The login: from the server's greeting to its verdict.
//!
//! ```text
//! server                                client                              state here
//! greeting (HandshakeV10)          ->                                       AwaitGreeting
//!                                  <-  [SSLRequest, TLS handshake]          AwaitTls
//!                                  <-  HandshakeResponse41
//! [AuthSwitchRequest fe            ->                                       AwaitVerdict
//!                                  <-  answer of the other plugin]
//! [AuthMoreData 01: full login,    ->
//!  or a public key                 <-  password by TLS or RSA]
//! OK or ERR                        ->                                       Accepted
//! ```
//!
//! Each state is a value that `handle` consumes; no socket, no clock. Packets and cryptography are
//! mysql_common's. What is done here is to decide what may be sent to whom: the password leaves
//! this machine only as a caching_sha2_password or sha256_password answer, inside TLS, or
//! encrypted with a public key that the caller allowed. Any other plugin is refused.

mod public_key;
mod secret;
mod verdict;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;

pub use secret::Secret;
pub use verdict::{AwaitVerdict, Verdict};

use super::compression::Compression;
use super::server_error::{ERR_HEADER, ServerError};
use crate::{Error, ErrorKind, Result};

/// Length of the nonce that both plugins hash with the password.
const NONCE_LENGTH: usize = 20;

/// Whether the connection is to be encrypted before the user's name is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// Plain text.
    Never,
    /// Where the server offers it.
    IfOffered,
    /// Or no login at all.
    Required,
}

/// What the login may use.
#[derive(Debug, Clone)]
pub struct LoginOptions {
    /// The account's name.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Whether to ask for TLS.
    pub encryption: Encryption,
    /// The server's RSA public key (PEM), known beforehand.
    pub public_key: Option<Vec<u8>>,
    /// Whether the server may be asked for its RSA public key over an unencrypted connection,
    /// trusting that nobody sits between.
    pub get_public_key: bool,
    /// Largest packet that we accept, told to the server.
    pub max_packet_bytes: u32,
    /// Connection attributes, as shown in performance_schema.session_connect_attrs.
    pub attributes: HashMap<String, String>,
    /// What the connection is to be compressed with once the login is done.
    pub compression: Compression,
}

/// A server's version number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number.
    pub patch: u16,
}

impl ServerVersion {
    /// The first server version that knows tagged GTIDs, 8.3.0.
    pub const TAGGED_GTIDS: Self = Self {
        major: 8,
        minor: 3,
        patch: 0,
    };

    /// Reads `9.7.4-debug` and the like; a number that is missing or too large counts as 0.
    pub fn parse(text: &str) -> Self {
        let mut numbers = text.splitn(3, '.').map(|part| {
            let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let digits = part.get(..digits).unwrap_or_default();
            digits.parse().unwrap_or(0)
        });
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            major: next(),
            minor: next(),
            patch: next(),
        }
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What the greeting said about the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The version as the server writes it, `9.7.4` or `8.0.40-debug`.
    pub version_text: String,
    /// The version as numbers.
    pub version: ServerVersion,
    /// The connection's number in the server, as in SHOW PROCESSLIST.
    pub connection_id: u32,
}

/// Waits for the server's greeting.
#[derive(Debug)]
pub struct AwaitGreeting {
    options: LoginOptions,
}

/// How the login goes on after the greeting.
#[derive(Debug)]
pub enum Greeted {
    /// Send `request`, make the TLS handshake, then call [`AwaitTls::encrypted`].
    StartTls {
        /// The SSLRequest packet.
        request: Vec<u8>,
        /// What comes behind the handshake.
        next: AwaitTls,
    },
    /// Send `response` in plain text.
    Respond {
        /// The HandshakeResponse41 packet.
        response: Vec<u8>,
        /// Waits for the answer to it.
        next: AwaitVerdict,
    },
}

/// Waits for the TLS handshake to end well.
#[derive(Debug)]
pub struct AwaitTls {
    login: Greeting,
}

/// What of greeting and options the answer is made from.
#[derive(Debug)]
struct Greeting {
    options: LoginOptions,
    server: ServerInfo,
    nonce: Vec<u8>,
    capabilities: CapabilityFlags,
}

impl AwaitGreeting {
    /// Starts a login.
    pub fn new(options: LoginOptions) -> Self {
        Self { options }
    }

    /// Takes in the first packet of the server.
    ///
    /// # Errors
    /// The server's own where it refuses the connection; [`ErrorKind::Unsupported`] for what is
    /// not a MySQL server of version 5.7 or later; [`ErrorKind::Tls`] where TLS is required and not
    /// offered.
    pub fn handle(self, packet: &[u8]) -> Result<Greeted> {
        if packet.first() == Some(&ERR_HEADER) {
            return Err(ServerError::parse(packet)?.into_login_error("the connection"));
        }
        let greeting = parse_greeting(packet)?;
        let server = server_info(&greeting)?;
        let offered = greeting.capabilities();
        let needed = CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_PLUGIN_AUTH;
        if !offered.contains(needed) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "server {} does not speak the protocol of MySQL 5.7 and later",
                    server.version_text
                ),
            ));
        }
        let encrypt = match self.options.encryption {
            Encryption::Never => false,
            Encryption::IfOffered => offered.contains(CapabilityFlags::CLIENT_SSL),
            Encryption::Required if offered.contains(CapabilityFlags::CLIENT_SSL) => true,
            Encryption::Required => {
                return Err(
                    Error::new(ErrorKind::Tls, "the server does not offer TLS").remedy(
                        "give the server a certificate (ssl_cert, ssl_key), or use \
                         ssl-mode=PREFERRED or DISABLED on a network that you trust",
                    ),
                );
            }
        };
        let compression = compression_capability(self.options.compression);
        if !offered.contains(compression) {
            let name = self.options.compression.name();
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the server does not offer {name} compression"),
            )
            .remedy(format!(
                "add {name} to the server's protocol_compression_algorithms, or use another \
                 algorithm"
            )));
        }
        let mut nonce = greeting.nonce();
        nonce.truncate(NONCE_LENGTH);
        let mut login = Greeting {
            options: self.options,
            server,
            nonce,
            capabilities: (wanted_capabilities() | compression) & offered,
        };
        if !encrypt {
            let (response, next) = login.respond(false)?;
            return Ok(Greeted::Respond { response, next });
        }
        login.capabilities |= CapabilityFlags::CLIENT_SSL;
        let mut request = Vec::new();
        SslRequest::new(
            login.capabilities,
            login.options.max_packet_bytes,
            COLLATION_UTF8MB4_GENERAL_CI,
        )
        .serialize(&mut request);
        Ok(Greeted::StartTls {
            request,
            next: AwaitTls { login },
        })
    }
}

impl AwaitTls {
    /// Gives the answer to send through TLS.
    ///
    /// # Errors
    /// [`ErrorKind::Authentication`] where no answer can be made.
    pub fn encrypted(self) -> Result<(Vec<u8>, AwaitVerdict)> {
        self.login.respond(true)
    }
}

/// utf8mb4_general_ci, the same in request and response; statements are ASCII anyway.
const COLLATION_UTF8MB4_GENERAL_CI: u8 = 45;

fn wanted_capabilities() -> CapabilityFlags {
    CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
}

/// A client asks for one: of several the server would choose.
fn compression_capability(compression: Compression) -> CapabilityFlags {
    match compression {
        Compression::Uncompressed => CapabilityFlags::empty(),
        Compression::Zlib => CapabilityFlags::CLIENT_COMPRESS,
        Compression::Zstd { .. } => CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM,
    }
}

impl Greeting {
    /// Answers as a caching_sha2_password client whatever the server's default is: the server
    /// switches where the account has another plugin, and no other plugin sees the password.
    fn respond(self, secure: bool) -> Result<(Vec<u8>, AwaitVerdict)> {
        let attributes = self
            .capabilities
            .contains(CapabilityFlags::CLIENT_CONNECT_ATTRS)
            .then(|| self.options.attributes.clone());
        let user = self.options.user.clone().into_bytes();
        let (capabilities, max_packet_bytes) = (self.capabilities, self.options.max_packet_bytes);
        let compression = self.options.compression;
        let (answer, next) = AwaitVerdict::begin(self, secure)?;
        let response = HandshakeResponse::new(
            Some(answer),
            // Decides only on the character set: utf8mb4.
            (8, 0, 0),
            Some(user),
            None::<Cow<'_, [u8]>>,
            Some(AuthPlugin::CachingSha2Password),
            capabilities,
            attributes,
            max_packet_bytes,
        );
        let mut packet = Vec::new();
        response.serialize(&mut packet);
        if let Compression::Zstd { level } = compression {
            packet.push(level);
        }
        Ok((packet, next))
    }
}

fn parse_greeting(packet: &[u8]) -> Result<HandshakePacket<'_>> {
    let malformed = |what: &str| {
        Error::new(
            ErrorKind::Malformed,
            format!("greeting of the server: {what}"),
        )
        .remedy("check that the address is a MySQL server's classic protocol port (3306)")
    };
    if packet.first() != Some(&10) {
        return Err(malformed("protocol version is not 10"));
    }
    let Some(version) = packet.iter().position(|&byte| byte == 0) else {
        return Err(malformed("version has no end"));
    };
    // Behind the version: u32 id, 8 nonce, 0, u16, u8, u16, u16, then the nonce's length, which
    // mysql_common subtracts from as a signed byte. Servers send 21.
    if packet
        .get(version + 21)
        .is_some_and(|&length| length > 0x7f)
    {
        return Err(malformed("nonce is too long"));
    }
    ParseBuf(packet)
        .parse(())
        .map_err(|error| malformed("packet is incomplete").caused_by(error))
}

fn server_info(greeting: &HandshakePacket<'_>) -> Result<ServerInfo> {
    let version_text = greeting.server_version_str().into_owned();
    if version_text.contains("MariaDB") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the server is MariaDB ({version_text}), whose GTIDs and groups are others"),
        )
        .remedy("name a member of a MySQL Group Replication group"));
    }
    Ok(ServerInfo {
        version: ServerVersion::parse(&version_text),
        version_text,
        connection_id: greeting.connection_id(),
    })
}

#[cfg(test)]
mod tests;
