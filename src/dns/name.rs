//! Domain names.

use std::fmt;

use super::Error;

/// The most bytes of a name on the wire, and of a label (RFC 1035 section 3.1).
const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;

/// A name: its labels, each behind its length, without the empty one at the end. Labels may hold any bytes; ASCII letters
/// are the same in both cases.
#[derive(Clone, Eq)]
pub struct Name(Vec<u8>);

impl Name {
    /// A name of these labels, each cut at 63 bytes (between characters). Labels that no longer fit are left out.
    pub fn new<'a>(labels: impl IntoIterator<Item = &'a str>) -> Name {
        let mut name = Vec::new();
        for label in labels {
            let label = cut(label, MAX_LABEL).as_bytes();
            if !label.is_empty() && name.len() + 2 + label.len() <= MAX_NAME {
                name.push(label.len() as u8);
                name.extend_from_slice(label);
            }
        }
        Name(name)
    }

    /// This name with one more label in front.
    pub fn below(&self, label: &str) -> Name {
        let labels = self.labels().map(|label| std::str::from_utf8(label).unwrap_or_default());
        Name::new(std::iter::once(label).chain(labels))
    }

    /// The labels, first to last.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (len, behind) = rest.split_first()?;
            let (label, behind) = behind.split_at_checked(usize::from(*len))?;
            rest = behind;
            Some(label)
        })
    }

    /// The first label as text; bytes that are no UTF-8 are replaced.
    pub fn first_label(&self) -> String {
        self.labels().next().map(|label| String::from_utf8_lossy(label).into_owned()).unwrap_or_default()
    }

    /// Whether this is `parent` with one label in front.
    pub fn is_directly_below(&self, parent: &Name) -> bool {
        let first = self.0.first().map_or(0, |len| 1 + usize::from(*len));
        first > 0 && self.0.get(first..).is_some_and(|rest| rest.eq_ignore_ascii_case(&parent.0))
    }

    /// The whole name without compression.
    pub fn wire(&self) -> Vec<u8> {
        [&self.0[..], &[0]].concat()
    }

    /// Reads the name at `at` of `message`; also where the bytes behind it begin.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::BadName`].
    pub(super) fn decode(message: &[u8], mut at: usize) -> Result<(Name, usize), Error> {
        let mut name = Vec::new();
        let mut end = None;
        // A pointer leads to before the labels it continues, so it cannot come back.
        let mut barrier = at;
        loop {
            let len = *message.get(at).ok_or(Error::Truncated)?;
            match len {
                0 => return Ok((Name(name), end.unwrap_or(at + 1))),
                1..=63 => {
                    let label = message.get(at..at + 1 + usize::from(len)).ok_or(Error::Truncated)?;
                    if name.len() + label.len() + 1 > MAX_NAME {
                        return Err(Error::BadName);
                    }
                    name.extend_from_slice(label);
                    at += label.len();
                }
                0xc0.. => {
                    let low = *message.get(at + 1).ok_or(Error::Truncated)?;
                    end = end.or(Some(at + 2));
                    at = usize::from(len & 0x3f) << 8 | usize::from(low);
                    if at >= barrier {
                        return Err(Error::BadName);
                    }
                    barrier = at;
                }
                _ => return Err(Error::BadName),
            }
        }
    }

    /// Appends the name to a message that begins at the start of `message`; its end points to the longest end that one of
    /// `known` names begins with. Those are places of labels in the same message.
    pub(super) fn encode(&self, message: &mut Vec<u8>, known: &mut Vec<u16>) {
        let mut rest = &self.0[..];
        while !rest.is_empty() {
            let same = |place: &&u16| {
                Name::decode(message, usize::from(**place)).is_ok_and(|(name, _)| name.0 == rest)
            };
            if let Some(place) = known.iter().find(same) {
                message.extend_from_slice(&(0xc000 | place).to_be_bytes());
                return;
            }
            // What a pointer can reach.
            if let Ok(place @ ..0x4000) = u16::try_from(message.len()) {
                known.push(place);
            }
            let len = 1 + usize::from(rest[0]);
            message.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
        }
        message.push(0);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// For people: dots between labels, anything odd escaped.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.labels().try_for_each(|label| write!(f, "{}.", label.escape_ascii()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first `len` bytes of `text`, or fewer where that is in the middle of a character.
fn cut(text: &str, len: usize) -> &str {
    let end = (0..=len.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
