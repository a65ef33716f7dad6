//! What a server announces of itself: its names and the records behind them (RFC 6763 sections 4 to 7).

use std::net::IpAddr;

use super::service_type;
use crate::dns::{Data, Name, Record};

/// What is announced, the same on all links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// This machine's name, without a domain.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// What it says of itself, `KEY=VALUE`.
    pub text: Vec<String>,
    /// The kind of compilers it has, in stock's form; part of a name.
    pub subtype: Option<String>,
}

// Times to live, in seconds: 120 for what depends on the host's name or address, otherwise 75 minutes (section 10).
const HOST_TTL: u32 = 120;
const OTHER_TTL: u32 = 4500;
impl Service {
    /// The name of the instance: the first, or what is tried after so many.
    pub fn instance(&self, attempt: u32) -> Name {
        let host = &self.host;
        service_type().below(&match attempt {
            1 => format!("distcc@{host}"),
            // As Avahi renames.
            attempt => format!("distcc@{host} #{attempt}"),
        })
    }

    /// Not the machine's own name, which is somebody else's to announce.
    pub fn host_name(&self, attempt: u32) -> Name {
        let host = &self.host;
        let label = match attempt {
            1 => format!("{host}-distccd"),
            attempt => format!("{host}-distccd-{attempt}"),
        };
        Name::new([label.as_str(), "local"])
    }

    /// All that is said under these names on a link with these addresses.
    pub fn records(&self, attempt: u32, addresses: &[IpAddr]) -> Vec<Record> {
        let (instance, host, service_type) =
            (self.instance(attempt), self.host_name(attempt), service_type());
        let shared = |name: &Name, data| Record { name: name.clone(), unique: false, ttl: OTHER_TTL, data };
        let mut records = vec![
            shared(&service_type, Data::Ptr(instance.clone())),
            shared(&Name::new(["_services", "_dns-sd", "_udp", "local"]), Data::Ptr(service_type.clone())),
        ];
        if let Some(subtype) = &self.subtype {
            let name = service_type.below("_sub").below(subtype);
            records.push(shared(&name, Data::Ptr(instance.clone())));
        }
        let unique = |name: &Name, ttl, data| Record { name: name.clone(), unique: true, ttl, data };
        let strings = self.text.iter().filter(|string| string.len() <= 255);
        let text = strings.flat_map(|it| std::iter::once(it.len() as u8).chain(it.bytes())).collect();
        records.push(unique(&instance, HOST_TTL, Data::Srv { port: self.port, target: host.clone() }));
        records.push(unique(&instance, OTHER_TTL, Data::Txt(text)));
        for address in addresses {
            let data = match *address {
                IpAddr::V4(address) => Data::A(address),
                IpAddr::V6(address) => Data::Aaaa(address),
            };
            records.push(unique(&host, HOST_TTL, data));
        }
        records
    }
}

/// What is claimed for `name`, in the order in which RFC 6762 section 8.2 compares it.
pub fn claims<'a>(records: impl Iterator<Item = &'a Record>, name: &Name) -> Vec<(u16, Vec<u8>)> {
    let mut claims: Vec<_> =
        records.filter(|it| it.name == *name).map(|it| (it.data.kind(), it.data.bytes())).collect();
    claims.sort_unstable();
    claims
}
