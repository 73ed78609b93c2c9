//! DECIMAL: packed decimal digits.
//!
//! ```text
//! digits before the point, in groups of 9 from the right (the first group has the odd digits),
//! then digits behind it, in groups of 9 from the left (the last group has the odd digits);
//! a full group takes 4 bytes, odd digits 1 to 4; big-endian
//! the highest bit of all is 1 for positive numbers; negative numbers have all bits inverted
//! ```

use crate::{Error, ErrorKind, Result};

const GROUP_DIGITS: usize = 9;
const BYTES_OF_DIGITS: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// A DECIMAL as it stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal<'a> {
    /// The packed digits.
    pub bytes: &'a [u8],
    /// Digits in all.
    pub precision: u8,
    /// Digits behind the point.
    pub scale: u8,
}

impl Decimal<'_> {
    /// Appends the number: no leading zeros but one in front of the point, all digits behind it.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the bytes are no such number.
    pub fn write_text(&self, out: &mut Vec<u8>) -> Result<()> {
        let scale = usize::from(self.scale);
        let Some(whole) = usize::from(self.precision).checked_sub(scale) else {
            return Err(self.malformed());
        };
        let Some(first) = self.bytes.first() else {
            return Err(self.malformed());
        };
        let negative = first & 0x80 == 0;
        let mut groups = Groups {
            bytes: self.bytes,
            mask: if negative { 0xff } else { 0 },
            sign: 0x80,
        };
        if negative {
            out.push(b'-');
        }
        let start = out.len();
        groups
            .write(whole % GROUP_DIGITS, out)
            .ok_or_else(|| self.malformed())?;
        for _ in 0..whole / GROUP_DIGITS {
            groups
                .write(GROUP_DIGITS, out)
                .ok_or_else(|| self.malformed())?;
        }
        let zeros = out
            .get(start..)
            .unwrap_or_default()
            .iter()
            .take_while(|digit| **digit == b'0')
            .count();
        out.drain(start..start + zeros);
        if out.len() == start {
            out.push(b'0');
        }
        if scale > 0 {
            out.push(b'.');
            for _ in 0..scale / GROUP_DIGITS {
                groups
                    .write(GROUP_DIGITS, out)
                    .ok_or_else(|| self.malformed())?;
            }
            groups
                .write(scale % GROUP_DIGITS, out)
                .ok_or_else(|| self.malformed())?;
        }
        Ok(())
    }

    #[cold]
    fn malformed(&self) -> Error {
        Error::new(
            ErrorKind::Malformed,
            format!(
                "{:02x?} is no DECIMAL({},{})",
                self.bytes, self.precision, self.scale
            ),
        )
    }
}

struct Groups<'a> {
    bytes: &'a [u8],
    mask: u8,
    /// The bit to invert in the next byte: that of the sign, in the first one only.
    sign: u8,
}

impl Groups<'_> {
    fn write(&mut self, digits: usize, out: &mut Vec<u8>) -> Option<()> {
        if digits == 0 {
            return Some(());
        }
        let (group, rest) = self.bytes.split_at_checked(*BYTES_OF_DIGITS.get(digits)?)?;
        self.bytes = rest;
        let mut number = 0u32;
        for byte in group {
            number = number << 8 | u32::from(byte ^ self.mask ^ std::mem::take(&mut self.sign));
        }
        if number >= 10u32.pow(digits as u32) {
            return None;
        }
        let start = out.len();
        out.resize(start + digits, b'0');
        for place in out.get_mut(start..)?.iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], precision: u8, scale: u8) -> Result<String> {
        let mut out = Vec::new();
        Decimal {
            bytes,
            precision,
            scale,
        }
        .write_text(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_manuals_example_is_read_both_ways() {
        // 1234567890.1234 as DECIMAL(14,4), from the server's source.
        let positive = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(text(&positive, 14, 4).unwrap(), "1234567890.1234");
        let negative = positive.map(|byte| !byte);
        assert_eq!(text(&negative, 14, 4).unwrap(), "-1234567890.1234");
    }

    #[test]
    fn zero_keeps_one_digit_and_its_scale() {
        assert_eq!(text(&[0x80, 0, 0, 0, 0], 10, 4).unwrap(), "0.0000");
        assert_eq!(text(&[0x80], 1, 1).unwrap(), "0.0");
        assert_eq!(text(&[0x80], 1, 0).unwrap(), "0");
    }

    #[test]
    fn digits_that_are_none_are_refused() {
        assert!(text(&[0x80, 0xff, 0xff, 0xff, 0xff], 10, 1).is_err());
        assert!(text(&[], 10, 1).is_err());
        assert!(text(&[0x8a], 1, 0).is_err());
    }
}
