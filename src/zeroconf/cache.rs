//! What has been heard on one link, for as long as it may be believed, and the servers that it makes (RFC 6762 section 10).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::service_type;
use crate::dns::{Data, Name, Question, Record};
use crate::hosts::offer::Offer;

/// A server that has been found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What it calls itself, such as `distcc@build1`.
    pub name: String,
    /// Where it is, best first; at least one.
    pub addresses: Vec<IpAddr>,
    /// Its port.
    pub port: u16,
    /// What it says of itself.
    pub offer: Offer,
}

/// Records that are kept of a link: hundreds of servers.
const MOST_RECORDS: usize = 512;
/// The longest that any record is believed, in seconds.
const LONGEST_TTL: u32 = 4500;
/// The shares of its time to live, in percent, after which a record is asked for again (section 5.2).
const REFRESH: [u32; 4] = [80, 85, 90, 95];

/// A record that has been heard.
#[derive(Debug)]
pub struct Known {
    /// What was said.
    pub record: Record,
    heard: Instant,
    /// How often it has been asked for again.
    refreshed: usize,
}

impl Known {
    /// When this share of its time, in percent, is over.
    pub fn after(&self, percent: u32) -> Instant {
        self.heard + Duration::from_millis(u64::from(self.record.ttl) * 10 * u64::from(percent))
    }

    /// When it is to be asked for again; never once its time is nearly over.
    pub fn refresh(&self) -> Option<Instant> {
        REFRESH.get(self.refreshed).map(|percent| self.after(*percent))
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Cache {
    records: Vec<Known>,
    has_changed: bool,
}

impl Cache {
    /// Whether [`Cache::servers`] may have changed since this was asked last.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// All servers of which enough is known.
    pub fn servers(&self) -> Vec<Server> {
        self.instances().filter_map(|instance| self.server(instance)).collect()
    }

    /// The instances of our type that are known of.
    pub fn instances(&self) -> impl Iterator<Item = &Name> {
        self.records.iter().filter_map(|it| match &it.record.data {
            Data::Ptr(instance) => Some(instance),
            _ => None,
        })
    }

    /// What is known under a name.
    pub fn of<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a Data> {
        self.records.iter().map(|it| &it.record).filter(move |it| it.name == *name).map(|it| &it.data)
    }

    fn server(&self, instance: &Name) -> Option<Server> {
        let (port, target) = self.of(instance).find_map(|data| match data {
            Data::Srv { port: port @ 1.., target } => Some((*port, target)),
            _ => None,
        })?;
        let text = self.of(instance).find_map(|data| match data {
            Data::Txt(text) => Some(text),
            _ => None,
        })?;
        let mut addresses: Vec<IpAddr> = self.of(target).filter_map(address).collect();
        addresses.sort_unstable_by_key(|address| (preference(address), *address));
        (!addresses.is_empty()).then(|| Server {
            name: instance.first_label(),
            addresses,
            port,
            offer: Offer::from_strings(strings(text)),
        })
    }

    /// Whether a record can be of use: of our type, of an instance of it, or of a machine that one is on.
    pub fn is_wanted(&self, record: &Record) -> bool {
        let service_type = service_type();
        match &record.data {
            Data::Ptr(instance) => record.name == service_type && instance.is_directly_below(&service_type),
            Data::Srv { .. } | Data::Txt(_) => record.name.is_directly_below(&service_type),
            data @ (Data::A(_) | Data::Aaaa(_)) => {
                let is_target = |it: &Known| matches!(&it.record.data, Data::Srv { target, .. } if *target == record.name);
                address(data).is_some_and(|address| is_usable(&address)) && self.records.iter().any(is_target)
            }
            Data::Other(..) => false,
        }
    }

    /// Takes a record in that has just been heard.
    pub fn learn(&mut self, mut record: Record, now: Instant) {
        record.ttl = record.ttl.min(LONGEST_TTL);
        if record.unique {
            // It replaces what was said more than a second ago (section 10.2).
            let is_old = |it: &Known| {
                it.heard + Duration::from_secs(1) < now
                    && it.record.name == record.name
                    && it.record.data.kind() == record.data.kind()
            };
            let before = self.records.len();
            self.records.retain(|it| !is_old(it) || it.record.data == record.data);
            self.has_changed |= self.records.len() < before;
        }
        let same = |it: &Known| it.record.name == record.name && it.record.data == record.data;
        match self.records.iter().position(same) {
            // Taken back. Others may know it a second longer; who is asked for servers wants none that ends.
            Some(at) if record.ttl == 0 => {
                self.records.swap_remove(at);
                self.has_changed = true;
            }
            Some(at) => self.records[at] = Known { record, heard: now, refreshed: 0 },
            None if record.ttl == 0 || self.records.len() >= MOST_RECORDS => {}
            None => {
                self.records.push(Known { record, heard: now, refreshed: 0 });
                self.has_changed = true;
            }
        }
    }

    /// Forgets what is out of date, and says whether there was any.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = self.records.len();
        self.records.retain(|it| now < it.after(100));
        let changed = self.records.len() < before;
        self.has_changed |= changed;
        changed
    }

    /// What is to be asked for again because its time is running out; not again until more of that is over.
    pub fn take_refreshes(&mut self, now: Instant) -> Vec<Question> {
        let mut questions = Vec::new();
        for known in &mut self.records {
            while known.refresh().is_some_and(|at| at <= now) {
                known.refreshed += 1;
                let (name, kind) = (known.record.name.clone(), known.record.data.kind());
                let question = Question { name, kind, unicast: false };
                if !questions.contains(&question) {
                    questions.push(question);
                }
            }
        }
        questions
    }

    /// Answers that nobody needs to give again: instances, with the time that is left to them.
    pub fn recent_instances(&self, now: Instant) -> impl Iterator<Item = Record> {
        let is_recent = move |it: &&Known| matches!(it.record.data, Data::Ptr(_)) && now < it.after(50);
        self.records.iter().filter(is_recent).map(move |known| {
            let left = known.after(100).saturating_duration_since(now).as_secs() as u32;
            Record { ttl: left, ..known.record.clone() }
        })
    }

    /// When something is to be asked for again or forgotten.
    pub fn deadline(&self) -> Option<Instant> {
        self.records.iter().map(|it| it.refresh().unwrap_or_else(|| it.after(100))).min()
    }
}

fn address(data: &Data) -> Option<IpAddr> {
    match data {
        Data::A(address) => Some((*address).into()),
        Data::Aaaa(address) => Some((*address).into()),
        _ => None,
    }
}

/// Whether it can be the address of a neighbour.
fn is_usable(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
}

/// IPv4 first: stock daemons mostly name no IPv6 network with `--allow`. An address that needs an interface comes last.
fn preference(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) if !address.is_unicast_link_local() => 1,
        IpAddr::V6(_) => 2,
    }
}

/// The strings of a text record, as far as it is one.
fn strings(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = text.split_first()?;
        let (string, rest) = rest.split_at_checked(usize::from(*len))?;
        text = rest;
        Some(string)
    })
}
