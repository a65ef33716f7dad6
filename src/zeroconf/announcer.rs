//! Says on one link that a server is there: claims its names, announces it, answers questions, takes it all back
//! (RFC 6762 sections 6, 8 to 10).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::random::Random;
use super::{PORT, Speaker, service_type};
use crate::dns::{Data, Message, Name, Question, Record, Writer, kind};

/// What is announced, the same on all links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// This machine's name, without a domain.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// What it says of itself, `KEY=VALUE`.
    pub text: Vec<String>,
    /// The kind of compilers it has, in stock's form; part of a name.
    pub subtype: Option<String>,
}

// Times to live, in seconds: 120 for what depends on the host's name or address, otherwise 75 minutes (section 10).
const HOST_TTL: u32 = 120;
const OTHER_TTL: u32 = 4500;
/// Of what goes to askers that do not know multicast DNS, at most (section 6.7).
const LEGACY_TTL: u32 = 10;

// Sections 8.1 and 8.3.
const PROBES: u8 = 3;
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);
/// Who loses against a simultaneous probe waits so long (section 8.2).
const DEFERENCE: Duration = Duration::from_secs(1);
/// After so many conflicts each further name is tried only after a pause (section 8.1).
const QUICK_RENAMES: u32 = 15;
const SLOW_RENAME: Duration = Duration::from_secs(5);
/// No record is sent to all more often (section 6), but to defend it against a probe.
const REPEAT: Duration = Duration::from_secs(1);
const DEFENCE_REPEAT: Duration = Duration::from_millis(250);
/// Answers to single askers, each of which may be somebody else than it says: so many per [`REPEAT`].
const MOST_SINGLE: u8 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// So many probes are out.
    Probing(u8),
    /// So many announcements are out.
    Announcing(u8),
    Settled,
    /// All is taken back.
    Gone,
}

/// A record of ours, and when it is sent.
#[derive(Debug)]
struct Own {
    record: Record,
    due: Option<Instant>,
    sent: Option<Instant>,
}

/// The state of one link.
#[derive(Debug)]
pub struct Announcer {
    service: Rc<Service>,
    random: Random,
    /// 1 and up: part of the names from 2.
    attempt: u32,
    phase: Phase,
    /// When the phase goes on.
    next: Option<Instant>,
    addresses: Vec<IpAddr>,
    machine: Vec<IpAddr>,
    records: Vec<Own>,
    /// Whose list of known answers is not complete.
    talking: Option<IpAddr>,
    /// Answers to single askers since then.
    single: (Instant, u8),
    messages: VecDeque<(Option<SocketAddr>, Vec<u8>)>,
}

impl Announcer {
    /// Begins as soon as there is an address.
    pub fn new(service: Rc<Service>, now: Instant) -> Announcer {
        Announcer {
            service,
            random: Random::new(),
            attempt: 1,
            phase: Phase::Probing(0),
            next: None,
            addresses: Vec::new(),
            machine: Vec::new(),
            records: Vec::new(),
            talking: None,
            single: (now, 0),
            messages: VecDeque::new(),
        }
    }

    /// The name of the instance, as it is or is to be.
    pub fn instance(&self) -> Name {
        let host = &self.service.host;
        service_type().below(&match self.attempt {
            1 => format!("distcc@{host}"),
            // As Avahi renames.
            attempt => format!("distcc@{host} #{attempt}"),
        })
    }

    /// Not the machine's own name, which is somebody else's to announce.
    fn host(&self) -> Name {
        let host = &self.service.host;
        let label = match self.attempt {
            1 => format!("{host}-distccd"),
            attempt => format!("{host}-distccd-{attempt}"),
        };
        Name::new([label.as_str(), "local"])
    }

    /// Whether the names are ours and all has been said.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// Takes everything back.
    pub fn farewell(&mut self) {
        if matches!(self.phase, Phase::Announcing(_) | Phase::Settled) {
            let mut writer = Writer::response(0);
            for own in &self.records {
                writer.answer(&Record { ttl: 0, ..own.record.clone() });
            }
            self.messages.push_back((None, writer.finish()));
        }
        self.phase = Phase::Gone;
        self.next = None;
    }

    fn build_records(&mut self) {
        let (instance, host, service_type) = (self.instance(), self.host(), service_type());
        let shared = |name: &Name, data| Record { name: name.clone(), unique: false, ttl: OTHER_TTL, data };
        let mut records = vec![
            shared(&service_type, Data::Ptr(instance.clone())),
            shared(&Name::new(["_services", "_dns-sd", "_udp", "local"]), Data::Ptr(service_type.clone())),
        ];
        if let Some(subtype) = &self.service.subtype {
            let name = service_type.below("_sub").below(subtype);
            records.push(shared(&name, Data::Ptr(instance.clone())));
        }
        let unique = |name: &Name, ttl, data| Record { name: name.clone(), unique: true, ttl, data };
        let strings = self.service.text.iter().filter(|string| string.len() <= 255);
        let text = strings.flat_map(|it| std::iter::once(it.len() as u8).chain(it.bytes())).collect();
        records.push(unique(
            &instance,
            HOST_TTL,
            Data::Srv { port: self.service.port, target: host.clone() },
        ));
        records.push(unique(&instance, OTHER_TTL, Data::Txt(text)));
        for address in &self.addresses {
            let data = match *address {
                IpAddr::V4(address) => Data::A(address),
                IpAddr::V6(address) => Data::Aaaa(address),
            };
            records.push(unique(&host, HOST_TTL, data));
        }
        self.records = records.into_iter().map(|record| Own { record, due: None, sent: None }).collect();
    }

    fn probe_later(&mut self, now: Instant, delay: Duration) {
        self.build_records();
        self.phase = Phase::Probing(0);
        self.next = Some(now + delay);
    }

    fn rename(&mut self, now: Instant) {
        self.attempt += 1;
        let delay = if self.attempt > QUICK_RENAMES { SLOW_RENAME } else { self.random.millis(0..250) };
        self.probe_later(now, delay);
    }

    fn advance_phase(&mut self, now: Instant) {
        self.next = match self.phase {
            Phase::Probing(PROBES) => {
                self.phase = Phase::Announcing(0);
                Some(now)
            }
            Phase::Probing(sent) => {
                self.probe();
                self.phase = Phase::Probing(sent + 1);
                Some(now + PROBE_INTERVAL)
            }
            Phase::Announcing(sent) => {
                for own in &mut self.records {
                    own.due = Some(now);
                }
                let is_last = sent + 1 == ANNOUNCEMENTS;
                self.phase = if is_last { Phase::Settled } else { Phase::Announcing(sent + 1) };
                (!is_last).then(|| now + ANNOUNCE_INTERVAL)
            }
            Phase::Settled | Phase::Gone => None,
        };
    }

    fn probe(&mut self) {
        let mut writer = Writer::query();
        for name in [self.instance(), self.host()] {
            writer.question(&Question { name, kind: kind::ANY, unicast: false });
        }
        for own in self.records.iter().filter(|own| own.record.unique) {
            writer.authority(&own.record);
        }
        self.messages.push_back((None, writer.finish()));
    }

    /// Sends what is due, and with it what an asker would ask next.
    fn answer(&mut self, now: Instant) {
        let is_due = |own: &Own| own.due.is_some_and(|due| due <= now);
        if !self.records.iter().any(is_due) {
            return;
        }
        let mut writer = Writer::response(0);
        let mut names_instance = false;
        for own in self.records.iter_mut().filter(|own| is_due(own)) {
            names_instance |= matches!(own.record.data, Data::Ptr(_) | Data::Srv { .. });
            writer.answer(&own.record);
            (own.due, own.sent) = (None, Some(now));
        }
        let is_fresh = |own: &Own| own.sent.is_some_and(|sent| now < sent + REPEAT);
        for own in self.records.iter_mut().filter(|own| names_instance && own.record.unique && !is_fresh(own))
        {
            writer.additional(&own.record);
            (own.due, own.sent) = (None, Some(now));
        }
        self.messages.push_back((None, writer.finish()));
    }

    fn hear_query(&mut self, message: &Message, from: SocketAddr, now: Instant) {
        if let Phase::Probing(_) = self.phase {
            self.compare_probe(message, now);
            return;
        }
        let known = |own: &Own| {
            let same = |it: &&Record| it.name == own.record.name && it.data == own.record.data;
            message.answers.iter().find(same).is_some_and(|it| it.ttl >= own.record.ttl / 2)
        };
        if message.questions.is_empty() {
            // The rest of somebody's known answers.
            if self.talking == Some(from.ip()) {
                self.records.iter_mut().filter(|own| known(own)).for_each(|own| own.due = None);
            }
            return;
        }
        let asked = |own: &Own| {
            message.questions.iter().any(|question| {
                question.name == own.record.name
                    && (question.kind == own.record.data.kind() || question.kind == kind::ANY)
            })
        };
        if from.port() != PORT {
            self.answer_alone(message, from, now, asked);
            return;
        }
        let is_probe = !message.authorities.is_empty();
        self.talking = message.truncated.then_some(from.ip());
        let mut wait = None;
        for own in self.records.iter_mut().filter(|own| asked(own) && !known(own)) {
            let delay = match (own.record.unique, message.truncated) {
                _ if is_probe => Duration::ZERO,
                (_, true) => *wait.get_or_insert_with(|| self.random.millis(400..500)),
                (true, false) => Duration::ZERO,
                (false, false) => *wait.get_or_insert_with(|| self.random.millis(20..120)),
            };
            let repeat = if is_probe { DEFENCE_REPEAT } else { REPEAT };
            let allowed = own.sent.map_or(now, |sent| sent + repeat);
            let due = (now + delay).max(allowed);
            own.due = Some(own.due.map_or(due, |other| other.min(due)));
        }
    }

    /// For askers that speak ordinary DNS: a bounded answer, to them alone, and not too often.
    fn answer_alone(
        &mut self,
        message: &Message,
        from: SocketAddr,
        now: Instant,
        asked: impl Fn(&Own) -> bool,
    ) {
        if now >= self.single.0 + REPEAT {
            self.single = (now, 0);
        }
        if self.single.1 >= MOST_SINGLE || !self.records.iter().any(&asked) {
            return;
        }
        self.single.1 += 1;
        let mut writer = Writer::response(message.id);
        for question in message.questions.iter().take(1) {
            writer.question(&Question { unicast: false, ..question.clone() });
        }
        for own in self.records.iter().filter(|own| asked(own)) {
            let ttl = own.record.ttl.min(LEGACY_TTL);
            writer.answer(&Record { unique: false, ttl, ..own.record.clone() });
        }
        self.messages.push_back((Some(from), writer.finish()));
    }

    /// Two that claim the same name at once: the one with the greater data wins (section 8.2).
    fn compare_probe(&mut self, message: &Message, now: Instant) {
        for name in [self.instance(), self.host()] {
            let theirs = claims(message.authorities.iter(), &name);
            let ours = claims(self.records.iter().map(|own| &own.record).filter(|it| it.unique), &name);
            if theirs > ours {
                self.probe_later(now, DEFERENCE);
                return;
            }
        }
    }

    /// Somebody else has a name of ours, with other data. Our own data may come back from another interface.
    fn hear_response(&mut self, message: &Message, now: Instant) {
        let is_conflict = |theirs: &Record| {
            let mut same = self.records.iter().map(|own| &own.record).filter(|ours| {
                ours.unique && ours.name == theirs.name && ours.data.kind() == theirs.data.kind()
            });
            let is_ours = match theirs.data {
                Data::A(address) => self.machine.contains(&address.into()),
                Data::Aaaa(address) => self.machine.contains(&address.into()),
                _ => false,
            };
            let claimed = same.clone().next().is_some();
            theirs.ttl > 0 && claimed && !is_ours && same.all(|ours| ours.data != theirs.data)
        };
        if !message.answers.iter().chain(&message.additionals).any(is_conflict) {
            return;
        }
        match self.phase {
            Phase::Probing(_) => self.rename(now),
            // Who of the two keeps it turns out by probing.
            _ => self.probe_later(now, Duration::ZERO),
        }
    }
}

/// What is claimed for `name`, in the order in which RFC 6762 section 8.2 compares it.
fn claims<'a>(records: impl Iterator<Item = &'a Record>, name: &Name) -> Vec<(u16, Vec<u8>)> {
    let mut claims: Vec<_> =
        records.filter(|it| it.name == *name).map(|it| (it.data.kind(), it.data.bytes())).collect();
    claims.sort();
    claims
}

impl Speaker for Announcer {
    fn hear(&mut self, message: &[u8], from: SocketAddr, now: Instant) {
        if self.phase == Phase::Gone || self.addresses.is_empty() {
            return;
        }
        let Ok(Some(message)) = Message::decode(message) else { return };
        match message.is_response {
            true if from.port() == PORT => self.hear_response(&message, now),
            true => {}
            false => self.hear_query(&message, from, now),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.records.iter().filter_map(|own| own.due).chain(self.next).min()
    }

    fn advance(&mut self, now: Instant) {
        while self.next.is_some_and(|next| next <= now) {
            self.advance_phase(now);
        }
        self.answer(now);
    }

    fn set_addresses(&mut self, link: &[IpAddr], machine: &[IpAddr], now: Instant) {
        self.machine = machine.to_vec();
        if self.addresses == link || self.phase == Phase::Gone {
            return;
        }
        self.addresses = link.to_vec();
        match self.phase {
            _ if link.is_empty() => self.next = None,
            Phase::Probing(_) => {
                let delay = self.random.millis(0..250);
                self.probe_later(now, delay);
            }
            _ => {
                self.build_records();
                self.phase = Phase::Announcing(0);
                self.next = Some(now);
            }
        }
    }

    fn next_message(&mut self) -> Option<(Option<SocketAddr>, Vec<u8>)> {
        self.messages.pop_front()
    }
}
