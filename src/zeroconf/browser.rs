//! Looks for servers on one link: asks, asks for what is lacking, asks again in time (RFC 6762 section 5). What it has heard
//! is in its [`Cache`].

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::cache::{Cache, Server};
use super::random::Random;
use super::{MAX_SENT, PORT, Speaker, service_type};
use crate::dns::{Data, Message, Name, Question, Record, Writer, kind};

/// Questions are repeated after 1 s, then 2 s, 4 s and so on up to this (section 5.2).
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// Questions that are open at once, and how soon after an answer they are thought of: the rest of it may come at once.
const MOST_LACKS: usize = 64;
const SECOND_THOUGHT: Duration = Duration::from_millis(50);
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
    cache: Cache,
    lacks: Vec<Lack>,
    /// When to look what is lacking, if anything has changed since.
    think: Option<Instant>,
    next_query: Instant,
    interval: Duration,
    messages: VecDeque<Vec<u8>>,
}

impl Browser {
    /// Asks at once: somebody waits for the answer.
    pub fn new(now: Instant) -> Browser {
        Browser {
            random: Random::new(),
            cache: Cache::default(),
            lacks: Vec::new(),
            think: None,
            next_query: now,
            interval: Duration::from_secs(1),
            messages: VecDeque::new(),
        }
    }

    /// Whether [`Browser::servers`] may have changed since this was asked last.
    pub fn take_change(&mut self) -> bool {
        self.cache.take_change()
    }

    /// All servers of which enough is known.
    pub fn servers(&self) -> Vec<Server> {
        self.cache.servers()
    }

    /// What is asked for, besides servers, to reach those that are known.
    fn note_lacks(&mut self, now: Instant) {
        let mut questions = Vec::new();
        for instance in self.cache.instances() {
            if questions.len() >= MOST_LACKS {
                break;
            }
            let mut target = None;
            let mut has_text = false;
            for data in self.cache.of(instance) {
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
                Some(target) if self.cache.of(target).next().is_none() => {
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
        for question in self.cache.take_refreshes(now) {
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
        let mut writer = Writer::query();
        for question in questions {
            if writer.len() > MAX_SENT {
                self.messages.push_back(std::mem::replace(&mut writer, Writer::query()).finish());
            }
            writer.question(&question);
        }
        if browses {
            for record in self.cache.recent_instances(now) {
                if writer.len() > MAX_SENT {
                    break;
                }
                writer.answer(&record);
            }
        }
        if !writer.is_empty() {
            self.messages.push_back(writer.finish());
        }
    }
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
        records.sort_unstable_by_key(order);
        for record in records {
            if self.cache.is_wanted(&record) {
                self.cache.learn(record, now);
                self.think.get_or_insert(now + SECOND_THOUGHT);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let lacks = self.lacks.iter().map(|lack| lack.again);
        lacks.chain(self.cache.deadline()).chain(self.think).chain([self.next_query]).min()
    }

    fn advance(&mut self, now: Instant) {
        if self.cache.expire(now) {
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
