//! What the fuzz targets of the protocol do with their input: each function holds a property against
//! any bytes of a hostile peer.
//!
//! The tests at the end run the same functions over real packets with random damage.

use std::collections::HashMap;

use super::compression::Compression;
use super::login::{AwaitGreeting, AwaitVerdict, Encryption, Greeted, LoginOptions, Verdict};
use super::packet::{HEADER_LENGTH, MAX_CHUNK, PacketReader};
use super::server::login::{Account, Login, LoginPolicy, Step};
use crate::{Error, ErrorKind, Result};

/// A stream of packets gives the same payloads and the same error however it is cut into reads, and
/// never holds more memory than a small multiple of what came.
///
/// ```text
/// u8 what it is cut by | u8 limit and capacity | the stream
/// ```
pub fn packet_framing(data: &[u8]) {
    let Some((&[cut, sizes], stream)) = data.split_first_chunk::<2>() else {
        return;
    };
    // Seldom: such an input takes a thousand times as long.
    let joins = sizes == 0;
    let limit = if joins {
        3 * MAX_CHUNK
    } else {
        usize::from(sizes) << 5
    };
    let stream = match joins {
        true => &*filled_up(stream),
        false => stream,
    };
    let expected = plainly(stream, limit);
    let capacity = 1024 << (sizes >> 6);
    let mut random = u64::from(cut) << 1 | 1;
    let pieces = std::iter::from_fn(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Mostly a few bytes, so that headers are cut; large packets in larger pieces.
        Some(1 + random as usize % if joins { 1 << 17 } else { 40 })
    });
    assert_framed(
        PacketReader::new(capacity, limit),
        stream,
        pieces,
        &expected,
    );
    assert_framed(
        PacketReader::new(1 << 16, limit),
        stream,
        std::iter::repeat(usize::MAX),
        &expected,
    );
}

/// The first packet that says to be of full length gets its bytes, which no fuzzer comes up with.
fn filled_up(stream: &[u8]) -> Vec<u8> {
    let mut start = 0;
    while let Some(&[a, b, c, _]) = stream.get(start..).and_then(|rest| rest.first_chunk()) {
        let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        start += HEADER_LENGTH;
        if length == MAX_CHUNK {
            let (head, tail) = stream.split_at(start);
            let middle = vec![0x5a; MAX_CHUNK];
            return [head, &middle, tail].concat();
        }
        start += length;
    }
    stream.to_vec()
}

/// What a stream holds, read in the simplest way.
struct Framed {
    packets: Vec<Vec<u8>>,
    error: Option<ErrorKind>,
}

fn plainly(mut rest: &[u8], limit: usize) -> Framed {
    let mut framed = Framed {
        packets: Vec::new(),
        error: None,
    };
    let mut due = 0_u8;
    let mut packet = Vec::new();
    while let Some((&[a, b, c, sequence], body)) = rest.split_first_chunk() {
        let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        if sequence != due {
            framed.error = Some(ErrorKind::Malformed);
            break;
        }
        if packet.len() + length > limit {
            framed.error = Some(ErrorKind::Limit);
            break;
        }
        let Some((chunk, behind)) = body.split_at_checked(length) else {
            break;
        };
        packet.extend_from_slice(chunk);
        if length < MAX_CHUNK {
            framed.packets.push(std::mem::take(&mut packet));
        }
        due = due.wrapping_add(1);
        rest = behind;
    }
    framed
}

fn assert_framed(
    mut reader: PacketReader,
    mut stream: &[u8],
    mut pieces: impl Iterator<Item = usize>,
    expected: &Framed,
) {
    let empty = reader.held_bytes();
    let mut came = 0;
    let mut packets = expected.packets.iter();
    let error = loop {
        let announced = reader.has_packet();
        match reader.advance() {
            Err(error) => break Some(error.kind()),
            Ok(true) => {
                let packet = packets.next().map(Vec::as_slice);
                assert!(packet == Some(reader.packet()), "one packet too many");
                continue;
            }
            Ok(false) => assert!(!announced, "has_packet promised a packet"),
        }
        if let Some((length, part)) = reader.incomplete() {
            assert!(part.len() < length.max(1));
        }
        if stream.is_empty() {
            break None;
        }
        let space = reader.space();
        let count = pieces.next().unwrap_or(1).min(space.len());
        let (now, later) = stream.split_at(count.min(stream.len()));
        assert!(!now.is_empty(), "there is always space");
        for (to, from) in space.iter_mut().zip(now) {
            *to = *from;
        }
        reader.received(now.len());
        came += now.len();
        stream = later;
        assert!(reader.held_bytes() <= empty + 2 * came + 64);
    };
    assert!(packets.next().is_none(), "a packet was lost");
    assert_eq!(error, expected.error);
}

const PASSWORD: &str = "correct horse battery staple";

/// No server gets the password in plain text outside TLS, makes the client answer more often than it
/// was asked, or log in unencrypted where encryption is required.
///
/// ```text
/// u8 what the client allows | packets of the server
/// ```
pub fn login(data: &[u8]) {
    let Some((&allows, stream)) = data.split_first() else {
        return;
    };
    let has_password = |bytes: &[u8]| {
        let mut windows = bytes.windows(PASSWORD.len());
        windows.any(|window| window == PASSWORD.as_bytes())
    };
    if has_password(stream) {
        // What the server knows itself may come back in an error message.
        return;
    }
    let encryption = match allows & 3 {
        0 => Encryption::Never,
        1 => Encryption::IfOffered,
        _ => Encryption::Required,
    };
    let options = LoginOptions {
        user: "recovery".into(),
        password: PASSWORD.into(),
        encryption,
        public_key: (allows & 4 != 0).then(|| KEY.to_vec()),
        get_public_key: allows & 8 != 0,
        max_packet_bytes: 1 << 24,
        attributes: HashMap::from([("program_name".into(), "rejoin".into())]),
        compression: Compression::Uncompressed,
    };
    let mut packets = PacketsOf::new(stream);
    let mut is_encrypted = false;
    let result = log_in(options, &mut packets, &mut |packet, encrypted| {
        is_encrypted |= encrypted;
        let is_safe = encrypted || !has_password(packet);
        assert!(is_safe, "the password in plain text");
    });
    match result {
        Ok(()) => assert!(is_encrypted || encryption != Encryption::Required),
        Err(error) => assert!(!format!("{error:?}").contains(PASSWORD)),
    }
}

/// As `net` drives a login, with `sent` in place of the socket: packet, and whether it goes through
/// TLS.
fn log_in(
    options: LoginOptions,
    packets: &mut PacketsOf<'_>,
    sent: &mut dyn FnMut(&[u8], bool),
) -> Result<()> {
    let required = options.encryption == Encryption::Required;
    let greeted = AwaitGreeting::new(options).handle(packets.next()?)?;
    let (response, mut state, encrypted): (_, AwaitVerdict, _) = match greeted {
        Greeted::Respond { response, next } => {
            assert!(!required, "plain text where TLS is required");
            (response, next, false)
        }
        Greeted::StartTls { request, next } => {
            sent(&request, false);
            packets.answered();
            let (response, next) = next.encrypted()?;
            (response, next, true)
        }
    };
    sent(&response, encrypted);
    packets.answered();
    loop {
        state = match state.handle(packets.next()?)? {
            Verdict::Send { packet, next } => {
                sent(&packet, encrypted);
                packets.answered();
                next
            }
            Verdict::Wait(next) => next,
            Verdict::Accepted(_) => return Ok(()),
        };
    }
}

/// The packets of a peer's bytes; the end of the bytes is the end of the connection.
struct PacketsOf<'a> {
    reader: PacketReader,
    rest: &'a [u8],
}

impl<'a> PacketsOf<'a> {
    fn new(stream: &'a [u8]) -> Self {
        Self {
            reader: PacketReader::new(1024, 1 << 16),
            rest: stream,
        }
    }

    fn next(&mut self) -> Result<&[u8]> {
        while !self.reader.advance()? {
            let space = self.reader.space();
            let (now, later) = self.rest.split_at(space.len().min(self.rest.len()));
            if now.is_empty() {
                return Err(Error::new(ErrorKind::Network, "the peer has gone"));
            }
            for (to, from) in space.iter_mut().zip(now) {
                *to = *from;
            }
            self.reader.received(now.len());
            self.rest = later;
        }
        Ok(self.reader.packet())
    }

    /// A packet of ours went out and took a number.
    fn answered(&mut self) {
        let next = self.reader.sequence().wrapping_add(1);
        self.reader.set_sequence(next);
    }
}

/// No client gets in without the password, however it answers; one that asks for the account without
/// a password gets that one only.
///
/// ```text
/// u8 what the server offers | packets of the client
/// ```
pub fn server_login(data: &[u8]) {
    let Some((&offers, stream)) = data.split_first() else {
        return;
    };
    let policy = LoginPolicy {
        server_version: "9.7.4-rejoin".into(),
        accounts: vec![
            Account::new("recovery", PASSWORD.as_bytes()),
            Account::new("open", b""),
        ]
        .into(),
        offers_tls: offers & 1 != 0,
        requires_tls: offers & 3 == 3,
    };
    let mut encrypted = false;
    let mut packets = PacketsOf::new(stream);
    let (_, mut login) = Login::greet(policy, 7, "localhost".into(), [b'n'; 20]);
    packets.answered();
    while let Ok(packet) = packets.next() {
        login = match login.handle(packet) {
            Step::Send(question, next) => {
                assert!(!question.is_empty());
                packets.answered();
                next
            }
            Step::StartTls(next) => {
                assert!(
                    offers & 1 != 0 && !encrypted,
                    "TLS once, where it is offered"
                );
                encrypted = true;
                next
            }
            Step::Accepted(_, account) => {
                // A fuzzer cannot guess a hash; the password itself only if a seed gives it away.
                assert_eq!(account.name(), "open");
                assert!(encrypted || offers & 3 != 3);
                return;
            }
            Step::Refused(refusal) => {
                assert!(refusal.code != 0);
                return;
            }
        };
    }
}

/// A server's public key, of 2,048 bits.
const KEY: &[u8] = include_bytes!("../../tests/data/login/public_key.pem");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::run;
    use crate::wire::packet::write_packet;

    /// What one side said in real logins (`server` or `client`), behind each of the first bytes.
    fn logins(side: &str, first_bytes: std::ops::Range<u8>) -> Vec<Vec<u8>> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/login");
        let files = std::fs::read_dir(directory).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == side));
        paths.sort();
        let streams = paths.iter().map(|path| std::fs::read(path).unwrap());
        streams
            .flat_map(|stream| {
                first_bytes
                    .clone()
                    .map(move |byte| [&[byte], &*stream].concat())
            })
            .collect()
    }

    #[test]
    fn a_server_that_knows_the_password_may_say_so() {
        let error = [&b"\xff\x10\x04"[..], PASSWORD.as_bytes()].concat();
        let mut stream = vec![7];
        write_packet(0, &error, &mut stream);
        login(&stream);
    }

    #[test]
    fn logins_at_servers_with_damage() {
        run(1, &logins("server", 0..16), login);
    }

    #[test]
    fn logins_of_clients_with_damage() {
        run(2, &logins("client", 0..4), server_login);
    }

    #[test]
    fn packets_with_damage() {
        let mut streams = logins("server", 7..9);
        let mut dump = vec![3];
        let mut sequence = 0;
        for length in [0, 1, 40, 900, 3, 2000, 7000, 5] {
            sequence = write_packet(sequence, &vec![7; length], &mut dump);
        }
        streams.push(dump);
        for stream in &mut streams {
            stream.insert(1, 0x7f);
        }
        run(3, &streams, packet_framing);
        // Packets in several parts are slow to make: one is enough.
        packet_framing(b"\x05\0\x01\0\0\0a\xff\xff\xff\x01\0\0\0\x02\x03\0\0\x03end");
    }
}
