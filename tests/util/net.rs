//! Connections as the standard library does not make them: from a chosen address, and ended with a reset.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// One of this machine's many addresses, for tests with many clients.
pub fn loopback(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1 + (number / 250 % 250) as u8, 1 + (number % 250) as u8)
}

/// A connection to this port of 127.0.0.1 that comes from `source`. With `receive_buffer`, the kernel holds about so many
/// bytes of the answer.
#[allow(unsafe_code)]
pub fn connect_from(source: Ipv4Addr, port: u16, receive_buffer: Option<i32>) -> io::Result<TcpStream> {
    // SAFETY: a bare system call; the descriptor is owned by nobody else.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        check(fd)?;
        OwnedFd::from_raw_fd(fd)
    };
    if let Some(bytes) = receive_buffer {
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    }
    // Else a port is taken for all destinations, and there are too few of them.
    set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    let len = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let (from, to) = (address(source, 0), address(Ipv4Addr::LOCALHOST, port));
    // SAFETY: both addresses are complete, live through the calls, and have the length that is passed.
    unsafe {
        check(libc::bind(socket.as_raw_fd(), (&raw const from).cast(), len))?;
        check(libc::connect(socket.as_raw_fd(), (&raw const to).cast(), len))?;
    }
    Ok(TcpStream::from(socket))
}

/// Closes so that the peer gets a reset.
pub fn reset(stream: TcpStream) {
    let _ = set_option(&stream, libc::SOL_SOCKET, libc::SO_LINGER, libc::linger { l_onoff: 1, l_linger: 0 });
}

#[allow(unsafe_code)]
fn set_option<T>(socket: &impl AsRawFd, level: i32, name: i32, value: T) -> io::Result<()> {
    let len = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` lives through the call and has the length that is passed.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) })
}

fn address(ip: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(ip).to_be() },
        sin_zero: [0; 8],
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
