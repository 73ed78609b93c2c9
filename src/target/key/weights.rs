//! Weights of code points and bytes, as a MySQL 9.7.4 server gives them.
//!
//! `tests/mysql/tables.py` asks a server for `WEIGHT_STRING` of everything and writes the files in
//! `tables/`, each compressed with Zstandard. A table of code points:
//!
//! ```text
//! 4,352 rules of u16 BE, one for each 256 code points:
//!       0        the page is listed below
//!       1        the weight is the code point
//!       FFFD     the weight is FFFD
//!       other    two weights: rule + (code point >> 15), (code point & 7FFF) | 8000
//! listed pages, 256 entries each: u16 BE with 5 bits for the number of weights of each level, weights u16 BE
//! ```
//! `single_byte.bin`: for each collation u16 BE its number, 256 weights, 256 second weights (0: none).

use std::sync::OnceLock;

use crate::{Error, ErrorKind, Result};

const PAGES: usize = 0x1100;

/// The weights of all code points, on one level or on three.
#[derive(Debug)]
pub(super) struct UnicodeWeights {
    /// The rule of each page.
    rules: Vec<u16>,
    /// For each page that is listed the number of its first entry, otherwise unused.
    pages: Vec<u32>,
    /// Where each entry is in `weights`.
    entries: Vec<u32>,
    /// Entries: a header as in the file, then the weights.
    weights: Vec<u16>,
}

/// Which table of code points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnicodeTable {
    General,
    Unicode400,
    Unicode520,
    Unicode900,
}

impl UnicodeTable {
    pub(super) fn weights(self) -> Result<&'static UnicodeWeights> {
        static TABLES: [OnceLock<Option<UnicodeWeights>>; 4] = [const { OnceLock::new() }; 4];
        let (cell, bytes): (_, &[u8]) = match self {
            Self::General => (&TABLES[0], include_bytes!("tables/general_ci.bin")),
            Self::Unicode400 => (&TABLES[1], include_bytes!("tables/unicode_ci.bin")),
            Self::Unicode520 => (&TABLES[2], include_bytes!("tables/unicode_520_ci.bin")),
            Self::Unicode900 => (&TABLES[3], include_bytes!("tables/0900.bin")),
        };
        let table = cell.get_or_init(|| UnicodeWeights::read(&zstd::decode_all(bytes).ok()?));
        table.as_ref().ok_or_else(damaged)
    }
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Internal,
        "a built-in table of weights is damaged",
    )
}

impl UnicodeWeights {
    fn read(bytes: &[u8]) -> Option<Self> {
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        let (rules, weights) = units.split_at_checked(PAGES)?;
        let mut pages = vec![0; PAGES];
        let mut entries = Vec::new();
        let mut at = 0;
        for (page, rule) in rules.iter().enumerate() {
            if *rule != 0 {
                continue;
            }
            pages[page] = entries.len() as u32;
            for _ in 0..256 {
                entries.push(at as u32);
                let [first, second, third] = counts(*weights.get(at)?);
                at += 1 + first + second + third;
            }
        }
        (at == weights.len()).then(|| Self {
            rules: rules.to_vec(),
            pages,
            entries,
            weights: weights.to_vec(),
        })
    }

    /// Calls `each` for the weights of `character` on `level`, 0 to 2.
    #[inline]
    pub(super) fn on_level(&self, character: u32, level: usize, mut each: impl FnMut(u16)) {
        let page = (character >> 8) as usize;
        match self.rules.get(page).copied().unwrap_or(0xfffd) {
            0 => {
                let entry = self.pages[page] as usize + (character & 0xff) as usize;
                let at = self.entries[entry] as usize;
                let counts = counts(self.weights[at]);
                let start = at + 1 + counts[..level].iter().sum::<usize>();
                for &weight in &self.weights[start..start + counts[level]] {
                    each(weight);
                }
            }
            1 => each(character as u16),
            0xfffd => each(0xfffd),
            base if level == 0 => {
                each(base.wrapping_add((character >> 15) as u16));
                each((character & 0x7fff) as u16 | 0x8000);
            }
            _ if level == 1 => each(0x20),
            _ => each(0x02),
        }
    }
}

#[inline]
fn counts(header: u16) -> [usize; 3] {
    [0, 5, 10].map(|shift| usize::from(header >> shift & 31))
}

/// The weights of single bytes: the first of each byte, then the second or 0.
pub(super) fn single_byte(collation: u16) -> Result<Option<&'static [u8]>> {
    const ENTRY: usize = 2 + 512;
    static TABLE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let table =
        TABLE.get_or_init(|| zstd::decode_all(&include_bytes!("tables/single_byte.bin")[..]).ok());
    let table = table.as_deref().ok_or_else(damaged)?;
    let mut entries = table.chunks_exact(ENTRY);
    let found = entries.find(|entry| entry[..2] == collation.to_be_bytes());
    Ok(found.map(|entry| &entry[2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(table: UnicodeTable, character: char, level: usize) -> Vec<u16> {
        let mut weights = Vec::new();
        let table = table.weights().unwrap();
        table.on_level(character.into(), level, |weight| weights.push(weight));
        weights
    }

    #[test]
    fn weights_are_those_of_the_server() {
        use UnicodeTable::*;
        assert_eq!(all(Unicode900, 'é', 0), [0x1caa]);
        assert_eq!(all(Unicode900, 'é', 1), [0x20, 0x24]);
        assert_eq!(all(Unicode900, 'A', 2), [0x08]);
        assert_eq!(all(Unicode900, '가', 0), [0x3bf5, 0x3c73]);
        assert_eq!(all(Unicode900, '一', 0), [0xfb40, 0xce00]);
        assert_eq!(all(Unicode900, '𠀀', 0), [0xfb84, 0x8000]);
        assert_eq!(all(Unicode900, '𠀀', 1), [0x20]);
        assert!(all(Unicode900, '\u{0}', 0).is_empty());
        assert_eq!(all(Unicode520, 'é', 0), [0x126b]);
        assert_eq!(all(Unicode400, 'é', 0), [0x0e8b]);
        assert_eq!(all(Unicode400, '😀', 0), [0xfffd]);
        assert_eq!(all(General, 'é', 0), [0x45]);
        assert_eq!(all(General, '가', 0), [0xac00]);
        assert_eq!(all(General, '😀', 0), [0xfffd]);
        let swedish = single_byte(8).unwrap().unwrap();
        assert_eq!((swedish[0xe9], swedish[256 + 0xe9]), (b'E', 0));
        let german2 = single_byte(31).unwrap().unwrap();
        assert_eq!((german2[0xe4], german2[256 + 0xe4]), (b'A', b'E'));
        assert!(single_byte(255).unwrap().is_none());
    }
}
