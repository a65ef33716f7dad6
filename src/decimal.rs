//! Numbers with a decimal point, held as whole ones. (Reading and writing floating point is 25 KB of tables and program.)

use std::fmt;

/// So many of the units that its last decimal counts: `Decimal(1234, 2)` is 12.34.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal(pub u64, pub u8);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Decimal(count, decimals) = *self;
        let unit = 10u64.pow(decimals.into());
        match decimals {
            0 => write!(f, "{count}"),
            _ => write!(f, "{}.{:0width$}", count / unit, count % unit, width = decimals.into()),
        }
    }
}

/// The number in `word` in units of its decimal number `decimals`; what is smaller is left out. Digits and at most one point,
/// nothing else.
pub fn parse(word: &str, decimals: u8) -> Option<u64> {
    let (whole, part) = word.split_once('.').unwrap_or((word, ""));
    let digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || whole.len() + part.len() == 0 {
        return None;
    }
    let kept = part.bytes().chain(std::iter::repeat(b'0')).take(decimals.into());
    let append = |number: u64, digit: u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    whole.bytes().chain(kept).try_fold(0, append)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written() {
        let shown = [(1234, 2), (5, 1), (7, 3), (42, 0)].map(|(count, decimals)| Decimal(count, decimals));
        assert_eq!(shown.map(|it| it.to_string()), ["12.34", "0.5", "0.007", "42"]);
    }

    #[test]
    fn decimals_are_read() {
        let good = [("1", 1000), ("0.5", 500), (".25", 250), ("2.", 2000), ("1.23456", 1234), ("007", 7000)];
        for (word, millis) in good {
            assert_eq!(parse(word, 3), Some(millis), "{word}");
        }
        for word in ["", ".", "-1", "+1", "1e3", "1.2.3", "x", "inf", "99999999999999999999"] {
            assert_eq!(parse(word, 3), None, "{word}");
        }
    }
}
