//! Which client addresses are served: `--allow` as a value.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};

use ipnet::{IpNet, Ipv4Net};

/// Loopback and the private ranges: what is allowed when the user names nothing (reference `daemon.md`
/// section 5).
const PRIVATE: [&str; 7] =
    ["192.168.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "127.0.0.0/8", "fe80::/10", "fc00::/7", "::1/128"];

/// Addresses that are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    ranges: Vec<IpNet>,
}

impl Access {
    /// This machine and private networks.
    pub fn private() -> Access {
        Access { ranges: PRIVATE.iter().filter_map(|range| range.parse().ok()).collect() }
    }

    /// From `--allow` values, each one range or several separated by commas or blanks; host names are looked
    /// up now.
    ///
    /// # Errors
    /// A sentence that names the bad part.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Access, String> {
        Access::parse_with(values, look_up)
    }

    /// As [`Access::parse`], with `look_up` in place of the system's resolver.
    ///
    /// # Errors
    /// A sentence that names the bad part.
    pub fn parse_with<'a>(
        values: impl IntoIterator<Item = &'a str>,
        look_up: impl Fn(&str) -> io::Result<Vec<IpAddr>>,
    ) -> Result<Access, String> {
        let mut ranges = Vec::new();
        for part in
            values.into_iter().flat_map(|value| value.split([',', ' '])).filter(|part| !part.is_empty())
        {
            ranges.extend(parse_range(part, &look_up)?);
        }
        Ok(Access { ranges })
    }

    /// Adds the ranges of `other`.
    pub fn extend(&mut self, other: Access) {
        self.ranges.extend(other.ranges);
    }

    /// Whether a client at `address` is served. An IPv4 address counts as such when it arrives mapped into
    /// IPv6.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.ranges.iter().any(|range| range.contains(&address))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (at, range) in self.ranges.iter().enumerate() {
            write!(f, "{}{range}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

fn parse_range(part: &str, look_up: impl Fn(&str) -> io::Result<Vec<IpAddr>>) -> Result<Vec<IpNet>, String> {
    let (address, mask) = part.split_once('/').map_or((part, None), |(address, mask)| (address, Some(mask)));
    // "ADDR/" means the whole address, as in stock.
    let mask = mask.filter(|mask| !mask.is_empty());
    let addresses = match address.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => vec![address.to_canonical()],
        Err(_) => look_up(address).map_err(|e| {
            format!("--allow {part}: {address} is no address, and no host of that name is known: {e}")
        })?,
    };
    let mut ranges = Vec::new();
    for address in addresses {
        ranges.push(with_mask(address, mask).map_err(|e| format!("--allow {part}: {e}"))?);
    }
    Ok(ranges)
}

fn with_mask(address: IpAddr, mask: Option<&str>) -> Result<IpNet, String> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    let Some(mask) = mask else { return Ok(IpNet::from(address)) };
    if let (IpAddr::V4(address), Ok(mask)) = (address, mask.parse()) {
        return Ipv4Net::with_netmask(address, mask)
            .map(IpNet::V4)
            .map_err(|_| format!("\"{mask}\" is not a network mask: its ones must be on the left"));
    }
    let bits: u8 = mask.parse().map_err(|_| format!("\"{mask}\" is neither a number of bits nor a mask"))?;
    IpNet::new(address, bits).map_err(|_| format!("{bits} bits are too many, the most is {most}"))
}

fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip().to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(value: &str, address: &str) -> bool {
        Access::parse([value]).unwrap().allows(address.parse().unwrap())
    }

    #[test]
    fn ranges_are_understood() {
        assert!(allows("10.0.0.0/8", "10.1.2.3"));
        assert!(!allows("10.0.0.0/8", "11.1.2.3"));
        assert!(allows("192.168.1.5", "192.168.1.5"));
        assert!(!allows("192.168.1.5/", "192.168.1.6"));
        assert!(allows("192.168.0.0/255.255.0.0", "192.168.9.9"));
        assert!(allows("10.0.0.1 192.168.0.0/16,fe80::/10", "fe80::5"));
        assert!(allows("0.0.0.0/0", "8.8.8.8"));
        assert!(allows("[::1]", "::1"));
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        assert!(allows("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(Access::private().allows("::ffff:192.168.3.4".parse().unwrap()));
    }

    #[test]
    fn private_means_private() {
        let private = Access::private();
        assert_eq!(private.ranges.len(), PRIVATE.len());
        for yes in ["127.0.0.1", "::1", "10.9.8.7", "172.31.0.1", "192.168.0.1", "fe80::1", "fd00::1"] {
            assert!(private.allows(yes.parse().unwrap()), "{yes}");
        }
        for no in ["8.8.8.8", "172.32.0.1", "2001:db8::1"] {
            assert!(!private.allows(no.parse().unwrap()), "{no}");
        }
    }

    #[test]
    fn an_error_names_the_bad_part() {
        for (value, part) in [
            ("10.0.0.0/33", "33"),
            ("10.0.0.0/x", "x"),
            ("10.0.0.1/255.0.255.0", "255.0.255.0"),
            ("1::/129", "129"),
        ] {
            let error = Access::parse(["10.0.0.1", value]).unwrap_err();
            assert!(error.contains(value) && error.contains(part), "{error}");
        }
    }
}
