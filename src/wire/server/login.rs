//! The login from the server's side: caching_sha2_password, inside TLS where it is offered.
//!
//! ```text
//! server                                 client                            state here
//! greeting (HandshakeV10)           ->                                     Response
//!                                   <-  [SSLRequest, TLS handshake]        Response, encrypted
//!                                   <-  HandshakeResponse41
//! [AuthSwitchRequest fe             ->                                     Switched
//!                                   <-  scramble]
//! [AuthMoreData 01 04: full login   ->                                     Password
//!                                   <-  password NUL]
//! AuthMoreData 01 03, OK; or ERR    ->
//! ```
//!
//! Of a password only `SHA256(SHA256(password))` is kept, which is enough to check both a scramble
//! and a password, and not enough to log in anywhere. A scramble that does not fit leads to the full
//! login, as on a server whose cache is empty; without TLS it is refused, for there is no RSA key
//! here.

use std::fmt;
use std::sync::Arc;

use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{HandshakePacket, HandshakeResponse};
use mysql_common::proto::MySerialize;
use sha2::{Digest, Sha256};

use super::answer::{self, Refusal};

/// Length of the nonce.
pub const NONCE_LENGTH: usize = 20;

const PLUGIN: &[u8] = b"caching_sha2_password";
/// Length of a request to start TLS.
const SSL_REQUEST_LENGTH: usize = 32;
const UTF8MB4_GENERAL_CI: u8 = 45;

const FAST_LOGIN_DONE: &[u8] = &[0x01, 0x03];
const FULL_LOGIN: &[u8] = &[0x01, 0x04];

/// Who may log in.
#[derive(Clone)]
pub struct Account {
    name: String,
    /// `SHA256(SHA256(password))`.
    verifier: [u8; 32],
    has_password: bool,
    can_replicate: bool,
}

impl Account {
    /// An account for replicas. The password itself is not kept.
    pub fn new(name: impl Into<String>, password: &[u8]) -> Self {
        Self {
            name: name.into(),
            verifier: verifier(password),
            has_password: !password.is_empty(),
            can_replicate: true,
        }
    }

    /// Takes the REPLICATION SLAVE privilege away: the account may log in and ask, no more.
    #[must_use]
    pub fn without_replication(mut self) -> Self {
        self.can_replicate = false;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has the REPLICATION SLAVE privilege.
    pub fn can_replicate(&self) -> bool {
        self.can_replicate
    }

    /// Whether the 32 bytes were made from the password and `nonce`:
    /// `SHA256(password) XOR SHA256(verifier, nonce)`.
    fn accepts_scramble(&self, scramble: &[u8], nonce: &[u8; NONCE_LENGTH]) -> bool {
        let Ok(mut stage1) = <[u8; 32]>::try_from(scramble) else {
            return false;
        };
        let mask = Sha256::new()
            .chain_update(self.verifier)
            .chain_update(nonce)
            .finalize();
        for (byte, mask) in stage1.iter_mut().zip(mask) {
            *byte ^= mask;
        }
        // What is compared is a hash of secrets: how far it agrees tells nothing about them.
        Sha256::digest(stage1).as_slice() == self.verifier
    }
}

fn verifier(password: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(password)).into()
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("can_replicate", &self.can_replicate)
            .finish_non_exhaustive()
    }
}

/// What a server says of itself to everybody, and whom it lets in.
#[derive(Debug, Clone)]
pub struct LoginPolicy {
    /// The version in the greeting, for example `9.7.4-rejoin`.
    pub server_version: String,
    /// Who may log in.
    pub accounts: Arc<[Account]>,
    /// Whether TLS is offered.
    pub offers_tls: bool,
    /// Whether a login without TLS is refused.
    pub requires_tls: bool,
}

/// A login under way, between two packets of the client.
#[derive(Debug)]
pub struct Login {
    policy: LoginPolicy,
    nonce: [u8; NONCE_LENGTH],
    /// The client's host, as in error messages.
    host: String,
    encrypted: bool,
    state: State,
}

/// What the next packet is taken for.
#[derive(Debug)]
enum State {
    Response,
    Switched { user: String },
    Password { user: String },
}

/// What to do after a packet of the client.
#[derive(Debug)]
pub enum Step {
    /// Send this packet and hand in the answer.
    Send(Vec<u8>, Login),
    /// Make the TLS handshake, then hand in the next packet.
    StartTls(Login),
    /// Send these packets; the client is in.
    Accepted(Vec<Vec<u8>>, Account),
    /// Send this error and close.
    Refused(Refusal),
}

impl Login {
    /// Starts a login; gives the greeting to send. `random` should be unpredictable.
    pub fn greet(
        policy: LoginPolicy,
        connection_id: u32,
        host: String,
        random: [u8; NONCE_LENGTH],
    ) -> (Vec<u8>, Self) {
        // Clients take the nonce for text: no NUL, and no '$', which separates parts of stored hashes.
        let nonce = random.map(|byte| match byte & 0x7f {
            0 | b'$' => b'x',
            byte => byte,
        });
        let mut capabilities = CapabilityFlags::CLIENT_LONG_PASSWORD
            | CapabilityFlags::CLIENT_LONG_FLAG
            | CapabilityFlags::CLIENT_CONNECT_WITH_DB
            | CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_TRANSACTIONS
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_PLUGIN_AUTH
            | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
            | CapabilityFlags::CLIENT_CONNECT_ATTRS;
        if policy.offers_tls {
            capabilities |= CapabilityFlags::CLIENT_SSL;
        }
        let (first, second) = nonce.split_at(8);
        let mut second = second.to_vec();
        second.push(0);
        let mut packet = Vec::new();
        HandshakePacket::new(
            10,
            policy.server_version.as_bytes(),
            connection_id,
            first.try_into().unwrap_or_default(),
            Some(second),
            capabilities,
            UTF8MB4_GENERAL_CI,
            StatusFlags::SERVER_STATUS_AUTOCOMMIT,
            Some(PLUGIN),
        )
        .serialize(&mut packet);
        let login = Self {
            policy,
            nonce,
            host,
            encrypted: false,
            state: State::Response,
        };
        (packet, login)
    }

    /// Takes in the client's next packet.
    pub fn handle(mut self, packet: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::Response) {
            State::Response => self.response(packet),
            State::Switched { user } => self.scramble(user, packet),
            State::Password { user } => self.password(&user, packet),
        }
    }

    fn response(mut self, packet: &[u8]) -> Step {
        let asks_for_tls = packet
            .get(1)
            .is_some_and(|flags| flags & 0x08 != 0 && packet.len() == SSL_REQUEST_LENGTH);
        if asks_for_tls && self.policy.offers_tls && !self.encrypted {
            self.encrypted = true;
            return Step::StartTls(self);
        }
        if self.policy.requires_tls && !self.encrypted {
            return Step::Refused(Refusal::new(
                3159,
                "Connections using insecure transport are prohibited while \
                 --require_secure_transport=ON.",
            ));
        }
        let Ok(response) = ParseBuf(packet).parse::<HandshakeResponse<'_>>(()) else {
            return Step::Refused(Refusal::with_state(1043, "08S01", "Bad handshake"));
        };
        let needed = CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_PLUGIN_AUTH;
        if !response.capabilities().contains(needed) {
            return Step::Refused(Refusal::with_state(
                1251,
                "08004",
                "Client does not support authentication protocol requested by server; consider \
                 upgrading MySQL client",
            ));
        }
        let user = String::from_utf8_lossy(response.user()).into_owned();
        let plugin = response.auth_plugin().map(|plugin| plugin.as_bytes());
        if plugin == Some(PLUGIN) {
            return self.scramble(user, response.scramble_buf());
        }
        let mut switch = vec![0xfe];
        switch.extend_from_slice(PLUGIN);
        switch.push(0);
        switch.extend_from_slice(&self.nonce);
        switch.push(0);
        self.state = State::Switched { user };
        Step::Send(switch, self)
    }

    fn scramble(mut self, user: String, scramble: &[u8]) -> Step {
        // No password is sent as nothing, or as one NUL in an answer to a switch.
        if matches!(scramble, [] | [0]) {
            return match self.account(&user) {
                Some(account) if !account.has_password => {
                    Step::Accepted(vec![answer::OK.to_vec()], account.clone())
                }
                _ => self.denied(&user, "NO"),
            };
        }
        let account = self.account(&user);
        if let Some(account) = account
            && account.accepts_scramble(scramble, &self.nonce)
        {
            let packets = vec![FAST_LOGIN_DONE.to_vec(), answer::OK.to_vec()];
            return Step::Accepted(packets, account.clone());
        }
        if !self.encrypted {
            return self.denied(&user, "YES");
        }
        // For users that do not exist, too: nobody shall learn which do.
        self.state = State::Password { user };
        Step::Send(FULL_LOGIN.to_vec(), self)
    }

    fn password(self, user: &str, packet: &[u8]) -> Step {
        let password = packet.strip_suffix(&[0]).unwrap_or(packet);
        match self.account(user) {
            Some(account) if account.verifier == verifier(password) => {
                Step::Accepted(vec![answer::OK.to_vec()], account.clone())
            }
            _ => self.denied(user, if password.is_empty() { "NO" } else { "YES" }),
        }
    }

    fn account(&self, user: &str) -> Option<&Account> {
        self.policy
            .accounts
            .iter()
            .find(|account| account.name == user)
    }

    fn denied(&self, user: &str, using_password: &str) -> Step {
        Step::Refused(access_denied(user, &self.host, using_password))
    }
}

/// ER_ACCESS_DENIED_ERROR.
pub fn access_denied(user: &str, host: &str, using_password: &str) -> Refusal {
    Refusal::with_state(
        1045,
        "28000",
        format!("Access denied for user '{user}'@'{host}' (using password: {using_password})"),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::compression::Compression;
    use crate::wire::login::{
        AwaitGreeting, AwaitVerdict, Encryption, Greeted, LoginOptions, Secret, Verdict,
    };

    fn policy() -> LoginPolicy {
        LoginPolicy {
            server_version: "9.7.4-rejoin".into(),
            accounts: vec![
                Account::new("recovery", b"secret"),
                Account::new("open", b""),
            ]
            .into(),
            offers_tls: true,
            requires_tls: false,
        }
    }

    fn greet(policy: LoginPolicy) -> (Vec<u8>, Login) {
        Login::greet(
            policy,
            7,
            "localhost".into(),
            std::array::from_fn(|i| i as u8 * 9),
        )
    }

    /// Our own client against this server; gives the last step of the server.
    fn log_in(user: &str, password: &str, encryption: Encryption, policy: LoginPolicy) -> Step {
        let options = LoginOptions {
            user: user.into(),
            password: Secret::from(password),
            encryption,
            public_key: None,
            get_public_key: false,
            max_packet_bytes: 1 << 24,
            attributes: HashMap::from([("program_name".into(), "test".into())]),
            compression: Compression::Uncompressed,
        };
        let (greeting, mut login) = greet(policy);
        let (response, mut client) = match AwaitGreeting::new(options).handle(&greeting).unwrap() {
            Greeted::Respond { response, next } => (response, next),
            Greeted::StartTls { request, next } => {
                login = match login.handle(&request) {
                    Step::StartTls(login) => login,
                    other => return other,
                };
                next.encrypted().unwrap()
            }
        };
        let mut packet = response;
        loop {
            match login.handle(&packet) {
                Step::Send(question, next) => {
                    login = next;
                    (packet, client) = answered(client, &question);
                }
                Step::Accepted(packets, account) => {
                    let mut client = Some(client);
                    for packet in &packets {
                        client = match client.take().unwrap().handle(packet).unwrap() {
                            Verdict::Wait(next) => Some(next),
                            Verdict::Accepted(info) => {
                                assert_eq!(info.connection_id, 7);
                                None
                            }
                            Verdict::Send { .. } => panic!("nothing is left to be said"),
                        };
                    }
                    assert!(client.is_none(), "the client knows that it is in");
                    return Step::Accepted(packets, account);
                }
                other => return other,
            }
        }
    }

    fn answered(client: AwaitVerdict, question: &[u8]) -> (Vec<u8>, AwaitVerdict) {
        match client.handle(question).unwrap() {
            Verdict::Send { packet, next } => (packet, next),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn our_own_client_logs_in_with_the_right_password_only() {
        for encryption in [Encryption::Never, Encryption::Required] {
            for (user, password) in [("recovery", "secret"), ("open", "")] {
                let step = log_in(user, password, encryption, policy());
                assert!(
                    matches!(&step, Step::Accepted(_, account) if account.name() == user),
                    "{step:?}"
                );
            }
            for (user, password) in [
                ("recovery", "Secret"),
                ("recovery", ""),
                ("nobody", "secret"),
                ("nobody", ""),
                ("open", "x"),
            ] {
                let step = log_in(user, password, encryption, policy());
                assert!(
                    matches!(&step, Step::Refused(refusal) if refusal.code == 1045),
                    "{user} {password}: {step:?}"
                );
            }
        }
    }

    #[test]
    fn a_full_login_is_asked_for_inside_tls_only() {
        let (_, mut login) = greet(policy());
        login.encrypted = true;
        let Step::Send(packet, login) = login.scramble("recovery".into(), &[1; 32]) else {
            panic!("asks for the password");
        };
        assert_eq!(packet, FULL_LOGIN);
        assert!(matches!(login.handle(b"secret\0"), Step::Accepted(..)));
        let (_, login) = greet(policy());
        let step = login.scramble("recovery".into(), &[1; 32]);
        assert!(matches!(step, Step::Refused(_)));
    }

    #[test]
    fn another_plugin_is_switched_to_ours_and_plain_text_refused_where_tls_is_required() {
        let (_, mut login) = greet(policy());
        login.encrypted = true;
        let response = HandshakeResponse::new(
            Some(&b"hash"[..]),
            (8, 0, 0),
            Some(&b"recovery"[..]),
            None::<&[u8]>,
            Some(mysql_common::packets::AuthPlugin::MysqlNativePassword),
            CapabilityFlags::CLIENT_PROTOCOL_41
                | CapabilityFlags::CLIENT_SECURE_CONNECTION
                | CapabilityFlags::CLIENT_PLUGIN_AUTH,
            None,
            1,
        );
        let mut packet = Vec::new();
        response.serialize(&mut packet);
        let Step::Send(switch, _) = login.handle(&packet) else {
            panic!("switches");
        };
        assert!(switch.starts_with(b"\xfecaching_sha2_password\0"));
        let strict = LoginPolicy {
            requires_tls: true,
            ..policy()
        };
        let step = log_in("recovery", "secret", Encryption::Never, strict.clone());
        assert!(matches!(step, Step::Refused(refusal) if refusal.code == 3159));
        let step = log_in("recovery", "secret", Encryption::Required, strict);
        assert!(matches!(step, Step::Accepted(..)));
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = format!("{:?}", Account::new("recovery", b"secret"));
        assert!(
            text.contains("recovery") && !text.contains("verifier"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_get_in(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4),
            flags in any::<u32>(),
            head in any::<bool>(),
        ) {
            let (_, mut login) = greet(LoginPolicy {
                accounts: vec![Account::new("recovery", b"secret")].into(),
                ..policy()
            });
            for mut packet in packets {
                if head {
                    // Otherwise hardly any would have the flags that let it come far.
                    let mut front = (flags | 0x0008_8200).to_le_bytes().to_vec();
                    front.extend_from_slice(&packet);
                    packet = front;
                }
                login = match login.handle(&packet) {
                    Step::Send(_, next) | Step::StartTls(next) => next,
                    Step::Accepted(..) => panic!("nobody knows the password"),
                    Step::Refused(_) => break,
                };
            }
        }
    }
}
