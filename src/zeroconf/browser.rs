//! Looks for servers on one link: asks, remembers for as long as the answers may be believed, asks again in time
//! (RFC 6762 sections 5 and 10).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::random::Random;
use super::{MAX_SENT, PORT, Speaker, service_type};
use crate::dns::{Data, Message, Name, Question, Record, Writer, kind};
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

/// Questions are repeated after 1 s, then 2 s, 4 s and so on up to this (section 5.2).
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// Records that are kept of a link: hundreds of servers.
const MOST_RECORDS: usize = 512;
/// Questions that are open at once, and how soon after an answer they are thought of: the rest of it may come at once.
const MOST_LACKS: usize = 64;
const SECOND_THOUGHT: Duration = Duration::from_millis(50);
/// The longest that any record is believed, in seconds.
const LONGEST_TTL: u32 = 4500;
/// The shares of its time to live, in percent, after which a record is asked for again (section 5.2).
const REFRESH: [u32; 4] = [80, 85, 90, 95];

/// A record that has been heard.
#[derive(Debug)]
struct Known {
    record: Record,
    heard: Instant,
    /// How often it has been asked for again.
    refreshed: usize,
}

impl Known {
    fn after(&self, percent: u32) -> Instant {
        self.heard + Duration::from_millis(u64::from(self.record.ttl) * 10 * u64::from(percent))
    }

    fn refresh(&self) -> Option<Instant> {
        REFRESH.get(self.refreshed).map(|percent| self.after(*percent))
    }
}

/// A question whose answer is needed to reach a server.
#[derive(Debug)]
struct Lack {
    question: Question,
    again: Instant,
    interval: Duration,
}

/// The state of one link.
#[derive(Debug)]
pub struct Browser {
    random: Random,
    known: Vec<Known>,
    lacks: Vec<Lack>,
    /// When to look what is lacking, if anything has changed since.
    think: Option<Instant>,
    next_query: Instant,
    interval: Duration,
    has_changed: bool,
    messages: VecDeque<Vec<u8>>,
}

impl Browser {
    /// Asks at once: somebody waits for the answer.
    pub fn new(now: Instant) -> Browser {
        Browser {
            random: Random::new(),
            known: Vec::new(),
            lacks: Vec::new(),
            think: None,
            next_query: now,
            interval: Duration::from_secs(1),
            has_changed: false,
            messages: VecDeque::new(),
        }
    }

    /// Whether [`Browser::servers`] may have changed since this was asked last.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// All servers of which enough is known.
    pub fn servers(&self) -> Vec<Server> {
        self.instances().filter_map(|instance| self.server(instance)).collect()
    }

    fn instances(&self) -> impl Iterator<Item = &Name> {
        self.known.iter().filter_map(|it| match &it.record.data {
            Data::Ptr(instance) => Some(instance),
            _ => None,
        })
    }

    fn of<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a Data> {
        self.known.iter().map(|it| &it.record).filter(move |it| it.name == *name).map(|it| &it.data)
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
        addresses.sort_by_key(|address| (preference(address), *address));
        (!addresses.is_empty()).then(|| Server {
            name: instance.first_label(),
            addresses,
            port,
            offer: Offer::from_strings(strings(text)),
        })
    }

    /// Whether a record can be of use: of our type, of an instance of it, or of a machine that one is on.
    fn is_wanted(&self, record: &Record) -> bool {
        let service_type = service_type();
        match &record.data {
            Data::Ptr(instance) => record.name == service_type && instance.is_directly_below(&service_type),
            Data::Srv { .. } | Data::Txt(_) => record.name.is_directly_below(&service_type),
            data @ (Data::A(_) | Data::Aaaa(_)) => {
                let is_target = |it: &Known| matches!(&it.record.data, Data::Srv { target, .. } if *target == record.name);
                address(data).is_some_and(|address| is_usable(&address)) && self.known.iter().any(is_target)
            }
            Data::Other(..) => false,
        }
    }

    fn learn(&mut self, mut record: Record, now: Instant) {
        record.ttl = record.ttl.min(LONGEST_TTL);
        if record.unique {
            // It replaces what was said more than a second ago (section 10.2).
            let is_old = |it: &Known| {
                it.heard + Duration::from_secs(1) < now
                    && it.record.name == record.name
                    && it.record.data.kind() == record.data.kind()
            };
            let before = self.known.len();
            self.known.retain(|it| !is_old(it) || it.record.data == record.data);
            self.has_changed |= self.known.len() < before;
        }
        let same = |it: &Known| it.record.name == record.name && it.record.data == record.data;
        match self.known.iter().position(same) {
            // Taken back. Others may know it a second longer; who is asked for servers wants none that ends.
            Some(at) if record.ttl == 0 => {
                self.known.swap_remove(at);
                self.has_changed = true;
            }
            Some(at) => self.known[at] = Known { record, heard: now, refreshed: 0 },
            None if record.ttl == 0 || self.known.len() >= MOST_RECORDS => {}
            None => {
                self.known.push(Known { record, heard: now, refreshed: 0 });
                self.has_changed = true;
            }
        }
    }

    /// What is asked for, besides servers, to reach those that are known.
    fn note_lacks(&mut self, now: Instant) {
        let mut questions = Vec::new();
        for instance in self.instances() {
            if questions.len() >= MOST_LACKS {
                break;
            }
            let mut target = None;
            let mut has_text = false;
            for data in self.of(instance) {
                match data {
                    Data::Srv { target: name, .. } => target = Some(name),
                    Data::Txt(_) => has_text = true,
                    _ => {}
                }
            }
            let mut ask = |name: &Name, kind| {
                questions.push(Question { name: name.clone(), kind, unicast: false });
            };
            match target {
                None => ask(instance, kind::SRV),
                Some(target) if self.of(target).next().is_none() => {
                    ask(target, kind::A);
                    ask(target, kind::AAAA);
                }
                Some(_) => {}
            }
            if !has_text {
                ask(instance, kind::TXT);
            }
        }
        self.lacks.retain(|lack| questions.contains(&lack.question));
        for question in questions {
            if self.lacks.iter().all(|lack| lack.question != question) {
                self.lacks.push(Lack { question, again: now, interval: Duration::from_secs(1) });
            }
        }
    }

    fn ask(&mut self, now: Instant) {
        let mut questions: Vec<Question> = Vec::new();
        let browses = self.next_query <= now;
        if browses {
            questions.push(Question { name: service_type(), kind: kind::PTR, unicast: false });
            self.next_query = now + self.interval + self.random.millis(0..100);
            self.interval = (self.interval * 2).min(LONGEST_INTERVAL);
        }
        for lack in self.lacks.iter_mut().filter(|lack| lack.again <= now) {
            questions.push(lack.question.clone());
            lack.again = now + lack.interval;
            lack.interval = (lack.interval * 2).min(LONGEST_INTERVAL);
        }
        for known in &mut self.known {
            while known.refresh().is_some_and(|at| at <= now) {
                known.refreshed += 1;
                let (name, kind) = (known.record.name.clone(), known.record.data.kind());
                let question = Question { name, kind, unicast: false };
                if !questions.contains(&question) {
                    questions.push(question);
                }
            }
        }
        let mut writer = Writer::query();
        for question in questions {
            if writer.len() > MAX_SENT {
                self.messages.push_back(std::mem::replace(&mut writer, Writer::query()).finish());
            }
            writer.question(&question);
        }
        let is_new = |it: &&Known| matches!(it.record.data, Data::Ptr(_)) && now < it.after(50);
        for known in self.known.iter().filter(is_new).take_while(|_| browses) {
            if writer.len() > MAX_SENT {
                break;
            }
            let left = known.after(100).saturating_duration_since(now).as_secs() as u32;
            writer.answer(&Record { ttl: left, ..known.record.clone() });
        }
        if !writer.is_empty() {
            self.messages.push_back(writer.finish());
        }
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

impl Speaker for Browser {
    fn hear(&mut self, message: &[u8], from: SocketAddr, now: Instant) {
        if from.port() != PORT {
            return;
        }
        let Ok(Some(message)) = Message::decode(message) else { return };
        if !message.is_response {
            return;
        }
        // Names before what they lead to.
        let order = |record: &Record| match record.data {
            Data::Ptr(_) => 0,
            Data::Srv { .. } | Data::Txt(_) => 1,
            _ => 2,
        };
        let mut records: Vec<Record> = message.answers.into_iter().chain(message.additionals).collect();
        records.sort_by_key(order);
        for record in records {
            if self.is_wanted(&record) {
                self.learn(record, now);
                self.think.get_or_insert(now + SECOND_THOUGHT);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let known = self.known.iter().map(|it| it.refresh().unwrap_or_else(|| it.after(100)));
        let lacks = self.lacks.iter().map(|lack| lack.again);
        known.chain(lacks).chain(self.think).chain([self.next_query]).min()
    }

    fn advance(&mut self, now: Instant) {
        let before = self.known.len();
        self.known.retain(|it| now < it.after(100));
        if self.known.len() < before {
            self.has_changed = true;
            self.think = Some(now);
        }
        if self.think.is_some_and(|at| at <= now) {
            self.think = None;
            self.note_lacks(now);
        }
        self.ask(now);
    }

    fn set_addresses(&mut self, _link: &[IpAddr], _machine: &[IpAddr], now: Instant) {
        // Others may be there now.
        self.next_query = now;
        self.interval = Duration::from_secs(1);
    }

    fn next_message(&mut self) -> Option<(Option<SocketAddr>, Vec<u8>)> {
        self.messages.pop_front().map(|message| (None, message))
    }
}
