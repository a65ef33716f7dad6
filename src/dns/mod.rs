//! Messages of the domain name system, as far as multicast DNS needs them (RFC 1035, RFC 6762).
//!
//! Values and bytes only. What a peer sends is bounded before it is believed: a name has at most 255 bytes, a pointer only
//! leads backwards, and no message makes the decoder allocate more than a small multiple of its own length.

mod message;
mod name;

pub use message::{CLASS_INTERNET, Message, Question, Writer};
pub use name::Name;

use std::net::{Ipv4Addr, Ipv6Addr};

/// Record types (RFC 1035 section 3.2.2, RFC 3596, RFC 2782).
pub mod kind {
    #![allow(missing_docs)]
    pub const A: u16 = 1;
    pub const PTR: u16 = 12;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    /// Of questions only.
    pub const ANY: u16 = 255;
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// It ends too early.
    Truncated,
    /// A label of a reserved kind, a pointer that does not lead backwards, or more than 255 bytes.
    BadName,
    /// A record's data are longer or shorter than its type allows.
    BadData,
}

/// A resource record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub name: Name,
    /// It replaces all others of its name and type (the "cache-flush" bit).
    pub unique: bool,
    /// How long it may be believed, in seconds; 0 takes it back.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An address.
    A(Ipv4Addr),
    /// An address.
    Aaaa(Ipv6Addr),
    /// The name of an instance of a service.
    Ptr(Name),
    /// Where a service is.
    Srv {
        /// The server's port.
        port: u16,
        /// The server's machine.
        target: Name,
    },
    /// Strings, each behind its length.
    Txt(Vec<u8>),
    /// Anything else: its type and its bytes, in which names may be compressed.
    Other(u16, Vec<u8>),
}

impl Data {
    /// The record's type.
    pub fn kind(&self) -> u16 {
        match self {
            Data::A(_) => kind::A,
            Data::Aaaa(_) => kind::AAAA,
            Data::Ptr(_) => kind::PTR,
            Data::Srv { .. } => kind::SRV,
            Data::Txt(_) => kind::TXT,
            Data::Other(kind, _) => *kind,
        }
    }

    /// The data without compressed names, as RFC 6762 section 8.2 compares them.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Data::A(address) => address.octets().to_vec(),
            Data::Aaaa(address) => address.octets().to_vec(),
            Data::Ptr(name) => name.wire(),
            Data::Srv { port, target } => [&[0; 4][..], &port.to_be_bytes(), &target.wire()].concat(),
            Data::Txt(bytes) | Data::Other(_, bytes) => bytes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text.split('.'))
    }

    fn response(records: &[Record]) -> Vec<u8> {
        let mut writer = Writer::response(0);
        records.iter().for_each(|record| writer.answer(record));
        writer.finish()
    }

    #[test]
    fn records_come_back_and_names_are_compressed() {
        let service = name("_distcc._tcp.local");
        let instance = service.below("distcc@Büro 1");
        let record = |name: &Name, data| Record { name: name.clone(), unique: true, ttl: 120, data };
        let records = [
            record(&service, Data::Ptr(instance.clone())),
            record(&instance, Data::Srv { port: 3632, target: name("box.local") }),
            record(&instance, Data::Txt(b"\x09txtvers=1".to_vec())),
            record(&name("box.local"), Data::A([10, 0, 0, 1].into())),
            record(&name("box.local"), Data::Aaaa(Ipv6Addr::LOCALHOST)),
            record(&name("x"), Data::Other(47, vec![1, 2, 3])),
        ];
        let bytes = response(&records);
        assert_eq!(bytes.windows(7).filter(|window| window == b"_distcc").count(), 1, "{bytes:?}");
        let message = Message::decode(&bytes).unwrap().unwrap();
        assert!(message.is_response);
        assert_eq!(message.answers, records);
        assert!(instance.is_directly_below(&service) && !service.is_directly_below(&service));
        assert_eq!(instance.first_label(), "distcc@Büro 1");
        assert_eq!(name("BOX.Local"), name("box.local"));
    }

    #[test]
    fn labels_and_names_are_cut_at_their_limits() {
        assert_eq!(Name::new(["ü".repeat(40).as_str()]).first_label(), "ü".repeat(31));
        let long = Name::new(["x".repeat(63).as_str(); 9]);
        assert!(long.wire().len() <= 255 && long.labels().count() == 3);
    }

    #[test]
    fn pointers_cannot_loop() {
        let message = |name: &[u8]| [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 12, 0, 1]].concat();
        for bad in [
            &b"\xc0\x0c"[..],
            b"\xc0\x0d\xc0\x0c",
            b"\x01a\xc0\x0c",
            b"\xc0\xff",
            b"\x40a",
            b"\x80",
            b"\x3fa",
        ] {
            assert!(Message::decode(&message(bad)).is_err(), "{bad:?}");
        }
        // 127 pointers of a chain that grows by one label each are too long a name.
        let mut chain = vec![0];
        for at in 0..200u16 {
            let target = 12 + if at == 0 { 0 } else { 1 + (at - 1) * 4 };
            chain.extend([1, b'a', 0xc0 | (target >> 8) as u8, target as u8]);
        }
        let place = chain.len() - 4;
        let (short, bytes) = (chain[..13].to_vec(), message(&chain));
        assert!(Name::decode(&[&[0; 12][..], &short].concat(), 12 + 9).is_ok());
        assert_eq!(Name::decode(&bytes, 12 + place), Err(Error::BadName));
    }

    #[test]
    fn half_a_message_is_none() {
        let records = [Record { name: name("a.b"), unique: false, ttl: 1, data: Data::Ptr(name("c.a.b")) }];
        let bytes = response(&records);
        for len in 0..bytes.len() {
            assert!(Message::decode(&bytes[..len]).is_err(), "{len}");
        }
        let mut wrong = bytes.clone();
        *wrong.last_mut().unwrap() = 0xff;
        assert!(Message::decode(&wrong).is_err());
    }
}
