//! Logins against scripted servers.

use super::*;

/// The greeting of a 9.7.4 server, with its capabilities.
pub(crate) fn greeting(version: &str, tls: bool) -> Vec<u8> {
    let mut packet = vec![10];
    packet.extend_from_slice(version.as_bytes());
    packet.push(0);
    packet.extend_from_slice(&7_u32.to_le_bytes());
    packet.extend_from_slice(b"12345678\0");
    let capabilities: u32 = if tls { 0xdfff_ffff } else { 0xdfff_f7ff };
    packet.extend_from_slice(&(capabilities as u16).to_le_bytes());
    packet.push(255);
    packet.extend_from_slice(&2_u16.to_le_bytes());
    packet.extend_from_slice(&((capabilities >> 16) as u16).to_le_bytes());
    packet.push(21);
    packet.extend_from_slice(&[0; 10]);
    packet.extend_from_slice(b"abcdefghijkl\0caching_sha2_password\0");
    packet
}

fn options(encryption: Encryption) -> LoginOptions {
    LoginOptions {
        user: "recovery".into(),
        password: "secret".into(),
        encryption,
        public_key: None,
        get_public_key: false,
        max_packet_bytes: 1 << 30,
        attributes: HashMap::new(),
        compression: Compression::Uncompressed,
    }
}

fn start(options: LoginOptions) -> AwaitVerdict {
    match AwaitGreeting::new(options)
        .handle(&greeting("9.7.4", true))
        .unwrap()
    {
        Greeted::StartTls { request, next } => {
            assert_eq!(request.len(), 32);
            next.encrypted().unwrap().1
        }
        Greeted::Respond { response, next } => {
            let text = String::from_utf8_lossy(&response);
            assert!(text.contains("recovery\0") && text.contains("caching_sha2_password"));
            assert!(!text.contains("secret"));
            next
        }
    }
}

fn accepted(state: AwaitVerdict) {
    match state.handle(b"\0\0\0\x02\0\0\0").unwrap() {
        Verdict::Accepted(server) => assert_eq!(server.version_text, "9.7.4"),
        other => panic!("{other:?}"),
    }
}

fn sent(state: AwaitVerdict, packet: &[u8]) -> (Vec<u8>, AwaitVerdict) {
    match state.handle(packet).unwrap() {
        Verdict::Send { packet, next } => (packet, next),
        other => panic!("{other:?}"),
    }
}

fn refusal(state: AwaitVerdict, packet: &[u8]) -> Error {
    state.handle(packet).unwrap_err()
}

#[test]
fn fast_login_with_a_cached_password() {
    let state = start(options(Encryption::Never));
    match state.handle(b"\x01\x03").unwrap() {
        Verdict::Wait(state) => accepted(state),
        other => panic!("{other:?}"),
    }
}

#[test]
fn full_login_sends_the_password_inside_tls_only() {
    let (packet, state) = sent(start(options(Encryption::Required)), b"\x01\x04");
    assert_eq!(packet, b"secret\0");
    accepted(state);

    let error = refusal(start(options(Encryption::Never)), b"\x01\x04");
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(
        error
            .remedy_text()
            .unwrap()
            .contains("get-server-public-key")
    );
}

#[test]
fn a_public_key_is_fetched_only_when_allowed() {
    let mut allowed = options(Encryption::Never);
    allowed.get_public_key = true;
    let (packet, state) = sent(start(allowed), b"\x01\x04");
    assert_eq!(packet, [2]);
    let error = refusal(
        state,
        b"\x01-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----",
    );
    assert!(error.message().contains("public key cannot be used"));
}

#[test]
fn a_broken_key_file_is_refused_before_anything_is_sent() {
    let mut given = options(Encryption::Never);
    given.public_key = Some(b"nothing".to_vec());
    let error = refusal(start(given), b"\x01\x04");
    assert!(error.message().contains("public key cannot be used"));
}

#[test]
fn switch_to_sha256_password() {
    let switch = b"\xfesha256_password\0abcdefghij0123456789\0";
    let (packet, state) = sent(start(options(Encryption::Required)), switch);
    assert_eq!(packet, b"secret\0");
    accepted(state);
    let error = refusal(start(options(Encryption::Never)), switch);
    assert_eq!(error.kind(), ErrorKind::Authentication);
}

#[test]
fn weak_plugins_never_see_the_password() {
    for (packet, name) in [
        (&b"\xfemysql_clear_password\0"[..], "mysql_clear_password"),
        (
            b"\xfemysql_native_password\0abcdefghij0123456789\0",
            "mysql_native_password",
        ),
        (b"\xfe", "mysql_old_password"),
        (b"\xfedialog\0", "dialog"),
    ] {
        let error = refusal(start(options(Encryption::Required)), packet);
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(error.message().contains(name), "{error}");
        assert!(
            error
                .remedy_text()
                .unwrap()
                .contains("caching_sha2_password")
        );
    }
}

#[test]
fn tls_is_required_and_not_offered() {
    let state = AwaitGreeting::new(options(Encryption::Required));
    let error = state.handle(&greeting("9.7.4", false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    let state = AwaitGreeting::new(options(Encryption::IfOffered));
    let greeted = state.handle(&greeting("9.7.4", false)).unwrap();
    assert!(matches!(greeted, Greeted::Respond { .. }));
}

#[test]
fn other_servers_are_refused_by_name() {
    let state = AwaitGreeting::new(options(Encryption::Never));
    let error = state
        .handle(&greeting("5.5.5-10.11.6-MariaDB", true))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let state = AwaitGreeting::new(options(Encryption::Never));
    let error = state
        .handle(b"\xff\x10\x04Too many connections")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
}

#[test]
fn packets_out_of_place_are_errors() {
    for packet in [
        &b""[..],
        b"\x01",
        b"\x01\x05",
        b"\x01\x03\x03",
        b"\xfecaching_sha2_password\0short\0",
        b"\xfecaching_sha2_password",
        b"\x07",
    ] {
        let error = refusal(start(options(Encryption::Required)), packet);
        assert_eq!(error.kind(), ErrorKind::Malformed, "{packet:?}");
    }
}

#[test]
fn no_greeting_panics() {
    let whole = greeting("9.7.4", true);
    for cut in 0..whole.len() {
        let _ = AwaitGreeting::new(options(Encryption::Never)).handle(&whole[..cut]);
        for value in [0, 1, 8, 0x7f, 0x80, 0x84, 0xff] {
            let mut packet = whole.clone();
            packet[cut] = value;
            let _ = AwaitGreeting::new(options(Encryption::Required)).handle(&packet);
        }
    }
}

#[test]
fn versions_compare_as_numbers() {
    assert!(ServerVersion::parse("8.0.40-debug") < ServerVersion::TAGGED_GTIDS);
    assert!(ServerVersion::parse("8.3.0") >= ServerVersion::TAGGED_GTIDS);
    assert!(ServerVersion::parse("9.7.4-2+b1") > ServerVersion::parse("9.7.3"));
    assert_eq!(ServerVersion::parse("junk").to_string(), "0.0.0");
}
