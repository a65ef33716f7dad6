//! What supervisor and workers say to each other: one packet each on a socket pair between processes of the
//! same program.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::daemon::stats::{Finished, Job, JobEnd};

/// The longest message.
pub const MAX_LEN: usize = 256;
/// How much of a name is told; of a longer one the end, which says more.
const MAX_NAME: usize = 100;

/// From a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToSupervisor {
    /// This job of the client at this address wants a compile slot.
    Want(u32, IpAddr),
    /// This job needs its slot, or its place in the queue, no longer.
    GiveBack(u32),
    /// This job's compiler leads the process group with this number.
    Runs(u32, i32),
    /// For the statistics; sent only where they are wanted.
    Report(Report),
}

/// What the statistics count. The number is the connection's, which is also that of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A new connection.
    Accepted(u32),
    /// A connection from a client that is not served.
    Denied,
    /// The compiler has been started.
    Started(u32, Job),
    /// The connection has ended.
    Finished(u32, Finished),
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
    pub fn encode(&self) -> Vec<u8> {
        match self {
            ToSupervisor::Want(job, client) => [&[b'W'][..], &job.to_ne_bytes(), &octets(*client)].concat(),
            ToSupervisor::GiveBack(job) => [&[b'B'][..], &job.to_ne_bytes()].concat(),
            ToSupervisor::Runs(job, group) => {
                [&[b'R'][..], &job.to_ne_bytes(), &group.to_ne_bytes()].concat()
            }
            ToSupervisor::Report(report) => report.encode(),
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
            _ => Report::decode(*kind, job, rest).map(ToSupervisor::Report),
        }
    }
}

impl Report {
    fn encode(&self) -> Vec<u8> {
        match self {
            Report::Accepted(id) => [&[b'a'][..], &id.to_ne_bytes()].concat(),
            Report::Denied => [&[b'd'][..], &0u32.to_ne_bytes()].concat(),
            Report::Started(id, job) => {
                let (compiler, file) = (end_of(&job.compiler), end_of(&job.file));
                [
                    &[b's'][..],
                    &id.to_ne_bytes(),
                    &octets(job.client.ip()),
                    &job.client.port().to_ne_bytes(),
                    &[compiler.len() as u8],
                    compiler,
                    file,
                ]
                .concat()
            }
            Report::Finished(id, Finished { end, time, compile_time, received, sent }) => [
                &[b'f'][..],
                &id.to_ne_bytes(),
                &[*end as u8],
                &time.to_ne_bytes(),
                &compile_time.to_ne_bytes(),
                &received.to_ne_bytes(),
                &sent.to_ne_bytes(),
            ]
            .concat(),
        }
    }

    fn decode(kind: u8, id: u32, mut rest: &[u8]) -> Option<Report> {
        let report = match kind {
            b'a' => Report::Accepted(id),
            b'd' => Report::Denied,
            b's' => {
                let ip = Ipv6Addr::from(take::<16>(&mut rest)?).to_canonical();
                let port = u16::from_ne_bytes(take(&mut rest)?);
                let [len] = take(&mut rest)?;
                let (compiler, file) = std::mem::take(&mut rest).split_at_checked(len.into())?;
                let client = SocketAddr::new(ip, port);
                Report::Started(id, Job { client, compiler: compiler.to_vec(), file: file.to_vec() })
            }
            b'f' => {
                let [end] = take(&mut rest)?;
                Report::Finished(
                    id,
                    Finished {
                        end: *JobEnd::ALL.get(usize::from(end))?,
                        time: u32::from_ne_bytes(take(&mut rest)?),
                        compile_time: u32::from_ne_bytes(take(&mut rest)?),
                        received: u64::from_ne_bytes(take(&mut rest)?),
                        sent: u64::from_ne_bytes(take(&mut rest)?),
                    },
                )
            }
            _ => return None,
        };
        rest.is_empty().then_some(report)
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn end_of(name: &[u8]) -> &[u8] {
    &name[name.len().saturating_sub(MAX_NAME)..]
}

fn take<const LEN: usize>(bytes: &mut &[u8]) -> Option<[u8; LEN]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
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

    fn job(compiler: &[u8], file: &[u8]) -> Job {
        let client = "10.0.0.1:5".parse().unwrap();
        Job { client, compiler: compiler.to_vec(), file: file.to_vec() }
    }

    #[test]
    fn of_a_long_name_the_end_is_told() {
        let file = [&[b'/'; 5000][..], b"a.c"].concat();
        let packet = ToSupervisor::Report(Report::Started(1, job(b"gcc", &file))).encode();
        match ToSupervisor::decode(&packet) {
            Some(ToSupervisor::Report(Report::Started(1, job))) => {
                assert_eq!(job.file, file[file.len() - MAX_NAME..]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_come_back() {
        for message in [
            ToSupervisor::Want(7, "10.0.0.1".parse().unwrap()),
            ToSupervisor::Want(8, "fe80::1".parse().unwrap()),
            ToSupervisor::GiveBack(9),
            ToSupervisor::Runs(9, 4711),
            ToSupervisor::Report(Report::Accepted(1)),
            ToSupervisor::Report(Report::Denied),
            ToSupervisor::Report(Report::Started(2, job(b"gcc", b"a.c"))),
            ToSupervisor::Report(Report::Started(2, job(b"", b""))),
            ToSupervisor::Report(Report::Started(2, job(&[b'c'; MAX_NAME], &[0xff; MAX_NAME]))),
            ToSupervisor::Report(Report::Finished(
                3,
                Finished { end: JobEnd::Busy, time: 4, compile_time: 5, received: 6, sent: u64::MAX },
            )),
        ] {
            let packet = message.encode();
            assert!(packet.len() <= MAX_LEN);
            assert_eq!(ToSupervisor::decode(&packet), Some(message));
            for len in 0..packet.len() {
                // What is cut may mean something else, but harms nobody.
                ToSupervisor::decode(&packet[..len]);
            }
        }
        for message in [ToWorker::Grant(u32::MAX), ToWorker::Drain, ToWorker::Stop] {
            assert_eq!(ToWorker::decode(&message.encode()), Some(message));
        }
    }
}
