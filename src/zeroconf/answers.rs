//! The answering side of an announcer: which record is sent when, to whom, and what is not said because it is known or was
//! just said (RFC 6762 sections 6 and 7).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::PORT;
use super::random::Random;
use crate::dns::{Data, Message, Question, Record, Writer, kind};

/// Of what goes to askers that do not know multicast DNS, at most (section 6.7).
const LEGACY_TTL: u32 = 10;

/// No record is sent to all more often (section 6), but to defend it against a probe.
const REPEAT: Duration = Duration::from_secs(1);
const DEFENCE_REPEAT: Duration = Duration::from_millis(250);
/// Answers to single askers, each of which may be somebody else than it says: so many per [`REPEAT`].
const MOST_SINGLE: u8 = 5;

/// A record of ours, and when it is sent.
#[derive(Debug)]
struct Own {
    record: Record,
    due: Option<Instant>,
    sent: Option<Instant>,
}

/// What can be asked for, and what is to be said.
#[derive(Debug)]
pub struct Answers {
    random: Random,
    records: Vec<Own>,
    /// Whose list of known answers is not complete.
    talking: Option<IpAddr>,
    /// Answers to single askers since then.
    single: (Instant, u8),
}

impl Answers {
    /// Nothing to say yet.
    pub fn new(now: Instant) -> Answers {
        Answers { random: Random::new(), records: Vec::new(), talking: None, single: (now, 0) }
    }

    /// From now on these are the records; none of them has been said.
    pub fn replace(&mut self, records: Vec<Record>) {
        self.records = records.into_iter().map(|record| Own { record, due: None, sent: None }).collect();
    }

    /// What is announced.
    pub fn records(&self) -> impl Iterator<Item = &Record> + Clone {
        self.records.iter().map(|own| &own.record)
    }

    /// What nobody else may announce.
    pub fn unique(&self) -> impl Iterator<Item = &Record> + Clone {
        self.records().filter(|record| record.unique)
    }

    /// All of it is to be said.
    pub fn say_all(&mut self, now: Instant) {
        self.records.iter_mut().for_each(|own| own.due = Some(now));
    }

    /// When something is to be said.
    pub fn deadline(&self) -> Option<Instant> {
        self.records.iter().filter_map(|own| own.due).min()
    }

    /// A message with what is due, and with it what an asker would ask next.
    pub fn take_due(&mut self, now: Instant) -> Option<Vec<u8>> {
        let is_due = |own: &Own| own.due.is_some_and(|due| due <= now);
        if !self.records.iter().any(is_due) {
            return None;
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
        Some(writer.finish())
    }

    /// Somebody asks. What all may hear is said when it is due; an answer to the asker alone is given at once.
    pub fn hear(&mut self, message: &Message, from: SocketAddr, now: Instant) -> Option<Vec<u8>> {
        let known = |own: &Own| {
            let same = |it: &&Record| it.name == own.record.name && it.data == own.record.data;
            message.answers.iter().find(same).is_some_and(|it| it.ttl >= own.record.ttl / 2)
        };
        if message.questions.is_empty() {
            // The rest of somebody's known answers.
            if self.talking == Some(from.ip()) {
                self.records.iter_mut().filter(|own| known(own)).for_each(|own| own.due = None);
            }
            return None;
        }
        let asked = |own: &Own| {
            message.questions.iter().any(|question| {
                question.name == own.record.name
                    && (question.kind == own.record.data.kind() || question.kind == kind::ANY)
            })
        };
        if from.port() != PORT {
            return self.answer_alone(message, now, asked);
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
        None
    }

    /// For askers that speak ordinary DNS: a bounded answer, to them alone, and not too often.
    fn answer_alone(
        &mut self,
        message: &Message,
        now: Instant,
        asked: impl Fn(&Own) -> bool,
    ) -> Option<Vec<u8>> {
        if now >= self.single.0 + REPEAT {
            self.single = (now, 0);
        }
        if self.single.1 >= MOST_SINGLE || !self.records.iter().any(&asked) {
            return None;
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
        Some(writer.finish())
    }
}
