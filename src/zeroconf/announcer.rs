//! Says on one link that a server is there: claims its names, announces it, defends it, takes it all back (RFC 6762
//! sections 8 to 10). Questions are for [`Answers`].

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::answers::Answers;
use super::random::Random;
use super::records::{Service, claims};
use super::{PORT, Speaker};
use crate::dns::{Data, Message, Name, Question, Record, Writer, kind};

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
    answers: Answers,
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
            answers: Answers::new(now),
            messages: VecDeque::new(),
        }
    }

    /// The name of the instance, as it is or is to be.
    pub fn instance(&self) -> Name {
        self.service.instance(self.attempt)
    }

    fn host_name(&self) -> Name {
        self.service.host_name(self.attempt)
    }

    /// Whether the names are ours and all has been said.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// Takes everything back.
    pub fn farewell(&mut self) {
        if matches!(self.phase, Phase::Announcing(_) | Phase::Settled) {
            let mut writer = Writer::response(0);
            for record in self.answers.records() {
                writer.answer(&Record { ttl: 0, ..record.clone() });
            }
            self.messages.push_back((None, writer.finish()));
        }
        self.phase = Phase::Gone;
        self.next = None;
    }

    fn renew_records(&mut self) {
        self.answers.replace(self.service.records(self.attempt, &self.addresses));
    }

    fn probe_later(&mut self, now: Instant, delay: Duration) {
        self.renew_records();
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
                self.answers.say_all(now);
                let is_last = sent + 1 == ANNOUNCEMENTS;
                self.phase = if is_last { Phase::Settled } else { Phase::Announcing(sent + 1) };
                (!is_last).then(|| now + ANNOUNCE_INTERVAL)
            }
            Phase::Settled | Phase::Gone => None,
        };
    }

    fn probe(&mut self) {
        let mut writer = Writer::query();
        for name in [self.instance(), self.host_name()] {
            writer.question(&Question { name, kind: kind::ANY, unicast: false });
        }
        self.answers.unique().for_each(|record| writer.authority(record));
        self.messages.push_back((None, writer.finish()));
    }

    fn hear_query(&mut self, message: &Message, from: SocketAddr, now: Instant) {
        if let Phase::Probing(_) = self.phase {
            self.compare_probe(message, now);
            return;
        }
        if let Some(answer) = self.answers.hear(message, from, now) {
            self.messages.push_back((Some(from), answer));
        }
    }

    /// Two that claim the same name at once: the one with the greater data wins (section 8.2).
    fn compare_probe(&mut self, message: &Message, now: Instant) {
        for name in [self.instance(), self.host_name()] {
            let theirs = claims(message.authorities.iter(), &name);
            let ours = claims(self.answers.unique(), &name);
            if theirs > ours {
                self.probe_later(now, DEFERENCE);
                return;
            }
        }
    }

    /// Somebody else has a name of ours, with other data. Our own data may come back from another interface.
    fn hear_response(&mut self, message: &Message, now: Instant) {
        let is_conflict = |theirs: &Record| {
            let is_same = |ours: &&Record| ours.name == theirs.name && ours.data.kind() == theirs.data.kind();
            let mut same = self.answers.unique().filter(is_same);
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
        self.answers.deadline().into_iter().chain(self.next).min()
    }

    fn advance(&mut self, now: Instant) {
        while self.next.is_some_and(|next| next <= now) {
            self.advance_phase(now);
        }
        self.messages.extend(self.answers.take_due(now).map(|message| (None, message)));
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
                self.renew_records();
                self.phase = Phase::Announcing(0);
                self.next = Some(now);
            }
        }
    }

    fn next_message(&mut self) -> Option<(Option<SocketAddr>, Vec<u8>)> {
        self.messages.pop_front()
    }
}
