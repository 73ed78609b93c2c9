//! Framing at every boundary: buffer ends, chunk ends, hostile headers.

use super::*;

/// Feeds `bytes` in pieces of at most `piece` and gives back all packets.
fn read_all(reader: &mut PacketReader, mut bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>> {
    let mut packets = Vec::new();
    loop {
        while {
            let announced = reader.has_packet();
            let whole = reader.advance()?;
            assert!(whole || !announced, "has_packet promised a packet");
            whole
        } {
            packets.push(reader.packet().to_vec());
        }
        if bytes.is_empty() {
            return Ok(packets);
        }
        let space = reader.space();
        assert!(!space.is_empty());
        let count = piece.min(space.len()).min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        bytes = &bytes[count..];
        reader.received(count);
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn any_chunking_gives_the_same_packets() {
    // Lengths around the buffer's 1,024 bytes: inside it, filling it exactly, larger.
    let payloads: Vec<_> = [0, 1, 3, 4, 5, 500, 1019, 1020, 1021, 1024, 3000, 7, 0, 2]
        .map(pattern)
        .to_vec();
    let mut bytes = Vec::new();
    let mut sequence = 0;
    for payload in &payloads {
        sequence = write_packet(sequence, payload, &mut bytes);
    }
    for piece in 1..=bytes.len() {
        let mut reader = PacketReader::new(1024, 1 << 20);
        assert_eq!(read_all(&mut reader, &bytes, piece).unwrap(), payloads);
        assert!(!reader.has_bytes());
    }
}

#[test]
fn sequence_numbers_wrap_behind_255() {
    let mut bytes = Vec::new();
    let mut sequence = 0;
    for _ in 0..600 {
        sequence = write_packet(sequence, b"x", &mut bytes);
    }
    let mut reader = PacketReader::new(1024, 100);
    assert_eq!(read_all(&mut reader, &bytes, 333).unwrap().len(), 600);
    assert_eq!(reader.sequence(), (600 % 256) as u8);
}

#[test]
fn multiples_of_16_mib_end_with_an_empty_packet() {
    for length in [
        MAX_CHUNK - 1,
        MAX_CHUNK,
        MAX_CHUNK + 1,
        2 * MAX_CHUNK,
        2 * MAX_CHUNK + 12_345,
    ] {
        let payload = pattern(length);
        let mut bytes = Vec::new();
        let sequence = write_packet(0, &payload, &mut bytes);
        assert_eq!(usize::from(sequence), length / MAX_CHUNK + 1);
        assert_eq!(
            bytes.len(),
            length + HEADER_LENGTH * usize::from(sequence),
            "the tail packet is there, even when empty"
        );
        write_packet(sequence, b"next", &mut bytes);
        let mut reader = PacketReader::new(256 << 10, 64 << 20);
        let packets = read_all(&mut reader, &bytes, 100_003).unwrap();
        assert_eq!(packets.len(), 2);
        assert!(packets[0] == payload, "payload of {length} bytes");
        assert_eq!(packets[1], b"next");
    }
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut reader = PacketReader::new(1024, 1 << 30);
    let packets = read_all(&mut reader, b"\xff\xff\xff\0abc", 100).unwrap();
    assert!(packets.is_empty());
    assert!(reader.has_bytes() && !reader.has_packet());
    assert!(reader.joined.capacity() < 1024);
}

#[test]
fn a_packet_above_the_limit_names_it() {
    for bytes in [&b"\x65\0\0\0"[..], b"\xff\xff\xff\0"] {
        let error = read_all(&mut PacketReader::new(1024, 100), bytes, 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.message().contains("100 bytes (packet_bytes)"));
    }
    // The sum of the chunks counts, not each of them.
    let mut bytes = Vec::new();
    write_packet(0, &pattern(MAX_CHUNK + 10), &mut bytes);
    let mut reader = PacketReader::new(1024, MAX_CHUNK + 9);
    let error = read_all(&mut reader, &bytes, 1 << 16).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn a_packet_out_of_sequence_is_refused_even_in_the_middle_of_a_large_one() {
    let error = read_all(&mut PacketReader::new(1024, 100), b"\x01\0\0\x01x", 9).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);

    let mut bytes = Vec::new();
    write_packet(0, &pattern(MAX_CHUNK), &mut bytes);
    let last = bytes.len() - 1;
    bytes[last] = 7;
    let mut reader = PacketReader::new(1024, 1 << 30);
    let error = read_all(&mut reader, &bytes, 1 << 16).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn growing_keeps_what_was_received() {
    let mut bytes = Vec::new();
    let sequence = write_packet(0, b"first", &mut bytes);
    write_packet(sequence, &pattern(5000), &mut bytes);
    let mut reader = PacketReader::new(1024, 1 << 20);
    assert_eq!(read_all(&mut reader, &bytes[..12], 100).unwrap().len(), 1);
    reader.grow(8192);
    let packets = read_all(&mut reader, &bytes[12..], 100).unwrap();
    assert_eq!(packets, [pattern(5000)]);
}

#[test]
fn memory_of_a_huge_packet_is_given_back() {
    let mut bytes = Vec::new();
    let sequence = write_packet(0, &pattern(40 << 20), &mut bytes);
    write_packet(sequence, b"small", &mut bytes);
    let mut reader = PacketReader::new(256 << 10, 64 << 20);
    assert_eq!(
        read_all(&mut reader, &bytes, 256 << 10).unwrap()[1],
        b"small"
    );
    assert_eq!(reader.joined.capacity(), 0);
}
