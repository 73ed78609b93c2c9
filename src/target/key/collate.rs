//! Strings to bytes that sort as a collation sorts the strings.
//!
//! Every form ends in a way that no longer string continues, so that what follows it in a key is compared
//! only where the strings are equal.
//!
//! ```text
//! NO PAD bytes       each 00 as 00 FF, then 00 00
//! NO PAD weights     weights u16 BE of level 1, 0000, of level 2, 0000, of level 3, 0000 (no weight is 0)
//! PAD SPACE          weights (u8 or u16 BE); each run of spaces: one weight of a space, then
//!                      1, run length            a character below space follows
//!                      2                        the end, whatever number of spaces stood there
//!                      3, inverted run length   a character above space follows
//! ```
//! PAD SPACE means that strings compare as if both went on with spaces for ever: so `a` with `a   b` is
//! decided at the run of spaces by what follows it, and between equal followers by the run's length.

use super::weights::{self, UnicodeTable, UnicodeWeights};
use crate::Result;

/// How strings of one collation become bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Collator {
    /// Byte by byte, without padding.
    Bytes,
    /// Byte by byte, padded with spaces: `_bin` collations, UTF-8 included.
    PaddedBytes,
    /// By a table of bytes, padded with spaces.
    SingleByte(&'static [u8]),
    /// By code points of UTF-8 on one level, padded with spaces.
    Padded(&'static UnicodeWeights, u16),
    /// By code points of UTF-8 on one to three levels, without padding.
    NoPad(&'static UnicodeWeights, usize),
}

/// What is known of a collation here.
pub(super) struct Found {
    pub(super) collator: Collator,
    /// False: bytes stand in for weights that are not known.
    pub(super) exact: bool,
}

/// The weights of a space.
const SPACE_400: u16 = 0x0209;
const SPACE_520: u16 = 0x020a;

/// The way to sort by the collation called `name`.
pub(super) fn find(id: u16, name: &str, charset: &str) -> Result<Found> {
    // The wide ones come as UTF-8.
    let unicode = matches!(
        charset,
        "utf8mb3" | "utf8mb4" | "ucs2" | "utf16" | "utf16le" | "utf32"
    );
    let single = weights::single_byte(id)?;
    let suffix = name.strip_prefix(charset).unwrap_or_default();
    let collator = match suffix {
        _ if name == "binary" => Collator::Bytes,
        "_0900_bin" => Collator::Bytes,
        // In GB 18030 and the two-byte sets the order of characters is the order of bytes as well.
        "_bin" => Collator::PaddedBytes,
        "_0900_ai_ci" => Collator::NoPad(UnicodeTable::Unicode900.weights()?, 1),
        "_0900_as_ci" => Collator::NoPad(UnicodeTable::Unicode900.weights()?, 2),
        "_0900_as_cs" => Collator::NoPad(UnicodeTable::Unicode900.weights()?, 3),
        "_general_ci" if unicode => Collator::Padded(UnicodeTable::General.weights()?, 0x20),
        "_unicode_ci" if unicode => {
            Collator::Padded(UnicodeTable::Unicode400.weights()?, SPACE_400)
        }
        "_unicode_520_ci" if unicode => {
            Collator::Padded(UnicodeTable::Unicode520.weights()?, SPACE_520)
        }
        _ => match single {
            Some(table) => Collator::SingleByte(table),
            None => {
                return Ok(Found {
                    collator: Collator::Bytes,
                    exact: false,
                });
            }
        },
    };
    Ok(Found {
        collator,
        exact: true,
    })
}

impl Collator {
    /// Appends the form of `text` to `out`.
    pub(super) fn encode(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Bytes => push_bytes(text, out),
            Self::PaddedBytes => {
                let mut padded = Padded::new(out, 0x20, false);
                text.iter().for_each(|&byte| padded.push(byte.into()));
                padded.finish();
            }
            Self::SingleByte(table) => {
                let mut padded = Padded::new(out, table[0x20].into(), false);
                for &byte in text {
                    padded.push(table[usize::from(byte)].into());
                    let second = table[256 + usize::from(byte)];
                    if second != 0 {
                        padded.push(second.into());
                    }
                }
                padded.finish();
            }
            Self::Padded(table, space) => {
                let mut padded = Padded::new(out, space, true);
                for character in code_points(text) {
                    table.on_level(character, 0, |weight| padded.push(weight));
                }
                padded.finish();
            }
            Self::NoPad(table, levels) => {
                for level in 0..levels {
                    for character in code_points(text) {
                        table.on_level(character, level, |weight| {
                            out.extend_from_slice(&weight.to_be_bytes());
                        });
                    }
                    out.extend_from_slice(&[0, 0]);
                }
            }
        }
    }
}

/// Bytes in their own order.
pub(super) fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Writes weights with the runs of spaces folded.
struct Padded<'a> {
    out: &'a mut Vec<u8>,
    space: u16,
    /// Weights take two bytes.
    wide: bool,
    /// Spaces that are not written yet.
    run: u32,
}

impl<'a> Padded<'a> {
    fn new(out: &'a mut Vec<u8>, space: u16, wide: bool) -> Self {
        Self {
            out,
            space,
            wide,
            run: 0,
        }
    }

    #[inline]
    fn push(&mut self, weight: u16) {
        if weight == self.space {
            self.run += 1;
            return;
        }
        if self.run > 0 {
            self.write(self.space);
            if weight < self.space {
                self.out.push(1);
                self.out.extend_from_slice(&self.run.to_be_bytes());
            } else {
                self.out.push(3);
                self.out.extend_from_slice(&(!self.run).to_be_bytes());
            }
            self.run = 0;
        }
        self.write(weight);
    }

    #[inline]
    fn write(&mut self, weight: u16) {
        if self.wide {
            self.out.extend_from_slice(&weight.to_be_bytes());
        } else {
            self.out.push(weight as u8);
        }
    }

    fn finish(mut self) {
        self.write(self.space);
        self.out.push(2);
    }
}

/// The code points of UTF-8. A byte that belongs to none stands for itself, above all of them: no server
/// stores one, and the order stays total.
fn code_points(mut text: &[u8]) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let (&first, rest) = text.split_first()?;
        if first < 0x80 {
            text = rest;
            return Some(u32::from(first));
        }
        let length = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let character = text
            .get(..length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .and_then(|text| text.chars().next());
        match character {
            Some(character) => {
                text = &text[length..];
                Some(u32::from(character))
            }
            None => {
                text = rest;
                Some(0x11_0000 + u32::from(first))
            }
        }
    })
}

/// Bytes of the first `count` characters of UTF-8.
pub(super) fn utf8_prefix(text: &[u8], count: usize) -> usize {
    let starts = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte & 0xc0 != 0x80);
    starts.map(|(at, _)| at).nth(count).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    fn key(id: u16, name: &str, charset: &str, text: &str) -> Vec<u8> {
        let found = find(id, name, charset).unwrap();
        assert!(found.exact, "{name}");
        let mut out = Vec::new();
        found.collator.encode(text.as_bytes(), &mut out);
        out
    }

    #[test]
    fn equal_and_ordered_as_the_manual_says() {
        let ai = |text: &str| key(255, "utf8mb4_0900_ai_ci", "utf8mb4", text);
        assert_eq!(ai("résumé"), ai("RESUME"));
        assert_ne!(ai("a"), ai("a "));
        assert!(ai("a") < ai("a ") && ai("a ") < ai("ab"));
        let cs = |text: &str| key(278, "utf8mb4_0900_as_cs", "utf8mb4", text);
        assert!(cs("a") < cs("A") && cs("A") < cs("á") && cs("á") < cs("b"));
        let general = |text: &str| key(45, "utf8mb4_general_ci", "utf8mb4", text);
        assert_eq!(general("a"), general("Á  "));
        assert!(general("a\t") < general("a"));
        assert_ne!(general("ß"), general("ss"));
        let unicode = |text: &str| key(224, "utf8mb4_unicode_ci", "utf8mb4", text);
        assert_eq!(unicode("ß"), unicode("ss "));
        assert!(
            !find(9999, "utf8mb4_tr_0900_ai_ci", "utf8mb4")
                .unwrap()
                .exact
        );
    }

    /// What PAD SPACE means, said directly.
    fn compare_padded(left: &[u8], right: &[u8]) -> Ordering {
        let length = left.len().max(right.len());
        let at = |text: &[u8], index: usize| text.get(index).copied().unwrap_or(b' ');
        let mut bytes = (0..length).map(|index| at(left, index).cmp(&at(right, index)));
        bytes.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    #[test]
    fn folded_runs_of_spaces_sort_as_endless_ones() {
        let alphabet = [b' ', b' ', b' ', b'!', 0x1f, 0, 0xff];
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        let mut last: Vec<Vec<u8>> = texts.clone();
        for _ in 0..4 {
            last = last
                .iter()
                .flat_map(|text| {
                    alphabet[2..].iter().map(move |byte| {
                        let mut longer = text.clone();
                        longer.push(*byte);
                        longer
                    })
                })
                .collect();
            texts.extend(last.iter().cloned());
        }
        let keys: Vec<(Vec<u8>, &Vec<u8>)> = texts
            .iter()
            .map(|text| {
                let mut out = Vec::new();
                Collator::PaddedBytes.encode(text, &mut out);
                (out, text)
            })
            .collect();
        for (left, left_text) in &keys {
            for (right, right_text) in &keys {
                assert_eq!(
                    left.cmp(right),
                    compare_padded(left_text, right_text),
                    "{left_text:?} {right_text:?}"
                );
                assert!(left == right || !left.starts_with(right));
            }
        }
    }

    #[test]
    fn prefixes_count_characters() {
        assert_eq!(utf8_prefix("aé😀b".as_bytes(), 2), 3);
        assert_eq!(utf8_prefix("aé😀b".as_bytes(), 3), 7);
        assert_eq!(utf8_prefix("aé".as_bytes(), 5), 3);
        assert_eq!(utf8_prefix(b"", 1), 0);
    }
}
