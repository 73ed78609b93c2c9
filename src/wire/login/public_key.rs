//! Checks a server's RSA public key before the cryptography sees it.
//!
//! ```text
//! SEQUENCE { SEQUENCE { algorithm }, BIT STRING { 00, SEQUENCE { INTEGER modulus, INTEGER e } } }
//! ```
//!
//! The key comes from a peer or a file, and mysql_common's reader trusts its lengths. Every length
//! is checked here first, and so are the sizes that padding and exponentiation rely on.

use mysql_common::crypto::der::{PubKeyFileType, pem_to_der};

use crate::wire::reader::Reader;
use crate::{Error, ErrorKind, Result};

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;

/// What OAEP with SHA-1 takes of the modulus: two hashes and two bytes.
const OAEP_BYTES: usize = 2 * 20 + 2;

/// 1,024 to 16,384 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 128..=2048;

/// Checks that `pem` is an RSA key that can encrypt `message_length` bytes.
///
/// # Errors
/// [`ErrorKind::Authentication`].
pub(super) fn check(pem: &[u8], message_length: usize) -> Result<()> {
    let unusable = |why: &str| {
        Error::new(
            ErrorKind::Authentication,
            format!("the server's public key cannot be used: {why}"),
        )
        .remedy(
            "give the public_key.pem of the server's data directory as server-public-key-path, \
             or use TLS",
        )
    };
    let (der, file_type) = pem_to_der(pem).map_err(|error| unusable(&error.to_string()))?;
    if file_type != PubKeyFileType::Pkcs8 {
        return Err(unusable("expected BEGIN PUBLIC KEY"));
    }
    let (modulus, exponent) =
        modulus_and_exponent(&der).map_err(|error| unusable(error.message()))?;
    let whole_bytes = modulus.first().is_some_and(|byte| byte & 0x80 != 0);
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 != 0);
    if !MODULUS_BYTES.contains(&modulus.len()) || !whole_bytes || !odd(modulus) {
        return Err(unusable(
            "its modulus is not one of RSA of 1024 bits or more",
        ));
    }
    if exponent.len() > 8 || !odd(exponent) || exponent == [1] {
        return Err(unusable("its exponent is not one of RSA"));
    }
    if message_length + OAEP_BYTES > modulus.len() {
        return Err(unusable("it is too short for so long a password"));
    }
    Ok(())
}

fn modulus_and_exponent(der: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut outer = element(&mut Reader::new(der, "key"), SEQUENCE)?;
    element(&mut outer, SEQUENCE)?;
    let mut bits = element(&mut outer, BIT_STRING)?;
    if bits.u8()? != 0 {
        return Err(bits.malformed("no unused bits"));
    }
    let mut key = element(&mut bits, SEQUENCE)?;
    let modulus = element(&mut key, INTEGER)?.rest();
    let exponent = element(&mut key, INTEGER)?.rest();
    let strip = |number| <[u8]>::strip_prefix(number, &[0]).unwrap_or(number);
    Ok((strip(modulus), strip(exponent)))
}

/// Content of the element at the front, which must be of this tag.
fn element<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<Reader<'a>> {
    if reader.u8()? != tag {
        return Err(reader.malformed("another element"));
    }
    let length = match reader.u8()? {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x83 => {
            let bytes = reader.take(usize::from(long & 0x7f))?;
            bytes
                .iter()
                .fold(0, |length, &byte| length << 8 | usize::from(byte))
        }
        _ => return Err(reader.malformed("a length")),
    };
    Ok(Reader::new(reader.take(length)?, "key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../../tests/data/login/public_key.pem");

    fn pem(der: &[u8]) -> Vec<u8> {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = b"-----BEGIN PUBLIC KEY-----\n".to_vec();
        for chunk in der.chunks(3) {
            let mut bytes = [0; 4];
            bytes[1..=chunk.len()].copy_from_slice(chunk);
            let bits = u32::from_be_bytes(bytes);
            for i in 0..4 {
                text.push(if i <= chunk.len() {
                    DIGITS[(bits >> (18 - 6 * i)) as usize & 63]
                } else {
                    b'='
                });
            }
        }
        text.extend_from_slice(b"\n-----END PUBLIC KEY-----\n");
        text
    }

    #[test]
    fn a_password_must_fit_into_the_key() {
        assert!(check(KEY.as_bytes(), 256 - 42).is_ok());
        assert!(check(KEY.as_bytes(), 256 - 41).is_err());
    }

    #[test]
    fn broken_keys_are_refused_and_those_accepted_encrypt() {
        let (der, _) = pem_to_der(KEY).unwrap();
        assert!(check(&pem(&der), 9).is_ok(), "the test's own PEM writer");
        for cut in 0..der.len() {
            assert!(check(&pem(&der[..cut]), 9).is_err(), "cut at {cut}");
        }
        // Header bytes changed: refused, or harmless to what follows.
        for place in (0..34).chain(der.len() - 6..der.len()) {
            for value in [
                0, 1, 2, 3, 0x20, 0x30, 0x7f, 0x80, 0x81, 0x82, 0x83, 0x84, 0xff,
            ] {
                let mut der = der.clone();
                der[place] = value;
                let pem = pem(&der);
                if check(&pem, 9).is_ok() {
                    // Must not panic; the modulus may have become one byte longer or shorter.
                    let encrypted = mysql_common::crypto::encrypt(&[7; 9], &pem).unwrap();
                    assert!((255..=257).contains(&encrypted.len()));
                }
            }
        }
        for text in ["", "-----BEGIN PUBLIC KEY-----", "not a key"] {
            assert!(check(text.as_bytes(), 9).is_err());
        }
    }
}
