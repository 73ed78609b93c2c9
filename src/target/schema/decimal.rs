//! Exact decimal numbers, digit by digit: what integers, DECIMAL and constants have in common.
//!
//! A packed DECIMAL(p, s) is `p - s` digits, then `s` digits. Digits go in groups of nine, each a
//! big-endian number of four bytes; the odd digits stand in a shorter group at the outer end:
//!
//! ```text
//! DECIMAL(14,4)   1234567890.1234  ->  81 0D FB 38 D2 04 D2
//!                 1|234567890|.1234    first bit: 1 unless negative; negative: every bit inverted
//! ```

/// Bytes of a group of so many digits.
const GROUP_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// A decimal number: sign, digits before and behind the point, as values 0 to 9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    whole: Vec<u8>,
    fraction: Vec<u8>,
}

impl Decimal {
    pub(crate) fn from_integer(value: i128) -> Self {
        let digits = value.unsigned_abs().to_string();
        Self {
            negative: value < 0,
            whole: digits.bytes().map(|digit| digit - b'0').collect(),
            fraction: Vec::new(),
        }
        .normal()
    }

    /// A number as a constant or a column's text has it: sign, digits, point, exponent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
            None => (rest, 0),
        };
        if exponent.unsigned_abs() > 400 {
            return None;
        }
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let all = || whole.bytes().chain(fraction.bytes());
        if !all().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut digits: Vec<u8> = all().map(|digit| digit - b'0').collect();
        let mut point = whole.len() as i32 + exponent;
        while point < 0 {
            digits.insert(0, 0);
            point += 1;
        }
        let point = point as usize;
        if point > digits.len() {
            digits.resize(point, 0);
        }
        let fraction = digits.split_off(point);
        Some(
            Self {
                negative,
                whole: digits,
                fraction,
            }
            .normal(),
        )
    }

    /// Without leading zeros and without a negative zero; the fraction keeps its length.
    fn normal(mut self) -> Self {
        let zeros = self.whole.iter().take_while(|digit| **digit == 0).count();
        self.whole.drain(..zeros);
        if self.is_zero() {
            self.negative = false;
        }
        self
    }

    fn is_zero(&self) -> bool {
        self.whole
            .iter()
            .chain(&self.fraction)
            .all(|digit| *digit == 0)
    }

    /// With exactly `scale` digits behind the point, halves rounded away from zero as the server does.
    pub(crate) fn round(mut self, scale: usize) -> Self {
        if self.fraction.len() <= scale {
            self.fraction.resize(scale, 0);
            return self;
        }
        let up = self.fraction[scale] >= 5;
        self.fraction.truncate(scale);
        if up {
            self.increment();
        }
        self.normal()
    }

    /// Adds one to the last digit.
    fn increment(&mut self) {
        for digit in self
            .fraction
            .iter_mut()
            .rev()
            .chain(self.whole.iter_mut().rev())
        {
            if *digit < 9 {
                *digit += 1;
                return;
            }
            *digit = 0;
        }
        self.whole.insert(0, 1);
    }

    /// The nearest integer.
    pub(crate) fn to_integer(&self) -> Option<i128> {
        let rounded = self.clone().round(0);
        let mut value = 0i128;
        for &digit in &rounded.whole {
            value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
        }
        Some(if rounded.negative { -value } else { value })
    }

    pub(crate) fn to_f64(&self) -> f64 {
        self.to_text().parse().unwrap_or(f64::NAN)
    }

    /// Whether any digit behind the point is not 0.
    pub(crate) fn has_fraction(&self) -> bool {
        self.fraction.iter().any(|digit| *digit != 0)
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.negative
    }

    /// As the server prints it, with all digits of the fraction.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        if self.negative {
            text.push('-');
        }
        if self.whole.is_empty() {
            text.push('0');
        }
        text.extend(self.whole.iter().map(|digit| char::from(b'0' + digit)));
        if !self.fraction.is_empty() {
            text.push('.');
            text.extend(self.fraction.iter().map(|digit| char::from(b'0' + digit)));
        }
        text
    }

    /// Appends the packed form for DECIMAL(precision, scale), rounded to it; false where it does not fit.
    #[must_use]
    pub(crate) fn pack(&self, precision: u8, scale: u8, out: &mut Vec<u8>) -> bool {
        let rounded = self.clone().round(usize::from(scale));
        let room = usize::from(precision).saturating_sub(usize::from(scale));
        if rounded.whole.len() > room {
            return false;
        }
        let start = out.len();
        let mut digits = vec![0; room - rounded.whole.len()];
        digits.extend_from_slice(&rounded.whole);
        let odd = room % 9;
        if odd > 0 {
            push_group(&digits[..odd], out);
        }
        for group in digits[odd..].chunks(9) {
            push_group(group, out);
        }
        for group in rounded.fraction.chunks(9) {
            push_group(group, out);
        }
        if rounded.negative {
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
        if let Some(first) = out.get_mut(start) {
            *first ^= 0x80;
        }
        true
    }
}

fn push_group(digits: &[u8], out: &mut Vec<u8>) {
    let value = digits
        .iter()
        .fold(0u32, |value, digit| value * 10 + u32::from(*digit));
    out.extend_from_slice(&value.to_be_bytes()[4 - GROUP_BYTES[digits.len()]..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::{Column, ColumnKind, TextStyle};

    fn packed(text: &str, precision: u8, scale: u8) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(
            Decimal::parse(text)
                .unwrap()
                .pack(precision, scale, &mut out)
        );
        out
    }

    #[test]
    fn the_manuals_example_packs_as_printed() {
        let positive = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(packed("1234567890.1234", 14, 4), positive);
        let negative = [0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d];
        assert_eq!(packed("-1234567890.1234", 14, 4), negative);
    }

    #[test]
    fn halves_round_away_from_zero() {
        for (text, scale, rounded) in [
            ("2.5", 0, "3"),
            ("-2.5", 0, "-3"),
            ("0.004", 2, "0.00"),
            ("-0.004", 2, "0.00"),
            ("99.995", 2, "100.00"),
            ("1.2e3", 1, "1200.0"),
            ("15e-1", 0, "2"),
            (".5", 3, "0.500"),
        ] {
            assert_eq!(
                Decimal::parse(text).unwrap().round(scale).to_text(),
                rounded
            );
        }
        assert_eq!(Decimal::parse("1e"), None);
        assert_eq!(Decimal::parse("x"), None);
        assert!(!Decimal::parse("100").unwrap().pack(2, 0, &mut Vec::new()));
    }

    #[test]
    fn what_is_packed_comes_back() {
        for (text, precision, scale) in [
            ("0", 1, 0),
            ("-9", 1, 0),
            ("0.000000001", 9, 9),
            ("-12345678901234567890.123456789012", 32, 12),
            ("999999999", 9, 0),
        ] {
            let column = Column::new(
                ColumnKind::Decimal,
                u32::from(precision) << 8 | u32::from(scale),
            );
            let bytes = packed(text, precision, scale);
            let mut printed = Vec::new();
            let value = column.as_ref().unwrap().decode(&bytes).unwrap();
            value
                .write_text(&TextStyle::default(), &mut printed)
                .unwrap();
            assert_eq!(printed, text.as_bytes());
        }
    }
}
