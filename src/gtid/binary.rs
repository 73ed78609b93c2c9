//! The binary forms of a GTID set, as in COM_BINLOG_DUMP_GTID and the previous-GTIDs event.
//!
//! ```text
//! version 0 (no tags)              version 1 (every source with its tag)
//! u64 sources, top byte 0          01 | u48 sources | 01
//! per source:                      per source:
//!   16 uuid                          16 uuid
//!                                    varlen tag length, tag
//!   u64 intervals                    u64 intervals
//!   per interval:                    per interval:
//!     i64 start, i64 end (excl.)       i64 start, i64 end (excl.)
//!
//! version 2 (servers from 9.6 on read it; none writes it yet)
//! 02 | u48 sources | 02            and nothing more where there is none
//! varlen tags, per tag: varlen length, tag
//! per source:
//!   varlen number of its tag << 1 | whether a UUID follows (else that of the source before)
//!   16 uuid
//!   varlen bounds: twice its intervals, one less where the first starts at 1, which is left out
//!   per bound (start, exclusive end, ...): varlen difference to the least that it can be
//! ```
//!
//! All integers little-endian; varlen as in `varlen`. The varlen length of a tag is always one byte
//! (`length << 1`, up to 32). Intervals are sorted and never touch; the server refuses sets that break
//! this (error 1773) and so do we.

use std::collections::BTreeSet;

use byteorder::{ByteOrder, LittleEndian};

use super::{GtidSet, Interval, MAX_GNO, Tag, Tsid, Uuid, varlen};
use crate::{Error, ErrorKind, Limits, Result};

/// Which form to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Version 0, which every server since 5.6 reads; sources with a tag are left out.
    Untagged,
    /// Version 1, for servers since 8.3.0.
    Tagged,
    /// Version 2, for servers since 9.6: the same in fewer bytes.
    Compact,
    /// Version 0 where the set has no tag, else version 1: what a server writes.
    Shortest,
}

impl GtidSet {
    /// Appends the binary form to `out`.
    pub fn encode(&self, encoding: Encoding, out: &mut Vec<u8>) {
        let tagged = match encoding {
            Encoding::Untagged => false,
            Encoding::Tagged => true,
            Encoding::Compact => return self.encode_compact(out),
            Encoding::Shortest => self.has_tags(),
        };
        let sources = || {
            self.sources()
                .filter(|(tsid, _)| tagged || tsid.tag.is_none())
        };
        let count = sources().count() as u64;
        let head = if tagged {
            1 << 56 | count << 8 | 1
        } else {
            count
        };
        out.extend_from_slice(&head.to_le_bytes());
        for (tsid, list) in sources() {
            out.extend_from_slice(&tsid.uuid.0);
            if tagged {
                let tag = tsid.tag.as_str().as_bytes();
                out.push((tag.len() as u8) << 1);
                out.extend_from_slice(tag);
            }
            out.extend_from_slice(&(list.len() as u64).to_le_bytes());
            for interval in list {
                out.extend_from_slice(&interval.start.to_le_bytes());
                out.extend_from_slice(&interval.end.to_le_bytes());
            }
        }
    }

    fn encode_compact(&self, out: &mut Vec<u8>) {
        let count = self.source_count() as u64;
        out.extend_from_slice(&(2 << 56 | count << 8 | 2).to_le_bytes());
        if count == 0 {
            return;
        }
        let tags: BTreeSet<Tag> = self.sources().map(|(tsid, _)| tsid.tag).collect();
        varlen::put_unsigned(tags.len() as u64, out);
        for tag in &tags {
            let tag = tag.as_str().as_bytes();
            varlen::put_unsigned(tag.len() as u64, out);
            out.extend_from_slice(tag);
        }
        let mut last_uuid = None;
        for (tsid, list) in self.sources() {
            let tag = tags.iter().take_while(|tag| **tag != tsid.tag).count() as u64;
            let is_new = last_uuid != Some(tsid.uuid);
            varlen::put_unsigned(tag << 1 | u64::from(is_new), out);
            if is_new {
                out.extend_from_slice(&tsid.uuid.0);
                last_uuid = Some(tsid.uuid);
            }
            let from_one = list.first().is_some_and(|interval| interval.start == 1);
            varlen::put_unsigned(2 * list.len() as u64 - u64::from(from_one), out);
            let bounds = list
                .iter()
                .flat_map(|interval| [interval.start, interval.end]);
            let mut least = 2;
            for bound in bounds.skip(usize::from(from_one)) {
                varlen::put_unsigned(bound - least, out);
                least = bound + 1;
            }
        }
    }

    /// Reads a set that takes up all of `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] with the offset, [`ErrorKind::Limit`] for more than
    /// [`Limits::gtid_intervals`], [`ErrorKind::Unsupported`] for an unknown version.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self> {
        let mut reader = Reader { bytes, offset: 0 };
        let head = reader.u64()?;
        let (tagged, count) = match (head >> 56, head & 0xff) {
            (0, _) => (false, head & 0x0000_ffff_ffff_ffff),
            (1, 1) => (true, head >> 8 & 0x0000_ffff_ffff_ffff),
            (2, 2) => return reader.compact(head >> 8 & 0x0000_ffff_ffff_ffff, limits),
            (version, _) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("GTID set encoding version {version} is not known"),
                ));
            }
        };
        let mut set = GtidSet::new();
        let mut intervals = 0;
        let mut previous_tsid = None;
        for _ in 0..count {
            let mut tsid = Tsid {
                uuid: Uuid(reader.array()?),
                tag: Tag::NONE,
            };
            if tagged {
                tsid.tag = reader.tag()?;
            }
            if previous_tsid >= Some(tsid) {
                return Err(reader.malformed("sources in ascending order"));
            }
            previous_tsid = Some(tsid);
            let length = reader.u64()?;
            let mut last_end = 0;
            for _ in 0..length {
                count_interval(&mut intervals, limits)?;
                let (start, end) = (reader.u64()?, reader.u64()?);
                if start <= last_end || end <= start || end > MAX_GNO + 1 {
                    return Err(reader.malformed("intervals in ascending order that do not touch"));
                }
                last_end = end;
                set.insert_interval(tsid, Interval { start, end });
            }
        }
        if reader.offset != bytes.len() {
            return Err(reader.malformed("nothing behind the last source"));
        }
        Ok(set)
    }
}

fn count_interval(intervals: &mut usize, limits: &Limits) -> Result<()> {
    *intervals += 1;
    if *intervals > limits.gtid_intervals {
        return Err(Error::new(
            ErrorKind::Limit,
            format!(
                "GTID set has more than {} intervals (gtid_intervals)",
                limits.gtid_intervals
            ),
        ));
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// What follows the head of version 2.
    fn compact(mut self, count: u64, limits: &Limits) -> Result<GtidSet> {
        let mut set = GtidSet::new();
        let mut tags = Vec::new();
        let tag_count = if count == 0 { 0 } else { self.varlen()? };
        for _ in 0..tag_count {
            tags.push(self.tag()?);
        }
        let mut uuid = None;
        let mut intervals = 0;
        for _ in 0..count {
            let code = self.varlen()?;
            let tag = usize::try_from(code >> 1)
                .ok()
                .and_then(|index| tags.get(index));
            let Some(tag) = tag.copied() else {
                return Err(self.malformed("the number of a tag"));
            };
            if code & 1 != 0 {
                uuid = Some(Uuid(self.array()?));
            }
            let Some(uuid) = uuid else {
                return Err(self.malformed("a UUID"));
            };
            let tsid = Tsid { uuid, tag };
            let bounds = self.varlen()?;
            let mut start = (bounds & 1 != 0).then_some(1);
            let mut least = 2;
            for _ in 0..bounds {
                let bound = self.varlen()?.checked_add(least);
                let Some(bound) = bound.filter(|bound| *bound <= MAX_GNO + 1) else {
                    return Err(self.malformed("numbers of GTIDs"));
                };
                least = bound + 1;
                match start.take() {
                    None => start = Some(bound),
                    Some(start) => {
                        count_interval(&mut intervals, limits)?;
                        set.insert_interval(tsid, Interval { start, end: bound });
                    }
                }
            }
        }
        if self.offset != self.bytes.len() {
            return Err(self.malformed("nothing behind the last source"));
        }
        Ok(set)
    }

    fn varlen(&mut self) -> Result<u64> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let Some((number, behind)) = varlen::unsigned(rest) else {
            return Err(self.malformed("a number"));
        };
        self.offset = self.bytes.len() - behind.len();
        Ok(number)
    }

    #[cold]
    fn malformed(&self, expected: &str) -> Error {
        Error::new(
            ErrorKind::Malformed,
            format!("GTID set encoding: expected {expected}"),
        )
        .at_offset(self.offset as u64)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let taken = self
            .bytes
            .get(self.offset..)
            .and_then(|rest| rest.get(..length))
            .ok_or_else(|| self.malformed("more bytes"))?;
        self.offset += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(LittleEndian::read_u64(self.take(8)?))
    }

    fn tag(&mut self) -> Result<Tag> {
        let [length] = self.array()?;
        if length & 1 != 0 || usize::from(length >> 1) > Tag::MAX_LENGTH {
            return Err(self.malformed("a tag of at most 32 bytes"));
        }
        let text = self.take(usize::from(length >> 1))?;
        Tag::new(text)
            .filter(|tag| tag.as_str().as_bytes() == text)
            .ok_or_else(|| self.malformed("a tag of letters, digits and underscores"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn encoded(text: &str, encoding: Encoding) -> Vec<u8> {
        let mut out = Vec::new();
        text.replace('U', U)
            .parse::<GtidSet>()
            .unwrap()
            .encode(encoding, &mut out);
        out
    }

    #[test]
    fn all_versions_come_back_as_they_went() {
        for text in [
            "",
            "U:1-5:7",
            "U:1:blue:2-9",
            "U:a_very_long_tag_of_32_characters:3",
            "U:2:4-5:9223372036854775806:blue:1:3",
            "U:blue:1-4,5e11fa47-71ca-11e1-9e33-c80aa9429562:1-3:blue:7:red:1",
        ] {
            let set: GtidSet = text.replace('U', U).parse().unwrap();
            let bytes = encoded(text, Encoding::Shortest);
            assert_eq!(GtidSet::decode(&bytes, &Limits::default()).unwrap(), set);
            for (encoding, version) in [(Encoding::Tagged, 1), (Encoding::Compact, 2)] {
                let bytes = encoded(text, encoding);
                assert_eq!((bytes[0], bytes[7]), (version, version));
                assert_eq!(GtidSet::decode(&bytes, &Limits::default()).unwrap(), set);
            }
        }
        let stripped = encoded("U:1:blue:2-9", Encoding::Untagged);
        assert_eq!(stripped, encoded("U:1", Encoding::Untagged));
    }

    #[test]
    fn the_compact_version_byte_for_byte() {
        let mut expected = vec![2, 3, 0, 0, 0, 0, 0, 2];
        // Two tags: none and blue.
        expected.extend_from_slice(b"\x04\x00\x08blue");
        // U, no tag: 1-5 and 7, of which the first start is left out: 6, 7, 8.
        expected.push(0x02);
        expected.extend_from_slice(&U.parse::<Uuid>().unwrap().0);
        expected.extend_from_slice(&[3 << 1, 4 << 1, 0, 0]);
        // U, blue: 2-9, as 2 and 10.
        expected.extend_from_slice(&[1 << 2, 2 << 1, 0, 7 << 1]);
        // Another, no tag: 1.
        expected.push(0x02);
        expected.extend_from_slice(&[0xff; 16]);
        expected.extend_from_slice(&[1 << 1, 0]);
        let text = "U:1-5:7:blue:2-9,ffffffff-ffff-ffff-ffff-ffffffffffff:1";
        assert_eq!(encoded(text, Encoding::Compact), expected);
        for wrong in [
            &b"\x02\x01\0\0\0\0\0\x02\x02\0\0"[..],
            b"\x02\x01\0\0\0\0\0\x02\x02\0\x06",
            b"\x02\0\0\0\0\0\0\x02\0",
            b"\x01\0\0\0\0\0\0\x02",
        ] {
            assert!(
                GtidSet::decode(wrong, &Limits::default()).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn every_cut_and_every_lie_is_an_error() {
        for encoding in [Encoding::Shortest, Encoding::Compact] {
            let whole = encoded("U:1-5:7:blue:2-9", encoding);
            for length in 0..whole.len() {
                assert!(GtidSet::decode(&whole[..length], &Limits::default()).is_err());
            }
        }
        // 2^40 claimed sources cost nothing.
        let mut lie = vec![0, 0, 0, 0, 0, 1, 0, 0];
        assert!(GtidSet::decode(&lie, &Limits::default()).is_err());
        // 2^63 claimed intervals neither.
        lie = encoded("U:1", Encoding::Untagged);
        lie[31] = 0x80;
        assert!(GtidSet::decode(&lie, &Limits::default()).is_err());
        // Intervals that touch or run backwards.
        let mut touching = encoded("U:1-2:4-5", Encoding::Untagged);
        touching[48] = 3;
        assert!(GtidSet::decode(&touching, &Limits::default()).is_err());
    }

    #[test]
    fn the_number_of_intervals_is_bounded() {
        let limits = Limits {
            gtid_intervals: 2,
            ..Limits::default()
        };
        assert!(GtidSet::decode(&encoded("U:1:3", Encoding::Untagged), &limits).is_ok());
        let error = GtidSet::decode(&encoded("U:1:3:5", Encoding::Untagged), &limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }
}
