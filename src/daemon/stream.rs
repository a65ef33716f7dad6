//! What a job's bytes come and go through: a TCP connection, or the standard input and output of inetd and ssh.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::sys::file;

/// A client's byte stream, which does not block.
#[derive(Debug)]
pub enum Stream {
    /// A connection.
    Tcp(TcpStream),
    /// Two one-way streams, or the same local socket twice.
    Pipes {
        /// From the client.
        input: File,
        /// To the client.
        output: File,
    },
}

/// Whose stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A machine's.
    Tcp(SocketAddr),
    /// A local process's, through a socket.
    Local,
    /// Somebody's who has started us with pipes, such as sshd.
    Pipe,
}

impl Peer {
    /// The address and port; local peers have this machine's, and no port.
    pub fn address(self) -> SocketAddr {
        match self {
            Peer::Tcp(address) => SocketAddr::new(address.ip().to_canonical(), address.port()),
            Peer::Local | Peer::Pipe => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        }
    }

    /// The address that slots are shared out by. All local peers count as one.
    pub fn ip(self) -> IpAddr {
        self.address().ip()
    }
}

/// As stock writes it into the line per job: IPv6 addresses have no brackets.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Peer::Tcp(_) => write!(f, "{}:{}", self.ip(), self.address().port()),
            Peer::Local => f.write_str("UNIX-DOMAIN"),
            Peer::Pipe => f.write_str("NOTSOCKET"),
        }
    }
}

impl Stream {
    /// Takes standard input and output over, and puts [`file::null`] in their place.
    pub fn from_standard_streams() -> io::Result<(Stream, Peer)> {
        let (input, output) = (file::duplicate(io::stdin().as_fd())?, file::duplicate(io::stdout().as_fd())?);
        file::close_standard_input_and_output()?;
        file::set_nonblocking(input.as_fd(), true)?;
        let (input, output) = (File::from(input), File::from(output));
        if !input.metadata()?.file_type().is_socket() {
            file::set_nonblocking(output.as_fd(), true)?;
            return Ok((Stream::Pipes { input, output }, Peer::Pipe));
        }
        let socket = std::net::TcpStream::from(std::os::fd::OwnedFd::from(input.try_clone()?));
        match socket.peer_addr() {
            Ok(address) => Ok((Stream::Tcp(TcpStream::from_std(socket)), Peer::Tcp(address))),
            // A socket of another family: std understands IP addresses only.
            Err(_) => {
                file::set_nonblocking(output.as_fd(), true)?;
                Ok((Stream::Pipes { input, output }, Peer::Local))
            }
        }
    }

    /// Has events reported under `token`. They are edge-triggered: writability is reported when a full stream has room
    /// again, and costs nothing before that.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => registry.register(stream, token, Interest::READABLE | Interest::WRITABLE),
            Stream::Pipes { input, output } => {
                registry.register(&mut SourceFd(&input.as_raw_fd()), token, Interest::READABLE)?;
                match registry.register(&mut SourceFd(&output.as_raw_fd()), token, Interest::WRITABLE) {
                    // A file or /dev/null, which always has room and so nothing to report.
                    Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                    result => result,
                }
            }
        }
    }

    /// Where the client's bytes come from.
    pub fn in_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Pipes { input, .. } => input.as_fd(),
        }
    }

    /// Where `sendfile` can write to.
    pub fn out_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Pipes { output, .. } => output.as_fd(),
        }
    }

    /// Tells the client that nothing more comes.
    pub fn finish_writing(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Pipes { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Pipes { input, .. } => input.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Pipes { output, .. } => output.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
