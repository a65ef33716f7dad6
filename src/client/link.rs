//! What carries a job's bytes: a TCP connection, or the pipes of an ssh.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::remote::{Failure, HostFailure};
use super::ssh::Session;
use super::tcp::Tcp;
use crate::hosts::{Host, Place};
use crate::sys::file::{Interest, send_file, wait_for_any};

/// A way to a server.
#[derive(Debug)]
pub enum Link {
    /// To its port.
    Tcp(Tcp),
    /// Through an ssh of ours.
    Ssh(Session),
}

impl Link {
    /// Starts connecting and returns at once, unless a name has to be looked up.
    pub fn start(host: &Host) -> Result<Link, Failure> {
        match &host.place {
            Place::Tcp { name, port } => Tcp::start(name, *port).map(Link::Tcp),
            Place::Ssh { user, name, command } => {
                Session::start(user.as_deref(), name, command.as_deref()).map(Link::Ssh)
            }
            Place::Local => Err(HostFailure::Ssh("this machine has no server".to_owned()).into()),
        }
    }

    /// Waits until the connection stands. An ssh connects while it is written to.
    pub fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Link::Tcp(tcp) => tcp.finish(),
            Link::Ssh(_) => Ok(()),
        }
    }

    /// Prepares for a request of this length.
    pub fn expect(&self, len: usize) {
        if let Link::Ssh(session) = self {
            session.expect(len);
        }
    }

    /// Lets waits to read last until there are `count` bytes or the connection has ended, as long as that takes no more
    /// than a moment: fewer and larger reads cost less.
    pub fn gather(&mut self, count: usize) {
        if let Link::Tcp(tcp) = self {
            tcp.gather(count);
        }
    }

    /// Prepares for a wait of more than a moment.
    pub fn expect_silence(&mut self) {
        if let Link::Tcp(tcp) = self {
            tcp.expect_silence();
        }
    }

    /// Reads what is there.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Tcp(tcp) => tcp.stream.read(buffer),
            Link::Ssh(session) => session.read(buffer),
        }
    }

    /// Writes what there is room for.
    pub fn write(&mut self, pieces: &[IoSlice]) -> io::Result<usize> {
        match self {
            Link::Tcp(tcp) => tcp.stream.write_vectored(pieces),
            Link::Ssh(session) => session.write(pieces),
        }
    }

    /// Writes what there is room for of `len` bytes of `file` from `offset` on.
    pub fn send_file(&mut self, file: &File, offset: u64, len: usize) -> io::Result<usize> {
        match self {
            Link::Tcp(tcp) => send_file(tcp.stream.as_fd(), file.as_fd(), offset, len),
            Link::Ssh(session) => {
                let mut buffer = [0; 16 * 1024];
                let most = len.min(buffer.len());
                let count = file.read_at(&mut buffer[..most], offset)?;
                session.write(&[IoSlice::new(&buffer[..count])])
            }
        }
    }

    /// Waits for what is asked for; tells whether it can be read, or `None` after `timeout`. A signal ends the wait with
    /// `Interrupted`.
    pub fn wait(&mut self, read: bool, write: bool, timeout: Duration) -> io::Result<Option<bool>> {
        match self {
            Link::Tcp(tcp) => {
                let mut interest = [Interest { fd: tcp.stream.as_fd(), read, write }];
                Ok(wait_for_any(&mut interest, timeout)?.then_some(interest[0].read))
            }
            Link::Ssh(session) => session.wait(read, write, timeout),
        }
    }

    /// After a complete reply.
    pub fn end(&mut self) {
        if let Link::Ssh(session) = self {
            session.end();
        }
    }

    /// After an end without a reply: the reason, where the link itself knows more than that.
    pub fn last_words(&mut self) -> Option<String> {
        match self {
            Link::Tcp(_) => None,
            Link::Ssh(session) => Some(session.last_words()),
        }
    }
}
