//! Who gets in, who makes way, and the end of letting in.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mio::Token;

use super::{CROWD, Worker, listener_token};
use crate::daemon::connection::Connection;
use crate::daemon::limits::Connections;
use crate::daemon::message::Report;
use crate::daemon::session::Stage;
use crate::daemon::stream::{Peer, Stream};
use crate::exitcode::ExitCode;
use crate::sys::file;

/// How long accepting rests when it has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a request may still take to come in once no new ones are taken.
const LAST_CHANCE: Duration = Duration::from_secs(10);

impl Worker<'_> {
    /// Accepts one connection; the next comes with the next turn, so that other workers get theirs.
    pub(super) fn accept(&mut self, at: usize) {
        let Some(listener) = self.listeners.get(at) else { return };
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            Err(e) => {
                match e.kind() {
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {
                        self.again(listener_token(at))
                    }
                    // Another worker has been told to drain before us.
                    io::ErrorKind::InvalidInput => {}
                    // Descriptors or memory are short. An edge-triggered event for those who wait does not come
                    // again.
                    _ => {
                        self.complain(format_args!("cannot accept a connection: {e}"));
                        self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                    }
                }
                return;
            }
        };
        self.again(listener_token(at));
        let _ = stream.set_nodelay(true);
        self.admit(Stream::Tcp(stream), Peer::Tcp(peer));
    }

    /// Lets a client in, if it may.
    pub(super) fn admit(&mut self, mut stream: Stream, peer: Peer) {
        if !self.policy.allows(peer) {
            self.complain(format_args!("connection from client '{peer}' denied by access list"));
            self.end.exit_code = ExitCode::AccessDenied as u8;
            self.report(|| Report::Denied);
            return;
        }
        if !self.make_room(peer) {
            self.complain(format_args!("connection from client '{peer}' refused: too many connections"));
            self.report(|| Report::Denied);
            return;
        }
        log::info!("connection from {peer}");
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        if let Err(e) = stream.register(self.poll.registry(), Token(id as usize)) {
            self.complain(format_args!("cannot watch a connection: {e}"));
            self.end.exit_code = ExitCode::IoError as u8;
            return;
        }
        self.crowded |= self.connections.len() >= CROWD;
        self.connections.insert(id, Box::new(Connection::new(stream, peer, self.policy.silence)));
        self.report(|| Report::Accepted(id));
        // The request usually lies there already.
        self.serve(id);
    }

    /// Whether one more client fits; one that has sent nothing yet makes way, the longest waiting first.
    pub(super) fn make_room(&mut self, peer: Peer) -> bool {
        let Connections { all, per_address } = self.policy.connections;
        let of_address = |it: &Connection| it.peer.ip() == peer.ip();
        let count = self.connections.len();
        // Who has more than its share makes way itself.
        let crowded = count >= per_address
            && self.connections.values().filter(|it| of_address(it)).count() >= per_address;
        if !crowded && count < all {
            return true;
        }
        let silent = self
            .connections
            .iter()
            .filter(|(_, it)| it.session.is_untouched() && (!crowded || of_address(it)));
        let Some(oldest) = silent.min_by_key(|(_, it)| it.started).map(|(id, _)| *id) else { return false };
        self.close(oldest);
        true
    }

    pub(super) fn complain(&mut self, complaint: std::fmt::Arguments) {
        if self.may_complain() {
            log::warn!("{complaint}");
        }
    }

    /// Whether one more complaint may be written; if not, it is counted.
    pub(super) fn may_complain(&mut self) -> bool {
        self.complaints.may_write(Instant::now())
    }

    /// Tells how many complaints have been left out, if `left_out` are any.
    pub(super) fn tell_left_out(left_out: Option<u32>) {
        if let Some(count) = left_out {
            log::warn!("{count} more complaints about clients were left out");
        }
    }

    /// No new connections; those from which nothing has come are let go, the others finish.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        // Closing is not enough: the supervisor has the socket too, and the kernel would go on accepting for it.
        for listener in self.listeners.drain(..) {
            file::stop_listening(listener.as_fd());
        }
        // Who is still sending has a last chance.
        let last = Instant::now() + LAST_CHANCE;
        for connection in self.connections.values_mut().filter(|it| it.session.stage() == Stage::Receiving) {
            connection.deadline = connection.deadline.min(last);
        }
        let idle: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.session.is_untouched() || connection.lingering)
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.close(id);
        }
    }
}
