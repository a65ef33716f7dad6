//! The servers that were found: a small file in the user's directory, written by the background process, read by clients.
//!
//! ```text
//! distcc-zeroconf 1 PID
//! ADDRESS PORT <tab> NAME <tab> KEY=VALUE <tab> KEY=VALUE ...
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::hosts::offer::Offer;

const MAGIC: &str = "distcc-zeroconf 1";
/// A larger file is none of ours.
const MAX_FILE: u64 = 1 << 20;

/// A server as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundServer {
    /// Where it is.
    pub address: Address,
    /// What it calls itself.
    pub name: String,
    /// What it says of itself.
    pub offer: Offer,
}

/// An address and, where that is not enough, the interface that leads there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address; with `%INTERFACE` behind if it is one for a single link.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Of a neighbour on the link with this number.
    pub fn new(ip: IpAddr, port: u16, link: u32) -> Address {
        let host = match ip {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => format!("{ip}%{link}"),
            _ => ip.to_string(),
        };
        Address { host, port }
    }
}

/// The file's name below the directory for this.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("servers")
}

/// Writes the whole file, so that readers see the old one or the new one. `pid` is the writer's.
pub fn write(directory: &Path, pid: i32, servers: &[FoundServer]) -> io::Result<()> {
    let mut text = format!("{MAGIC} {pid}\n");
    for FoundServer { address, name, offer } in servers {
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        text.push_str(&format!("{} {}\t{name}", address.host, address.port));
        for string in offer.to_strings() {
            text.push('\t');
            text.push_str(&string);
        }
        text.push('\n');
    }
    let new = directory.join(format!("servers.{pid}"));
    fs::write(&new, text).and_then(|()| fs::rename(&new, file(directory))).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// Reads the file; `None` if there is none, or one that another process than `writer` has left.
pub fn read(directory: &Path, writer: i32) -> Option<Vec<FoundServer>> {
    let mut text = String::new();
    File::open(file(directory)).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    parse(&text, writer)
}

fn parse(text: &str, writer: i32) -> Option<Vec<FoundServer>> {
    let (first, rest) = text.split_once('\n')?;
    let pid: i32 = first.strip_prefix(MAGIC)?.trim().parse().ok()?;
    // A process in another container has no number here.
    (pid == writer || writer == 0).then(|| rest.lines().filter_map(parse_line).collect())
}

fn parse_line(line: &str) -> Option<FoundServer> {
    let mut fields = line.split('\t');
    let (host, port) = fields.next()?.split_once(' ')?;
    let address = Address { host: host.to_owned(), port: port.parse().ok()? };
    let name = fields.next()?.to_owned();
    Some(FoundServer { address, name, offer: Offer::from_strings(fields.map(str::as_bytes)) })
}

/// One entry for each server: `on_link` are those of each link, and `own` this machine's addresses, for which the loopback
/// address stands, as in stock. The same server on two links or with both protocols is one, and named by its best address.
pub fn merge(on_link: &[(u32, Vec<super::Server>)], own: &[IpAddr]) -> Vec<FoundServer> {
    let mut found: Vec<(FoundServer, SocketAddr)> = Vec::new();
    for (link, servers) in on_link {
        for server in servers {
            let Some(&ip) = server.addresses.first() else { continue };
            let is_own = server.addresses.iter().any(|address| own.contains(address));
            let address = match is_own {
                true => Address { host: "127.0.0.1".to_owned(), port: server.port },
                false => Address::new(ip, server.port, *link),
            };
            let new = FoundServer { address, name: server.name.clone(), offer: server.offer.clone() };
            let same = |(other, _): &(FoundServer, SocketAddr)| {
                // Ours have numbers. Of stock's, the same name on two links is taken for the same server, as stock does.
                other.address == new.address
                    || other.offer.id.is_some() && other.offer.id == new.offer.id
                    || new.offer.id.is_none() && other.offer.id.is_none() && other.name == new.name
            };
            if !found.iter().any(same) {
                found.push((new, SocketAddr::new(ip, server.port)));
            }
        }
    }
    found.sort_unstable_by_key(|(_, address)| *address);
    found.into_iter().map(|(server, _)| server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, address: &str, id: Option<&str>) -> super::super::Server {
        super::super::Server {
            name: name.to_owned(),
            addresses: vec![address.parse().unwrap()],
            port: 3632,
            offer: Offer { jobs: Some(4), id: id.map(str::to_owned), ..Offer::default() },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = crate::scratch::PrivateDir::new(&std::env::temp_dir(), "distcc_test_").unwrap();
        let on_link = [(3, vec![server("distcc@\ta", "10.0.0.1", Some("1")), server("b", "fe80::1", None)])];
        let mut found = merge(&on_link, &[]);
        write(dir.path(), 7, &found).unwrap();
        found[0].name = "distcc@a".to_owned();
        assert_eq!(found[1].address.host, "fe80::1%3");
        assert_eq!(read(dir.path(), 7), Some(found));
        assert_eq!(read(dir.path(), 8), None);
        assert!(read(dir.path(), 0).is_some());
    }

    #[test]
    fn a_server_is_found_once() {
        let on_link = [
            (1, vec![server("a", "10.0.0.2", Some("1")), server("s", "10.0.0.3", None)]),
            (2, vec![server("a", "10.1.0.2", Some("1")), server("a", "10.1.0.3", Some("2"))]),
            (3, vec![server("s", "10.2.0.3", None), server("own", "10.2.0.1", None)]),
        ];
        let found = merge(&on_link, &["10.2.0.1".parse().unwrap()]);
        let hosts: Vec<&str> = found.iter().map(|it| it.address.host.as_str()).collect();
        assert_eq!(hosts, ["10.0.0.2", "10.0.0.3", "10.1.0.3", "127.0.0.1"]);
    }

    #[test]
    fn a_bad_line_is_left_out() {
        let text = "distcc-zeroconf 1 5\n10.0.0.1 3632\ta\tjobs=3\n10.0.0.2\tb\n\n10.0.0.3 99999\tc\n10.0.0.4 1\td\n";
        let found = parse(text, 5).unwrap();
        assert_eq!(found.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(parse("distcc-zeroconf 1 x\n", 0), None);
    }
}
