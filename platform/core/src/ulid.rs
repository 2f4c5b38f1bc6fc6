//! ULIDs: 128 bits that sort by the time they were made, and their text of 26 characters.

use std::fmt;

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of the text.
const CHARACTERS: usize = 26;

/// A ULID: 48 bits of milliseconds since the Unix epoch, 80 bits of chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ulid(u128);

/// Not a ULID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not an id: 26 characters of 0-9 A-Z without I, L, O and U, beginning with 0 to 7, are wanted")]
pub struct InvalidUlid {
    /// What was given, cut to 40 characters.
    pub given: String,
}

impl Ulid {
    /// Puts a ULID together; of `random` the lowest 80 bits are taken. Times before 1970 become 1970.
    pub fn from_parts(time_us: i64, random: u128) -> Self {
        let ms = u128::from(time_us.max(0).unsigned_abs() / 1000) & ((1 << 48) - 1);
        Self(ms << 80 | (random & ((1 << 80) - 1)))
    }

    /// When it was made, to the millisecond; µs since the Unix epoch.
    pub fn time_us(self) -> i64 {
        i64::try_from(self.0 >> 80).unwrap_or(i64::MAX).saturating_mul(1000)
    }

    /// From its bits, the most significant byte first.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Its bits, the most significant byte first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads the text; small letters are taken, too.
    ///
    /// # Errors
    /// [`InvalidUlid`].
    pub fn parse(text: &str) -> Result<Self, InvalidUlid> {
        let wrong = || InvalidUlid { given: text.chars().take(40).collect() };
        if text.len() != CHARACTERS || !matches!(text.as_bytes()[0], b'0'..=b'7') {
            return Err(wrong());
        }
        let mut bits = 0u128;
        for byte in text.bytes() {
            let digit = ALPHABET.iter().position(|c| *c == byte.to_ascii_uppercase()).ok_or_else(wrong)?;
            bits = bits << 5 | digit as u128;
        }
        Ok(Self(bits))
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; CHARACTERS];
        for (i, byte) in text.iter_mut().enumerate() {
            *byte = ALPHABET[(self.0 >> (5 * (CHARACTERS - 1 - i)) & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_is_that_of_the_specification() {
        // From the ULID specification's own example of a time: 01ARYZ6S41 is 1469918176385 ms.
        let ulid = Ulid::from_parts(1_469_918_176_385_000, 0);
        assert_eq!(&ulid.to_string()[..10], "01ARYZ6S41");
        for wrong in [
            "",
            "81ARYZ6S41TSV4RRFFQ69G5FAV",
            "01ARYZ6S41TSV4RRFFQ69G5FAU",
            "01ARYZ6S41TSV4RRFFQ69G5FA",
            "é1ARYZ6S41TSV4RRFFQ69G5FA",
        ] {
            assert!(Ulid::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn text_and_bytes_read_back(bits: u128) {
            let ulid = Ulid::from_bytes(bits.to_be_bytes());
            prop_assert_eq!(Ulid::parse(&ulid.to_string()), Ok(ulid));
            prop_assert_eq!(Ulid::parse(&ulid.to_string().to_lowercase()), Ok(ulid));
            prop_assert_eq!(u128::from_be_bytes(ulid.to_bytes()), bits);
        }

        #[test]
        fn text_sorts_like_time(a in 0i64..1 << 57, b in 0i64..1 << 57, x: u128, y: u128) {
            let (early, late) = (a.min(b), a.max(b) + 1000);
            prop_assert!(Ulid::from_parts(early, x).to_string() < Ulid::from_parts(late, y).to_string());
        }
    }
}
