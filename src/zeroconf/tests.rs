//! Neighbours on one link, without sockets and with a clock that the test moves.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Announcer, Browser, PORT, Service, Speaker, service_type};
use crate::dns::{Data, Message, Name, Question, Record, Writer, kind};

const SECOND: Duration = Duration::from_secs(1);

fn service(host: &str, port: u16) -> Rc<Service> {
    let text = vec!["txtvers=1".to_owned(), "jobs=7".to_owned()];
    Rc::new(Service { host: host.to_owned(), port, text, subtype: Some("_m--12".to_owned()) })
}

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// A link: each speaker has an address, hears all others and itself.
struct Link<'a> {
    now: Instant,
    speakers: Vec<(IpAddr, &'a mut dyn Speaker)>,
    /// Every message to all, with its time.
    sent: Vec<(Instant, Message)>,
}

impl<'a> Link<'a> {
    fn new(now: Instant, speakers: Vec<(IpAddr, &'a mut dyn Speaker)>) -> Link<'a> {
        let mut link = Link { now, speakers, sent: Vec::new() };
        for (address, speaker) in &mut link.speakers {
            speaker.set_addresses(&[*address], &[*address], now);
        }
        link
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now <= end {
            for at in 0..self.speakers.len() {
                let (from, speaker) = &mut self.speakers[at];
                let from = SocketAddr::new(*from, PORT);
                if speaker.deadline().is_some_and(|deadline| deadline <= self.now) {
                    speaker.advance(self.now);
                }
                while let Some((to, message)) = self.speakers[at].1.next_message() {
                    assert_eq!(to, None);
                    self.sent.push((self.now, Message::decode(&message).unwrap().unwrap()));
                    for (_, speaker) in &mut self.speakers {
                        speaker.hear(&message, from, self.now);
                    }
                }
            }
            self.now += Duration::from_millis(10);
        }
    }
}

fn settled(announcer: &mut Announcer, now: Instant) -> Instant {
    let mut link = Link::new(now, vec![(address(1), announcer)]);
    link.run(SECOND * 4);
    let end = link.now;
    assert!(announcer.is_settled());
    assert_eq!(announcer.deadline(), None, "nothing to do at rest");
    end
}

fn query(name: &Name, kind: u16, known: &[Record]) -> Vec<u8> {
    let mut writer = Writer::query();
    writer.question(&Question { name: name.clone(), kind, unicast: false });
    known.iter().for_each(|record| writer.answer(record));
    writer.finish()
}

/// What the announcer says until `time` has passed.
fn said(announcer: &mut Announcer, now: Instant, time: Duration) -> Vec<(Option<SocketAddr>, Message)> {
    let mut said = Vec::new();
    for step in 0..=time.as_millis() as u64 / 10 {
        announcer.advance(now + Duration::from_millis(step * 10));
        while let Some((to, message)) = announcer.next_message() {
            said.push((to, Message::decode(&message).unwrap().unwrap()));
        }
    }
    said
}

#[test]
fn a_server_is_found_and_leaves() {
    let now = Instant::now();
    let (mut announcer, mut browser) = (Announcer::new(service("box", 4000), now), Browser::new(now));
    let mut link = Link::new(now, vec![(address(1), &mut announcer), (address(2), &mut browser)]);
    link.run(SECOND * 4);
    let now = link.now;
    let servers = browser.servers();
    assert_eq!(servers.len(), 1);
    assert_eq!((servers[0].name.as_str(), servers[0].port), ("distcc@box", 4000));
    assert_eq!((servers[0].addresses.as_slice(), servers[0].offer.jobs), (&[address(1)][..], Some(7)));
    assert!(browser.take_change() && !browser.take_change());
    announcer.farewell();
    let mut link = Link {
        now,
        speakers: vec![(address(1), &mut announcer), (address(2), &mut browser)],
        sent: Vec::new(),
    };
    link.run(Duration::from_millis(10));
    assert!(browser.take_change());
    assert_eq!(browser.servers(), []);
    assert_eq!(announcer.deadline(), None);
}

/// Without a goodbye it is asked for again, four times, and forgotten.
#[test]
fn a_server_that_is_silent_expires() {
    let now = Instant::now();
    let (mut announcer, mut browser) = (Announcer::new(service("box", 4000), now), Browser::new(now));
    let mut link = Link::new(now, vec![(address(1), &mut announcer), (address(2), &mut browser)]);
    link.run(SECOND * 4);
    // Refreshed in time while it answers.
    link.run(SECOND * 300);
    let now = link.now;
    assert_eq!(browser.servers().len(), 1);
    let mut link = Link { now, speakers: vec![(address(2), &mut browser)], sent: Vec::new() };
    link.run(SECOND * 121);
    let now = link.now;
    let refreshes =
        link.sent.iter().filter(|(_, it)| it.questions.iter().any(|it| it.kind == kind::A)).count();
    assert!((4..=10).contains(&refreshes), "{refreshes}");
    assert_eq!(browser.servers(), []);
    let mut link = Link { now, speakers: vec![(address(2), &mut browser)], sent: Vec::new() };
    link.run(SECOND * 600);
    assert!(link.sent.len() < 40, "what is gone is asked for less and less: {}", link.sent.len());
}

#[test]
fn two_of_one_name_become_two_names() {
    let now = Instant::now();
    let (mut a, mut b) =
        (Announcer::new(service("box", 4000), now), Announcer::new(service("box", 4001), now));
    let mut link = Link::new(now, vec![(address(1), &mut a), (address(2), &mut b)]);
    link.run(SECOND * 8);
    let now = link.now;
    assert!(a.is_settled() && b.is_settled());
    let mut names = [a.instance().first_label(), b.instance().first_label()];
    names.sort();
    assert_eq!(names, ["distcc@box", "distcc@box #2"]);
    // A third one, later, takes the next name.
    let mut c = Announcer::new(service("box", 4002), now);
    let mut speakers: Vec<(IpAddr, &mut dyn Speaker)> = vec![(address(1), &mut a), (address(2), &mut b)];
    speakers.push((address(3), &mut c));
    let mut link = Link { now, speakers, sent: Vec::new() };
    link.speakers[2].1.set_addresses(&[address(3)], &[address(3)], now);
    link.run(SECOND * 8);
    assert_eq!(c.instance().first_label(), "distcc@box #3");
    assert!(a.is_settled() && b.is_settled() && c.is_settled());
}

/// The same daemon on two interfaces that lead to one network does not fight itself.
#[test]
fn two_interfaces_in_one_network_are_no_conflict() {
    let now = Instant::now();
    let service = service("box", 4000);
    let (mut a, mut b) = (Announcer::new(Rc::clone(&service), now), Announcer::new(service, now));
    let both = [address(1), address(2)];
    let mut link = Link::new(now, vec![(address(1), &mut a), (address(2), &mut b)]);
    for (address, speaker) in &mut link.speakers {
        speaker.set_addresses(&[*address], &both, now);
    }
    link.run(SECOND * 8);
    assert!(a.is_settled() && b.is_settled());
    assert_eq!(a.instance(), b.instance());
}

#[test]
fn a_flood_of_questions_is_answered_once_a_second() {
    let now = Instant::now();
    let mut announcer = Announcer::new(service("box", 4000), now);
    let mut now = settled(&mut announcer, now) + SECOND;
    let question = query(&service_type(), kind::PTR, &[]);
    let mut answers = 0;
    for _ in 0..3000 {
        announcer.hear(&question, SocketAddr::new(address(9), PORT), now);
        announcer.advance(now);
        while announcer.next_message().is_some() {
            answers += 1;
        }
        now += Duration::from_millis(1);
    }
    assert!((2..=4).contains(&answers), "{answers}");
    // And to askers that may not be who they say they are.
    let mut answers = 0;
    for _ in 0..3000 {
        announcer.hear(&question, SocketAddr::new(address(9), 1024), now);
        while announcer.next_message().is_some() {
            answers += 1;
        }
        now += Duration::from_millis(1);
    }
    assert!((10..=20).contains(&answers), "{answers}");
}

#[test]
fn what_is_known_is_not_said_again() {
    let now = Instant::now();
    let mut announcer = Announcer::new(service("box", 4000), now);
    let now = settled(&mut announcer, now) + SECOND;
    let from = SocketAddr::new(address(9), PORT);
    let known = |ttl| Record {
        name: service_type(),
        unique: false,
        ttl,
        data: Data::Ptr(service_type().below("distcc@box")),
    };
    announcer.hear(&query(&service_type(), kind::PTR, &[known(4000)]), from, now);
    assert_eq!(said(&mut announcer, now, SECOND), []);
    announcer.hear(&query(&service_type(), kind::PTR, &[known(2000)]), from, now);
    let answers = said(&mut announcer, now, SECOND);
    assert_eq!(answers.len(), 1);
    let (to, answer) = &answers[0];
    assert_eq!(*to, None);
    assert_eq!(answer.answers, [known(4500)]);
    let kinds: Vec<u16> = answer.additionals.iter().map(|it| it.data.kind()).collect();
    assert_eq!(kinds, [kind::SRV, kind::TXT, kind::A], "what would be asked for next");
    let subtype = service_type().below("_sub").below("_m--12");
    announcer.hear(&query(&subtype, kind::PTR, &[]), from, now + SECOND);
    assert_eq!(said(&mut announcer, now + SECOND, SECOND)[0].1.answers[0].name, subtype);
}

#[test]
fn an_ordinary_resolver_is_answered_alone() {
    let now = Instant::now();
    let mut announcer = Announcer::new(service("box", 4000), now);
    let now = settled(&mut announcer, now) + SECOND;
    let from = SocketAddr::new(address(9), 40000);
    let mut question = query(&service_type().below("distcc@box"), kind::SRV, &[]);
    question[1] = 77;
    announcer.hear(&question, from, now);
    let answers = said(&mut announcer, now, SECOND);
    assert_eq!(answers.len(), 1);
    let (to, answer) = &answers[0];
    assert_eq!((*to, answer.id, answer.questions.len()), (Some(from), 77, 1));
    assert!(answer.answers.iter().all(|it| it.ttl <= 10 && !it.unique));
    announcer.hear(&query(&Name::new(["other", "local"]), kind::ANY, &[]), from, now);
    assert_eq!(said(&mut announcer, now, SECOND), [], "not ours");
}

#[test]
fn new_addresses_are_announced_and_old_ones_forgotten() {
    let now = Instant::now();
    let (mut announcer, mut browser) = (Announcer::new(service("box", 4000), now), Browser::new(now));
    let mut link = Link::new(now, vec![(address(1), &mut announcer), (address(2), &mut browser)]);
    link.run(SECOND * 4);
    let now = link.now;
    announcer.set_addresses(&[address(7)], &[address(7)], now);
    let mut link = Link {
        now,
        speakers: vec![(address(7), &mut announcer), (address(2), &mut browser)],
        sent: Vec::new(),
    };
    link.run(SECOND);
    assert_eq!(browser.servers()[0].addresses, [address(7)]);
}

/// Strangers' records have a bound, and nonsense among them spoils nothing.
#[test]
fn a_flood_of_servers_is_bounded() {
    let now = Instant::now();
    let mut browser = Browser::new(now);
    let from = SocketAddr::new(address(9), PORT);
    for number in 0..1000u16 {
        let instance = service_type().below(&format!("s{number}"));
        let record = |name: &Name, data| Record { name: name.clone(), unique: false, ttl: u32::MAX, data };
        let target = Name::new(["x", "local"]);
        let mut writer = Writer::response(0);
        writer.answer(&record(&service_type(), Data::Ptr(instance.clone())));
        writer.answer(&record(&service_type(), Data::Ptr(Name::new(["elsewhere"]))));
        // Every second one has no port.
        writer.answer(&record(&instance, Data::Srv { port: number % 2, target: target.clone() }));
        writer.answer(&record(&instance, Data::Txt(vec![200, b'x'])));
        writer.answer(&record(&target, Data::A([127, 0, 0, 1].into())));
        writer.answer(&record(&target, Data::A([10, 0, 0, 8].into())));
        browser.hear(&writer.finish(), from, now);
    }
    let servers = browser.servers();
    assert!((50..512).contains(&servers.len()), "{}", servers.len());
    assert!(servers.iter().all(|it| it.addresses == [address(8)] && it.offer.slots() == 4));
    browser.advance(now + SECOND * 4500);
    assert_eq!(browser.servers(), []);
}
