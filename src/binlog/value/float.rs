//! FLOAT and DOUBLE as the server prints them.
//!
//! The server's `my_gcvt` prints the shortest digits that read back as the same double, or for FLOAT
//! at most 6 digits, correctly rounded; as a plain number where the exponent is between -15 and 15
//! or there are digits behind the point, else with an `e`.

use std::io::Write;

/// Exponents up to this one are printed as plain numbers (`MAX_DECPT_FOR_F_FORMAT`).
const MAX_PLAIN_EXPONENT: i32 = 15;

/// Appends a DOUBLE.
pub(crate) fn write_double(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        // The server prints so what overflows; no column can hold it.
        out.push(b'0');
        return;
    }
    let start = out.len();
    let _ = write!(out, "{value:e}");
    let digits = digit_count(out.get(start..).unwrap_or_default());
    if digits >= TIE_DIGITS {
        // Where two numbers of this length are equally near, the server takes the even one, as exact
        // rounding does; the shortest form takes the larger one.
        let before = out.len();
        let _ = write!(out, "{value:.*e}", digits - 1);
        let exact = out.split_off(before);
        let reads_back = std::str::from_utf8(&exact)
            .ok()
            .and_then(|text| text.parse::<f64>().ok())
            == Some(value);
        if reads_back {
            out.truncate(start);
            out.extend_from_slice(&exact);
        }
    }
    rearrange(start, out);
}

/// Fewer digits than this are never equally near to a double and its neighbour.
const TIE_DIGITS: usize = 15;

fn digit_count(scientific: &[u8]) -> usize {
    scientific
        .iter()
        .take_while(|byte| **byte != b'e')
        .filter(|byte| byte.is_ascii_digit())
        .count()
}

/// Appends a FLOAT.
pub(crate) fn write_float(value: f32, out: &mut Vec<u8>) {
    if !value.is_finite() {
        out.push(b'0');
        return;
    }
    // FLT_DIG digits, one of them before the point.
    let start = out.len();
    let _ = write!(out, "{:.5e}", f64::from(value));
    rearrange(start, out);
}

/// Appends a number with a fixed count of decimals: columns declared FLOAT(M,D) or DOUBLE(M,D).
pub(crate) fn write_fixed(value: f64, decimals: u8, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value:.*}", usize::from(decimals));
}

/// Rearranges `d.ddde±x` at `out[start..]`.
fn rearrange(start: usize, out: &mut Vec<u8>) {
    let scientific = out.split_off(start);
    let (mantissa, exponent) = match scientific.iter().position(|byte| *byte == b'e') {
        Some(at) => (
            scientific.get(..at).unwrap_or_default(),
            std::str::from_utf8(scientific.get(at + 1..).unwrap_or_default())
                .ok()
                .and_then(|exponent| exponent.parse::<i32>().ok())
                .unwrap_or(0),
        ),
        None => (scientific.as_slice(), 0),
    };
    let (negative, mantissa) = match mantissa.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, mantissa),
    };
    let mut digits: Vec<u8> = mantissa
        .iter()
        .copied()
        .filter(u8::is_ascii_digit)
        .collect();
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    if negative {
        out.push(b'-');
    }
    // Where the point stands, counted from the first digit.
    let point = exponent + 1;
    let has_fraction = digits.len() as i32 > point;
    if point > -MAX_PLAIN_EXPONENT && (point <= MAX_PLAIN_EXPONENT || has_fraction) {
        plain(&digits, point, out);
    } else {
        let (first, rest) = digits.split_at(1);
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        let _ = write!(out, "e{exponent}");
    }
}

fn plain(digits: &[u8], point: i32, out: &mut Vec<u8>) {
    let zeros = |count: i32, out: &mut Vec<u8>| {
        out.extend(std::iter::repeat_n(
            b'0',
            usize::try_from(count).unwrap_or(0),
        ));
    };
    if point <= 0 {
        out.extend_from_slice(b"0");
        if digits != b"0" {
            out.push(b'.');
            zeros(-point, out);
            out.extend_from_slice(digits);
        }
        return;
    }
    let whole = digits.len().min(point as usize);
    let (before, behind) = digits.split_at(whole);
    out.extend_from_slice(before);
    zeros(point - whole as i32, out);
    if !behind.is_empty() {
        out.push(b'.');
        out.extend_from_slice(behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        write_double(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn float(value: f32) -> String {
        let mut out = Vec::new();
        write_float(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_print_as_mysqld_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-2.25, "-2.25"),
            (0.1, "0.1"),
            (1e15, "1e15"),
            (1e14, "100000000000000"),
            (999999999999999.0, "999999999999999"),
            (1234567890123456.0, "1.234567890123456e15"),
            (1234567890123456.5, "1234567890123456.5"),
            (1e20, "1e20"),
            (1.5e-10, "0.00000000015"),
            (1e-14, "0.00000000000001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (1.7976931348623157e308, "1.7976931348623157e308"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (123456.789, "123456.789"),
            (146179860897054.62, "146179860897054.62"),
        ] {
            assert_eq!(double(value), text, "{value:e}");
        }
    }

    #[test]
    fn floats_have_six_digits() {
        for (value, text) in [
            (1.5f32, "1.5"),
            (3.402_823_5e38, "3.40282e38"),
            (1.175_494_4e-38, "1.17549e-38"),
            (123_456.79, "123457"),
            (16_777_216.0, "16777200"),
            (0.1, "0.1"),
            (1e10, "10000000000"),
            (-1_234_567.8, "-1234570"),
        ] {
            assert_eq!(float(value), text, "{value:e}");
        }
    }
}
