//! What supervisor and workers say to each other: one packet each on a socket pair between processes of the
//! same program.

use std::net::{IpAddr, Ipv6Addr};

/// The longest message.
pub const MAX_LEN: usize = 21;

/// From a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToSupervisor {
    /// This job of the client at this address wants a compile slot.
    Want(u32, IpAddr),
    /// This job needs its slot, or its place in the queue, no longer.
    GiveBack(u32),
    /// This job's compiler leads the process group with this number.
    Runs(u32, i32),
}

/// From the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToWorker {
    /// This job may compile.
    Grant(u32),
    /// Take no new connections; end when those you have are done.
    Drain,
    /// End now, and let nothing behind.
    Stop,
}

impl ToSupervisor {
    /// The packet.
    pub fn encode(self) -> Vec<u8> {
        match self {
            ToSupervisor::Want(job, client) => {
                let ip = match client {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                [&[b'W'][..], &job.to_ne_bytes(), &ip.octets()].concat()
            }
            ToSupervisor::GiveBack(job) => [&[b'B'][..], &job.to_ne_bytes()].concat(),
            ToSupervisor::Runs(job, group) => {
                [&[b'R'][..], &job.to_ne_bytes(), &group.to_ne_bytes()].concat()
            }
        }
    }

    /// `None` for what no worker sends.
    pub fn decode(packet: &[u8]) -> Option<ToSupervisor> {
        let (kind, rest) = packet.split_first()?;
        let (job, rest) = rest.split_first_chunk()?;
        let job = u32::from_ne_bytes(*job);
        match kind {
            b'W' => {
                let ip: [u8; 16] = rest.try_into().ok()?;
                Some(ToSupervisor::Want(job, Ipv6Addr::from(ip).to_canonical()))
            }
            b'B' => Some(ToSupervisor::GiveBack(job)),
            b'R' => Some(ToSupervisor::Runs(job, i32::from_ne_bytes(rest.try_into().ok()?))),
            _ => None,
        }
    }
}

impl ToWorker {
    /// The packet.
    pub fn encode(self) -> Vec<u8> {
        match self {
            ToWorker::Grant(job) => [&[b'G'][..], &job.to_ne_bytes()].concat(),
            ToWorker::Drain => vec![b'D'],
            ToWorker::Stop => vec![b'S'],
        }
    }

    /// `None` for what no supervisor sends.
    pub fn decode(packet: &[u8]) -> Option<ToWorker> {
        match packet.split_first()? {
            (b'G', job) => Some(ToWorker::Grant(u32::from_ne_bytes(job.try_into().ok()?))),
            (b'D', []) => Some(ToWorker::Drain),
            (b'S', []) => Some(ToWorker::Stop),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        for message in [
            ToSupervisor::Want(7, "10.0.0.1".parse().unwrap()),
            ToSupervisor::Want(8, "fe80::1".parse().unwrap()),
            ToSupervisor::GiveBack(9),
            ToSupervisor::Runs(9, 4711),
        ] {
            assert!(message.encode().len() <= MAX_LEN);
            assert_eq!(ToSupervisor::decode(&message.encode()), Some(message));
        }
        for message in [ToWorker::Grant(u32::MAX), ToWorker::Drain, ToWorker::Stop] {
            assert_eq!(ToWorker::decode(&message.encode()), Some(message));
        }
    }
}
