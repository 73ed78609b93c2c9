//! Text from one character set to another.
//!
//! `charsets.bin` beside this file has 256 big-endian code points for each of [`NAMES`], in that order:
//! what MySQL 9.7.4 answers to `HEX(CONVERT(_latin1 x'80' USING utf16))`; U+FFFD where a byte means
//! nothing. `tests/mysql/tables.py` made it.

use std::borrow::Cow;

use super::charset;

/// The character sets of one byte, as they follow one another in `charsets.bin`.
const NAMES: [&str; 25] = [
    "armscii8", "ascii", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8",
    "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5",
    "latin7", "macce", "macroman", "swe7", "tis620",
];
static TABLES: &[u8] = include_bytes!("charsets.bin");

/// The code point of each byte of a character set of one byte.
fn table(charset: &str) -> Option<&'static [u8]> {
    let index = NAMES.iter().position(|name| *name == charset)?;
    TABLES.get(index * 512..(index + 1) * 512)
}

fn code_point(table: &[u8], byte: u8) -> char {
    let at = usize::from(byte) * 2;
    let value = u16::from_be_bytes([table[at], table[at + 1]]);
    char::from_u32(u32::from(value)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn is_utf8(charset: &str) -> bool {
    matches!(charset, "utf8mb4" | "utf8mb3" | "utf8")
}

/// Whether every byte below 128 stands for itself and for nothing else, so that ASCII text needs no
/// conversion.
fn has_ascii(charset: &str) -> bool {
    is_utf8(charset)
        || matches!(
            charset,
            "gbk" | "gb2312" | "gb18030" | "big5" | "euckr" | "eucjpms" | "ujis" | "sjis" | "cp932"
        )
        || (charset != "swe7" && NAMES.contains(&charset))
}

/// Whether a byte below 128 can be the second half of a character: such a text cannot even be cut into
/// lexemes without knowing its characters.
pub(crate) fn hides_ascii(charset: &str) -> bool {
    matches!(
        charset,
        "big5" | "gbk" | "gb18030" | "sjis" | "cp932" | "ucs2" | "utf16" | "utf16le" | "utf32"
    )
}

/// `bytes` of a character set as UTF-8; `None` where the set is not known here or the bytes are none of
/// it. Binary strings are taken for UTF-8, as names in a log are.
pub(crate) fn decode(charset: &str, bytes: &[u8]) -> Option<String> {
    if is_utf8(charset) || charset == "binary" {
        return std::str::from_utf8(bytes).ok().map(str::to_owned);
    }
    if bytes.is_ascii() && has_ascii(charset) {
        return std::str::from_utf8(bytes).ok().map(str::to_owned);
    }
    if let Some(table) = table(charset) {
        let text: String = bytes.iter().map(|&byte| code_point(table, byte)).collect();
        return (!text.contains(char::REPLACEMENT_CHARACTER)).then_some(text);
    }
    let pairs = |from: fn([u8; 2]) -> u16| -> Option<String> {
        let units = bytes.chunks(2).map(|pair| pair.try_into().ok().map(from));
        String::from_utf16(&units.collect::<Option<Vec<u16>>>()?).ok()
    };
    match charset {
        "ucs2" | "utf16" => pairs(u16::from_be_bytes),
        "utf16le" => pairs(u16::from_le_bytes),
        "utf32" => {
            let units = bytes.chunks(4).map(|unit| unit.try_into().ok());
            units
                .map(|unit| char::from_u32(u32::from_be_bytes(unit?)))
                .collect()
        }
        _ => None,
    }
}

/// `text` in the bytes of a character set; `None` where the set is not known here, lacks one of the
/// characters, or has it twice.
pub(crate) fn encode(charset: &str, text: &str) -> Option<Vec<u8>> {
    if text.is_ascii() && has_ascii(charset) {
        return Some(text.as_bytes().to_vec());
    }
    match charset {
        "utf8mb4" | "binary" => Some(text.as_bytes().to_vec()),
        "utf8mb3" => {
            let fits = text.chars().all(|character| character.len_utf8() < 4);
            fits.then(|| text.as_bytes().to_vec())
        }
        "ucs2" if text.chars().any(|character| character.len_utf8() == 4) => None,
        "ucs2" | "utf16" => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        "utf16le" => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        "utf32" => Some(
            text.chars()
                .flat_map(|character| u32::from(character).to_be_bytes())
                .collect(),
        ),
        _ => {
            let table = table(charset)?;
            let find = |character: char| {
                let mut all = (0..=255u8).filter(|&byte| code_point(table, byte) == character);
                all.next().filter(|_| all.next().is_none())
            };
            text.chars().map(find).collect()
        }
    }
}

/// The bytes of a column of characters as a client with `utf8mb4` reads them.
///
/// `None` where the collation's character set cannot be converted here (multi-byte sets of East Asia with
/// other than ASCII text), or where the bytes are no text of it.
///
/// ```
/// use rejoin::target::schema::to_utf8;
///
/// assert_eq!(to_utf8(8, b"\xe9t\xe9").as_deref(), Some("été".as_bytes()));
/// ```
pub fn to_utf8(collation: u16, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let charset = charset::by_id(collation)?.charset;
    if is_utf8(charset) || charset == "binary" || (bytes.is_ascii() && has_ascii(charset)) {
        return Some(Cow::Borrowed(bytes));
    }
    decode(charset, bytes).map(|text| Cow::Owned(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_follow_the_names() {
        assert_eq!(TABLES.len(), NAMES.len() * 512);
        assert_eq!(decode("latin1", b"\x80\xe9").unwrap(), "€é");
        assert_eq!(decode("cp1251", b"\xe6").unwrap(), "ж");
        assert_eq!(decode("koi8r", b"\xd6").unwrap(), "ж");
        assert_eq!(decode("greek", b"\xe1").unwrap(), "α");
        assert_eq!(decode("ascii", b"\x80"), None);
        assert_eq!(decode("utf16", b"\x04\x36").unwrap(), "ж");
    }

    #[test]
    fn encoding_is_exact_or_nothing() {
        assert_eq!(encode("latin1", "€é").unwrap(), b"\x80\xe9");
        assert_eq!(encode("latin1", "ж"), None);
        assert_eq!(encode("utf8mb3", "😀"), None);
        assert_eq!(encode("ascii", "é"), None);
        assert_eq!(encode("gbk", "a").unwrap(), b"a");
        assert_eq!(encode("gbk", "丁"), None);
    }
}
