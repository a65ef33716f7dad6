//! Whole messages: questions and records in, bytes out, and back.

use super::{Data, Error, Name, Record, kind};

/// The class of all that matters here.
pub const CLASS_INTERNET: u16 = 1;
/// Of a record: it replaces all others of its name and type. Of a question: an answer to the asker alone will do.
const TOP_BIT: u16 = 0x8000;
/// Header bits: a response; with authority; more known answers follow.
const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
/// Anything but an ordinary query or its answer, or with an error: RFC 6762 section 18 has them ignored.
const ODD: u16 = 0x780f;

/// The length of a header.
const HEADER: usize = 12;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What about.
    pub name: Name,
    /// Which type of record, or [`kind::ANY`].
    pub kind: u16,
    /// The asker is content with an answer to itself alone.
    pub unicast: bool,
}

/// A message, understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// For answers to askers that do not know multicast DNS.
    pub id: u16,
    /// It answers; otherwise it asks.
    pub is_response: bool,
    /// More known answers follow in another message.
    pub truncated: bool,
    /// The questions of class internet.
    pub questions: Vec<Question>,
    /// Answers, or in a query those that are known already.
    pub answers: Vec<Record>,
    /// In a query: what the asker wants to claim.
    pub authorities: Vec<Record>,
    /// What may be of use besides.
    pub additionals: Vec<Record>,
}

impl Message {
    /// Reads a message. Of one that is cut off, or has nonsense somewhere, everything before that counts nothing either.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn decode(bytes: &[u8]) -> Result<Option<Message>, Error> {
        let word = |at: usize| word(bytes, at);
        let flags = word(2)?;
        if flags & ODD != 0 {
            return Ok(None);
        }
        let mut message = Message {
            id: word(0)?,
            is_response: flags & RESPONSE != 0,
            truncated: flags & TRUNCATED != 0,
            ..Message::default()
        };
        let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
        let mut at = HEADER;
        for _ in 0..counts[0] {
            let (name, end) = Name::decode(bytes, at)?;
            let (kind, class) = (word(end)?, word(end + 2)?);
            at = end + 4;
            if matches!(class & !TOP_BIT, CLASS_INTERNET | kind::ANY) {
                message.questions.push(Question { name, kind, unicast: class & TOP_BIT != 0 });
            }
        }
        for (section, count) in counts[1..].iter().enumerate() {
            for _ in 0..*count {
                let (record, end) = decode_record(bytes, at)?;
                at = end;
                match section {
                    0 => message.answers.extend(record),
                    1 => message.authorities.extend(record),
                    _ => message.additionals.extend(record),
                }
            }
        }
        Ok(Some(message))
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u16, Error> {
    let bytes = bytes.get(at..at + 2).ok_or(Error::Truncated)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// `None` for a record of another class.
fn decode_record(bytes: &[u8], at: usize) -> Result<(Option<Record>, usize), Error> {
    let (name, at) = Name::decode(bytes, at)?;
    let (kind, class) = (word(bytes, at)?, word(bytes, at + 2)?);
    let ttl = u32::from(word(bytes, at + 4)?) << 16 | u32::from(word(bytes, at + 6)?);
    let start = at + 10;
    let end = start + usize::from(word(bytes, at + 8)?);
    let data = bytes.get(start..end).ok_or(Error::Truncated)?;
    if class & !TOP_BIT != CLASS_INTERNET {
        return Ok((None, end));
    }
    let name_at = |at: usize| match Name::decode(&bytes[..end], at)? {
        (name, behind) if behind == end => Ok(name),
        _ => Err(Error::BadData),
    };
    let data = match kind {
        kind::A => Data::A(<[u8; 4]>::try_from(data).map_err(|_| Error::BadData)?.into()),
        kind::AAAA => Data::Aaaa(<[u8; 16]>::try_from(data).map_err(|_| Error::BadData)?.into()),
        kind::PTR => Data::Ptr(name_at(start)?),
        kind::SRV => Data::Srv { port: word(bytes, start + 4)?, target: name_at(start + 6)? },
        kind::TXT => Data::Txt(data.to_vec()),
        _ => Data::Other(kind, data.to_vec()),
    };
    Ok((Some(Record { name, unique: class & TOP_BIT != 0, ttl, data }), end))
}

/// Builds a message.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    names: Vec<u16>,
}

impl Writer {
    /// A query.
    pub fn query() -> Writer {
        Writer::new(0, 0)
    }

    /// An answer; `id` is that of the question where the asker does not know multicast DNS, otherwise 0.
    pub fn response(id: u16) -> Writer {
        Writer::new(id, RESPONSE | AUTHORITATIVE)
    }

    fn new(id: u16, flags: u16) -> Writer {
        let mut bytes = vec![0; HEADER];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        Writer { bytes, names: Vec::new() }
    }

    /// Adds a question; all come before the first record.
    pub fn question(&mut self, question: &Question) {
        question.name.encode(&mut self.bytes, &mut self.names);
        let class = if question.unicast { CLASS_INTERNET | TOP_BIT } else { CLASS_INTERNET };
        self.bytes.extend_from_slice(&question.kind.to_be_bytes());
        self.bytes.extend_from_slice(&class.to_be_bytes());
        self.count(4);
    }

    /// Adds an answer; all come before the first authority.
    pub fn answer(&mut self, record: &Record) {
        self.record(record, 6);
    }

    /// Adds what is to be claimed; all come before the first additional record.
    pub fn authority(&mut self, record: &Record) {
        self.record(record, 8);
    }

    /// Adds what may be of use.
    pub fn additional(&mut self, record: &Record) {
        self.record(record, 10);
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER
    }

    /// The message.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn record(&mut self, record: &Record, counter: usize) {
        let class = if record.unique { CLASS_INTERNET | TOP_BIT } else { CLASS_INTERNET };
        record.name.encode(&mut self.bytes, &mut self.names);
        self.bytes.extend_from_slice(&record.data.kind().to_be_bytes());
        self.bytes.extend_from_slice(&class.to_be_bytes());
        self.bytes.extend_from_slice(&record.ttl.to_be_bytes());
        let start = self.bytes.len() + 2;
        self.bytes.extend_from_slice(&[0; 2]);
        match &record.data {
            Data::Ptr(name) => name.encode(&mut self.bytes, &mut self.names),
            Data::Srv { port, target } => {
                self.bytes.extend_from_slice(&[0; 4]);
                self.bytes.extend_from_slice(&port.to_be_bytes());
                target.encode(&mut self.bytes, &mut self.names);
            }
            data => self.bytes.extend_from_slice(&data.bytes()),
        }
        // All data are our own and far shorter.
        let len = (self.bytes.len() - start) as u16;
        self.bytes[start - 2..start].copy_from_slice(&len.to_be_bytes());
        self.count(counter);
    }

    fn count(&mut self, counter: usize) {
        let count = u16::from_be_bytes([self.bytes[counter], self.bytes[counter + 1]]) + 1;
        self.bytes[counter..counter + 2].copy_from_slice(&count.to_be_bytes());
    }
}
