//! From the client's answer to OK: the authentication plugins.

use mysql_common::auth::plugins::{AuthProc, ChallengeResponsePlugin, Context, Response};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest};

use super::{Greeting, NONCE_LENGTH, Secret, ServerInfo, public_key};
use crate::wire::server_error::{ERR_HEADER, ServerError};
use crate::{Error, ErrorKind, Result};

const OK_HEADER: u8 = 0x00;
const AUTH_MORE_DATA: u8 = 0x01;
const AUTH_NEXT_FACTOR: u8 = 0x02;
const AUTH_SWITCH: u8 = 0xfe;

/// caching_sha2_password: the server has no cached hash and wants the password itself.
const PERFORM_FULL_AUTHENTICATION: &[u8] = &[0x04];

/// Waits for what the server says to the answer: another question, or its verdict.
#[derive(Debug)]
pub struct AwaitVerdict {
    secrets: Secrets,
    server: ServerInfo,
    plugin: AuthProc,
    switched: bool,
    /// The next AuthMoreData is a public key that we asked for.
    key_requested: bool,
}

/// What the server's packet meant.
#[derive(Debug)]
pub enum Verdict {
    /// Send `packet` and wait again.
    Send {
        /// The payload.
        packet: Vec<u8>,
        /// Waits for the answer to it.
        next: AwaitVerdict,
    },
    /// Wait for another packet.
    Wait(AwaitVerdict),
    /// The login is done.
    Accepted(ServerInfo),
}

#[derive(Debug)]
struct Secrets {
    password: Secret,
    secure: bool,
    nonce: Vec<u8>,
    public_key: Option<Vec<u8>>,
    get_public_key: bool,
}

impl Context for &Secrets {
    fn pass(&self) -> &[u8] {
        self.password.expose()
    }

    fn is_ipc_transport(&self) -> bool {
        false
    }

    fn is_tls_transport(&self) -> bool {
        self.secure
    }

    fn scramble(&self) -> &[u8] {
        &self.nonce
    }

    fn server_key_pem(&self) -> Option<&[u8]> {
        self.public_key.as_deref()
    }
}

impl AwaitVerdict {
    /// The first answer of caching_sha2_password to the greeting's nonce.
    pub(super) fn begin(greeting: Greeting, secure: bool) -> Result<(Vec<u8>, Self)> {
        let mut state = Self {
            secrets: Secrets {
                password: greeting.options.password,
                secure,
                nonce: greeting.nonce,
                public_key: greeting.options.public_key,
                get_public_key: greeting.options.get_public_key,
            },
            server: greeting.server,
            plugin: AuthProc::CachingSha2Password(Default::default()),
            switched: false,
            key_requested: false,
        };
        let nonce = state.secrets.nonce.clone();
        let answer = state.answer(&nonce)?.unwrap_or_default();
        Ok((answer, state))
    }

    /// Takes in one packet.
    ///
    /// # Errors
    /// [`ErrorKind::Authentication`] where the server refuses, or where going on would give the
    /// password away; [`ErrorKind::Malformed`] for packets out of place.
    pub fn handle(mut self, packet: &[u8]) -> Result<Verdict> {
        match packet.split_first() {
            Some((&OK_HEADER, _)) => Ok(Verdict::Accepted(self.server)),
            Some((&ERR_HEADER, _)) => {
                Err(ServerError::parse(packet)?.into_login_error("the login"))
            }
            Some((&AUTH_MORE_DATA, data)) => {
                self.check_more_data(data)?;
                let answer = self.answer(data)?;
                Ok(self.after(answer))
            }
            Some((&AUTH_SWITCH, name_and_data)) if !self.switched => {
                self.switch(packet, name_and_data)?;
                let nonce = self.secrets.nonce.clone();
                let answer = self.answer(&nonce)?;
                Ok(self.after(answer))
            }
            Some((&AUTH_NEXT_FACTOR, _)) => Err(Error::new(
                ErrorKind::Authentication,
                "the account demands a second authentication factor",
            )
            .remedy("use an account with a password only for recovery")),
            _ => Err(out_of_place()),
        }
    }

    fn after(self, answer: Option<Vec<u8>>) -> Verdict {
        match answer {
            Some(packet) => Verdict::Send { packet, next: self },
            None => Verdict::Wait(self),
        }
    }

    fn answer(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.plugin.run(&self.secrets, challenge) {
            Ok(Response::Next { packet } | Response::Last { packet }) => Ok(packet),
            Err(error) => Err(out_of_place().caused_by(error)),
        }
    }

    /// Whether what mysql_common would answer to this may be answered.
    fn check_more_data(&mut self, data: &[u8]) -> Result<()> {
        if self.key_requested {
            self.key_requested = false;
            return public_key::check(data, self.secrets.password.expose().len() + 1);
        }
        let full_login = matches!(self.plugin, AuthProc::CachingSha2Password(_))
            && data == PERFORM_FULL_AUTHENTICATION;
        if full_login {
            self.check_password_may_be_sent()?;
        }
        Ok(())
    }

    /// The password goes through TLS, or encrypted with a key that the caller gave or allowed.
    fn check_password_may_be_sent(&mut self) -> Result<()> {
        let secrets = &self.secrets;
        if secrets.secure {
            return Ok(());
        }
        if let Some(key) = &secrets.public_key {
            return public_key::check(key, secrets.password.expose().len() + 1);
        }
        if secrets.get_public_key {
            self.key_requested = true;
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Authentication,
            "the server wants the password itself, and the connection is not encrypted",
        )
        .remedy(
            "use ssl-mode=REQUIRED; or set server-public-key-path, or get-server-public-key on a \
             network that you trust",
        ))
    }

    fn switch(&mut self, packet: &[u8], name_and_data: &[u8]) -> Result<()> {
        if name_and_data.is_empty() {
            return Err(refused_plugin("mysql_old_password"));
        }
        let request: AuthSwitchRequest<'_> = ParseBuf(packet)
            .parse(())
            .map_err(|error| out_of_place().caused_by(error))?;
        let plugin = request.auth_plugin();
        match plugin {
            AuthPlugin::CachingSha2Password | AuthPlugin::Sha256Password => {}
            other => {
                let name = String::from_utf8_lossy(other.as_bytes()).into_owned();
                return Err(refused_plugin(name.trim_end_matches('\0')));
            }
        }
        let nonce = request.plugin_data();
        if nonce.len() != NONCE_LENGTH {
            return Err(out_of_place());
        }
        self.secrets.nonce = nonce.to_vec();
        self.plugin = plugin.init().map_err(|error| {
            Error::new(ErrorKind::Authentication, "plugin is unknown").caused_by(error)
        })?;
        self.switched = true;
        // sha256_password sends the password, or asks for the key, at once.
        if matches!(self.plugin, AuthProc::Sha256Password(_)) && !self.secrets.password.is_empty() {
            self.check_password_may_be_sent()?;
        }
        Ok(())
    }
}

#[cold]
fn refused_plugin(name: &str) -> Error {
    let why = match name {
        "mysql_clear_password" => "would send the password readable by the server",
        "mysql_old_password" | "mysql_native_password" => "is weak and gone from MySQL 9",
        _ => "is not known here",
    };
    Error::new(
        ErrorKind::Authentication,
        format!("the server asks for the authentication plugin {name}, which {why}"),
    )
    .remedy("give the account the plugin caching_sha2_password (ALTER USER ... IDENTIFIED WITH)")
}

#[cold]
fn out_of_place() -> Error {
    Error::new(
        ErrorKind::Malformed,
        "the server sent a packet that has no place in a login",
    )
}
