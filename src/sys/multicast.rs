//! Multicast sockets for one interface each, the interfaces themselves, and word of their changes.

use std::ffi::CStr;
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::cvt;

/// An address of an interface, and how many of its leading bits are the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// From 0 to 32 or 128.
    pub bits: u32,
}

impl Network {
    /// Whether `other` is in this network. Addresses that IPv6 has for one link only are always in it.
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                let differ = ours.to_bits() ^ other.to_bits();
                differ.checked_shr(32 - self.bits.min(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                let differ = ours.to_bits() ^ other.to_bits();
                other.is_unicast_link_local()
                    || differ.checked_shr(128 - self.bits.min(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number.
    pub index: u32,
    /// Such as `eth0`.
    pub name: String,
    /// Its addresses.
    pub networks: Vec<Network>,
}

/// The interfaces that are up, can do multicast and lead to more than one other machine; loopback is none of them.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut head: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `head` is where the list's start is put.
    cvt(unsafe { libc::getifaddrs(&mut head) })?;
    let mut found: Vec<Interface> = Vec::new();
    let mut at = head;
    while !at.is_null() {
        // SAFETY: a member of the list, which lives until freeifaddrs.
        let entry = unsafe { &*at };
        at = entry.ifa_next;
        let has = |flag: libc::c_int| entry.ifa_flags & flag as libc::c_uint != 0;
        if !has(libc::IFF_UP)
            || !has(libc::IFF_RUNNING)
            || !has(libc::IFF_MULTICAST)
            || has(libc::IFF_LOOPBACK)
            || has(libc::IFF_POINTOPOINT)
        {
            continue;
        }
        // SAFETY: both are null or addresses that the list owns, complete for their families.
        let (Some(address), Some(mask)) = (unsafe { (ip(entry.ifa_addr), ip(entry.ifa_netmask)) }) else {
            continue;
        };
        let bits = match mask {
            IpAddr::V4(mask) => mask.to_bits().leading_ones(),
            IpAddr::V6(mask) => mask.to_bits().leading_ones(),
        };
        // SAFETY: the name is a string that the list owns.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        // SAFETY: the same string.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let network = Network { address, bits };
        match found.iter_mut().find(|interface| interface.index == index) {
            Some(interface) => interface.networks.push(network),
            // Gone meanwhile.
            None if index == 0 => {}
            None => {
                let name = name.to_string_lossy().into_owned();
                found.push(Interface { index, name, networks: vec![network] });
            }
        }
    }
    // SAFETY: the list of above, of which nothing is borrowed any more.
    unsafe { libc::freeifaddrs(head) };
    Ok(found)
}

/// # Safety
/// `address` is null, or points to an address that is complete for its family.
unsafe fn ip(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: not null; every address begins with its family.
    match libc::c_int::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: complete for this family, as our caller promises.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// A socket that hears what is sent to `group` and `port` on the interface `index`, and sends there; others on this machine
/// may have the same. Bound to the group, it takes no datagram that is addressed to this machine alone from anybody.
pub fn socket_v4(group: Ipv4Addr, port: u16, index: u32) -> io::Result<UdpSocket> {
    let socket = datagram_socket(libc::AF_INET)?;
    let at_interface = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: u32::from(group).to_be() },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: index as libc::c_int,
    };
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, at_interface)?;
    set(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, 255)?;
    set(&socket, libc::IPPROTO_IP, libc::IP_TTL, 255)?;
    // Otherwise it would hear what other sockets have joined on other interfaces.
    set(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0)?;
    // SAFETY: the structure is made of integers, for which zero is a value.
    let mut address: libc::sockaddr_in = unsafe { zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = port.to_be();
    address.sin_addr = at_interface.imr_multiaddr;
    bind(&socket, &address)?;
    set(&socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, at_interface)?;
    Ok(socket.into())
}

/// The same for IPv6.
pub fn socket_v6(group: Ipv6Addr, port: u16, index: u32) -> io::Result<UdpSocket> {
    let socket = datagram_socket(libc::AF_INET6)?;
    let group = libc::in6_addr { s6_addr: group.octets() };
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, index as libc::c_int)?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, 255)?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 255)?;
    // SAFETY: the structure is made of integers, for which zero is a value.
    let mut address: libc::sockaddr_in6 = unsafe { zeroed() };
    address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    address.sin6_port = port.to_be();
    address.sin6_addr = group;
    // This binds it to the interface, too.
    address.sin6_scope_id = index;
    bind(&socket, &address)?;
    let member = libc::ipv6_mreq { ipv6mr_multiaddr: group, ipv6mr_interface: index };
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, member)?;
    Ok(socket.into())
}

/// A descriptor that becomes readable when interfaces or their addresses change (rtnetlink(7)).
pub fn changes() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes integers only.
    let fd = cvt(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the structure is made of integers, for which zero is a value.
    let mut address: libc::sockaddr_nl = unsafe { zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR) as u32;
    bind(&socket, &address)?;
    Ok(socket)
}

/// Takes what [`changes`] has to say, without reading it.
pub fn forget_changes(fd: BorrowedFd) {
    let mut buffer = [0u8; 8192];
    loop {
        // SAFETY: pointer and length belong to `buffer`.
        let got = unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        // That some were lost is a change, too, and then there are more.
        if got < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::ENOBUFS) {
            return;
        }
    }
}

fn datagram_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes integers only.
    let fd = cvt(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` lives through the call and has the length that is passed.
    cvt(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) })
        .map(drop)
}

fn bind<T>(socket: &OwnedFd, address: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `address` is complete, lives through the call and has the length that is passed.
    cvt(unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(address).cast(), len) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_bounds() {
        let network = |address: &str, bits| Network { address: address.parse().unwrap(), bits };
        let is_in = |network: Network, other: &str| network.contains(other.parse().unwrap());
        assert!(is_in(network("10.1.2.3", 24), "10.1.2.200"));
        assert!(!is_in(network("10.1.2.3", 24), "10.1.3.3"));
        assert!(is_in(network("10.1.2.3", 0), "8.8.8.8"));
        assert!(!is_in(network("10.1.2.3", 32), "10.1.2.4"));
        assert!(is_in(network("fd00::1", 64), "fd00::2") && !is_in(network("fd00::1", 64), "fd01::2"));
        assert!(is_in(network("fd00::1", 64), "fe80::2"), "link-local");
        assert!(!is_in(network("fd00::1", 0), "10.1.2.3"));
    }
}
