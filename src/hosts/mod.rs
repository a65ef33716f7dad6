//! The host list: its grammar, and what each host offers.
//!
//! ```text
//! localhost[/LIMIT]                                   this machine, without a server
//! HOST[/LIMIT][:PORT][/LIMIT][,OPTION]...             a server over TCP; HOST may be [IPV6]
//! [USER]@HOST[/LIMIT][:COMMAND][,OPTION]...           a server over ssh
//! +zeroconf[/LIMIT][,OPTION]...                       every server that announces itself
//! --randomize  --localslots=N  --localslots_cpp=N     what applies to all
//! # comment
//! ```
//!
//! Stock refuses the whole list for one bad word; here a bad word is a [`Problem`] that names it, and the
//! good hosts are used. Where the text comes from is `hostlist`'s business. Source: reference `client.md`
//! section 3.

use std::fmt;

pub mod offer;

use offer::Offer;

/// The port of a server when the list names none.
pub const DEFAULT_PORT: u16 = 3632;

/// A host list, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostList {
    /// The hosts in the order of the list.
    pub hosts: Vec<Host>,
    /// Where and how the servers that announce themselves are to be used.
    pub announced: Vec<Announced>,
    /// Shuffle them for each job.
    pub randomize: bool,
    /// How many compilers and linkers run on this machine at once.
    pub local_slots: u32,
    /// How many preprocessors run on this machine at once.
    pub local_cpp_slots: u32,
    /// Words that were left out, with the reason.
    pub problems: Vec<Problem>,
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The entry as the user wrote it.
    pub spec: String,
    /// Where it is.
    pub place: Place,
    /// How many jobs it takes at once, at least 1.
    pub slots: u32,
    /// Bodies are compressed on the way.
    pub lzo: bool,
    /// It preprocesses (pump mode).
    pub cpp: bool,
    /// What it does not preprocess is sent with its macros, which its compiler expands (`gcc -fdirectives-only`).
    pub directives: bool,
    /// Marked as not to be used.
    pub down: bool,
    /// What it says of itself, if it was found and not named.
    pub offer: Option<Box<Offer>>,
}

/// A `+zeroconf` of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Before which of the named hosts it stands.
    pub at: usize,
    /// The most slots that a host may have.
    limit: Option<u32>,
    /// The options for all of them.
    lzo: bool,
    /// Whether they are to preprocess.
    pub cpp: bool,
    directives: bool,
    down: bool,
}

impl Announced {
    /// The host at `name` and `port` that says this of itself. A protocol that it does not speak is not used.
    pub fn host(&self, name: &str, port: u16, offer: &Offer) -> Host {
        let slots = offer.slots().min(self.limit.unwrap_or(MAX_SLOTS)).max(1);
        let cpp = self.cpp && offer.speaks('3');
        let lzo = self.lzo && (cpp || offer.speaks('2'));
        let bracketed = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        let options = [(lzo, ",lzo"), (cpp, ",cpp"), (self.directives, ",directives"), (self.down, ",down")];
        let options: String = options.iter().filter(|(on, _)| *on).map(|(_, text)| *text).collect();
        Host {
            spec: format!("{bracketed}:{port}/{slots}{options}"),
            place: Place::Tcp { name: name.to_owned(), port },
            slots,
            lzo,
            cpp,
            directives: self.directives,
            down: self.down,
            offer: Some(Box::new(offer.clone())),
        }
    }
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This machine; the compiler runs without a server.
    Local,
    /// A server on a TCP port.
    Tcp {
        /// Name or address, without brackets.
        name: String,
        /// Its port.
        port: u16,
    },
    /// A server started through ssh.
    Ssh {
        /// The login name, if one was given.
        user: Option<String>,
        /// The machine as ssh knows it.
        name: String,
        /// The remote program, if not `distccd` from the remote PATH.
        command: Option<String>,
    },
}

impl Host {
    /// The machine's name as monitors show it.
    pub fn name(&self) -> &str {
        match &self.place {
            Place::Local => "localhost",
            Place::Tcp { name, .. } | Place::Ssh { name, .. } => name,
        }
    }

    /// What stands for this host in the names of lock and back-off files (`client.md` section 4.1).
    pub fn lock_name(&self) -> String {
        match &self.place {
            Place::Local => "localhost".to_owned(),
            Place::Tcp { name, port } => format!("tcp_{name}_{port}"),
            Place::Ssh { name, .. } => format!("ssh_{name}"),
        }
    }
}

/// A word of the list that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// The word.
    pub word: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "line {}: \"{}\": {}", self.line, self.word.escape_default(), self.reason)
    }
}

/// Slots of a server when the list names no limit.
const REMOTE_SLOTS: u32 = 4;
/// Slots of a `localhost` entry without a limit.
const LOCALHOST_SLOTS: u32 = 2;
/// The most slots a host can have, as in stock.
const MAX_SLOTS: u32 = 10_000;

/// Reads a host list.
pub fn parse(text: &str) -> HostList {
    let mut list = HostList {
        hosts: Vec::new(),
        announced: Vec::new(),
        randomize: false,
        local_slots: 4,
        local_cpp_slots: 8,
        problems: Vec::new(),
    };
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split([' ', '\t', '\r', '\x0b', '\x0c']).filter(|word| !word.is_empty()) {
            if let Err(reason) = list.take_word(word) {
                list.problems.push(Problem { line: number + 1, word: word.to_owned(), reason });
            }
        }
    }
    list
}

impl HostList {
    fn take_word(&mut self, word: &str) -> Result<(), String> {
        if let Some(option) = word.strip_prefix("--") {
            return self.take_option(option);
        }
        if let Some(rest) = word.strip_prefix("+zeroconf") {
            self.announced.push(parse_announced(rest, self.hosts.len())?);
            return Ok(());
        }
        self.hosts.push(parse_host(word)?);
        Ok(())
    }

    fn take_option(&mut self, option: &str) -> Result<(), String> {
        let (name, value) = match option.find(['=', '/']) {
            Some(at) => (&option[..at], Some(&option[at + 1..])),
            None => (option, None),
        };
        match (name, value) {
            ("randomize", None) => self.randomize = true,
            ("localslots", Some(value)) => self.local_slots = parse_slots(value)?,
            ("localslots_cpp", Some(value)) => self.local_cpp_slots = parse_slots(value)?,
            ("localslots" | "localslots_cpp", None) => return Err(format!("needs a number: --{name}=4")),
            _ => {
                return Err(
                    "no such option; there are --randomize, --localslots=N, --localslots_cpp=N".to_owned()
                );
            }
        }
        Ok(())
    }
}

fn parse_host(word: &str) -> Result<Host, String> {
    let (address, options) = word.split_once(',').unwrap_or((word, ""));
    let mut host = if word.contains(',') {
        parse_address(address)?
    } else if let Some(limit) = address.strip_prefix("localhost/") {
        local_host(parse_slots(limit)?)
    } else if address == "localhost" {
        local_host(LOCALHOST_SLOTS)
    } else {
        parse_address(address)?
    };
    host.spec = word.to_owned();
    if word.contains(',') {
        let Options { lzo, cpp, directives, down } = parse_options(options)?;
        host = Host { lzo, cpp, directives, down, ..host };
    }
    Ok(host)
}

/// The rest of a word behind `+zeroconf`.
fn parse_announced(rest: &str, at: usize) -> Result<Announced, String> {
    if !cfg!(feature = "zeroconf") {
        return Err("this distcc is built without zeroconf; name the hosts".to_owned());
    }
    let (limit, options) = match rest.split_once(',') {
        Some((limit, options)) => (limit, Some(options)),
        None => (rest, None),
    };
    let limit = match limit.strip_prefix('/') {
        Some(limit) => Some(parse_slots(limit)?),
        None if limit.is_empty() => None,
        None => return Err("write +zeroconf, +zeroconf/LIMIT or +zeroconf,lzo".to_owned()),
    };
    let Options { lzo, cpp, directives, down } = options.map(parse_options).transpose()?.unwrap_or_default();
    Ok(Announced { at, limit, lzo, cpp, directives, down })
}

/// What stands behind the first comma.
#[derive(Default)]
struct Options {
    lzo: bool,
    cpp: bool,
    directives: bool,
    down: bool,
}

fn parse_options(text: &str) -> Result<Options, String> {
    const KNOWN: &str = "there are lzo, cpp, directives and down";
    let mut options = Options::default();
    for option in text.split(',') {
        match option {
            "lzo" => options.lzo = true,
            "cpp" => options.cpp = true,
            "directives" => options.directives = true,
            "down" => options.down = true,
            "" => return Err(format!("an option is missing after the comma; {KNOWN}")),
            _ if option == "auth" || option.starts_with("auth=") => {
                return Err("authentication (auth) is not supported; use ssh: @HOST".to_owned());
            }
            _ => return Err(format!("no such option \"{option}\"; {KNOWN}")),
        }
    }
    if options.cpp && !options.lzo {
        return Err("pump mode needs compression: write ,cpp,lzo".to_owned());
    }
    Ok(options)
}

fn local_host(slots: u32) -> Host {
    Host {
        spec: String::new(),
        place: Place::Local,
        slots,
        lzo: false,
        cpp: false,
        directives: false,
        down: false,
        offer: None,
    }
}

fn parse_address(address: &str) -> Result<Host, String> {
    let (place, slots) = match address.split_once('@') {
        Some((user, rest)) => parse_ssh(user, rest)?,
        None => parse_tcp(address)?,
    };
    Ok(Host { place, ..local_host(slots.unwrap_or(REMOTE_SLOTS)) })
}

fn parse_ssh(user: &str, rest: &str) -> Result<(Place, Option<u32>), String> {
    // ssh itself takes the address without brackets.
    if let Some((address, rest)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        if address.contains(':') && (rest.is_empty() || rest.starts_with(['/', ':'])) {
            let (place, slots) = parse_ssh(user, &format!("host{rest}"))?;
            return Ok(match place {
                Place::Ssh { user, command, .. } => {
                    (Place::Ssh { user, name: address.to_owned(), command }, slots)
                }
                other => (other, slots),
            });
        }
    }
    let (machine, command) = match rest.split_once(':') {
        Some((machine, command)) => (machine, (!command.is_empty()).then(|| command.to_owned())),
        None => (rest, None),
    };
    let (name, slots) = match machine.split_once('/') {
        Some((name, limit)) => (name, Some(parse_slots(limit)?)),
        None => (machine, None),
    };
    if name.is_empty() {
        return Err("a host name is missing after the @".to_owned());
    }
    // ssh would read it as an option.
    if name.starts_with('-') || user.starts_with('-') {
        return Err("a host or user name cannot begin with -".to_owned());
    }
    let user = (!user.is_empty()).then(|| user.to_owned());
    Ok((Place::Ssh { user, name: name.to_owned(), command }, slots))
}

fn parse_tcp(address: &str) -> Result<(Place, Option<u32>), String> {
    let (name, mut rest) = match address.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("the ] after an IPv6 address is missing")?,
        None => address.split_at(address.find(['/', ':']).unwrap_or(address.len())),
    };
    if name.is_empty() {
        return Err(match address.starts_with("::") {
            true => format!("write an IPv6 address in brackets: [{address}]"),
            false => "a host name is missing".to_owned(),
        });
    }
    let (mut port, mut slots) = (DEFAULT_PORT, None);
    let mut ports = 0;
    while !rest.is_empty() {
        let mut characters = rest.chars();
        let (kind, value) = (characters.next(), characters.as_str());
        let end = value.find(['/', ':']).unwrap_or(value.len());
        match kind {
            Some('/') => slots = Some(parse_slots(&value[..end])?),
            Some(':') if ports == 0 => {
                port = parse_port(&value[..end])?;
                ports += 1;
            }
            Some(':') => {
                return Err("more than one port; an IPv6 address stands in brackets: [::1]".to_owned());
            }
            _ => return Err(format!("\"{rest}\" after the host: expected /LIMIT or :PORT")),
        }
        rest = &value[end..];
    }
    Ok((Place::Tcp { name: name.to_owned(), port }, slots))
}

fn parse_slots(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(slots @ 1..=MAX_SLOTS) => Ok(slots),
        _ => Err(format!("\"{text}\" is not a number of jobs from 1 to {MAX_SLOTS}")),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!("\"{text}\" is not a port from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(word: &str) -> Host {
        let list = parse(word);
        assert_eq!(list.problems, [], "{word}");
        assert_eq!(list.hosts.len(), 1, "{word}");
        list.hosts.into_iter().next().unwrap()
    }

    fn tcp(word: &str) -> (String, u16, u32) {
        let host = one(word);
        match host.place {
            Place::Tcp { name, port } => (name, port, host.slots),
            other => panic!("{word}: {other:?}"),
        }
    }

    #[test]
    fn limits_and_ports_come_in_both_orders() {
        assert_eq!(tcp("a"), ("a".into(), 3632, 4));
        assert_eq!(tcp("a:4000"), ("a".into(), 4000, 4));
        assert_eq!(tcp("a/3"), ("a".into(), 3632, 3));
        assert_eq!(tcp("a:4000/3"), ("a".into(), 4000, 3));
        assert_eq!(tcp("a/3:4000"), ("a".into(), 4000, 3));
        assert_eq!(tcp("a/2:1234/5"), ("a".into(), 1234, 5));
        assert_eq!(tcp("[::1]:4000/3"), ("::1".into(), 4000, 3));
        assert_eq!(tcp("192.168.0.2/5,lzo"), ("192.168.0.2".into(), 3632, 5));
    }

    #[test]
    fn localhost_with_port_or_option_is_a_server() {
        assert_eq!(one("localhost").place, Place::Local);
        assert_eq!(one("localhost/7").slots, 7);
        assert_eq!(tcp("localhost:4200"), ("localhost".into(), 4200, 4));
        assert_eq!(tcp("localhost,lzo"), ("localhost".into(), 3632, 4));
        assert_eq!(tcp("localhostx"), ("localhostx".into(), 3632, 4));
    }

    #[test]
    fn ssh_hosts_are_understood() {
        let host = one("u@h/6:/opt/distccd,lzo");
        assert_eq!(
            host.place,
            Place::Ssh { user: Some("u".into()), name: "h".into(), command: Some("/opt/distccd".into()) }
        );
        assert_eq!((host.slots, host.lzo), (6, true));
        assert_eq!(
            one("u@[::1]/2:/d").place,
            Place::Ssh { user: Some("u".into()), name: "::1".into(), command: Some("/d".into()) }
        );
        assert_eq!(one("@h:").place, Place::Ssh { user: None, name: "h".into(), command: None });
    }

    #[test]
    fn a_bad_word_does_not_spoil_the_list() {
        let list = parse("good/2 bad:port\n# note\n::1 a,lzocpp -- b,cpp other#c\n@-oX=y localhost/0");
        let names: Vec<_> = list.hosts.iter().map(Host::name).collect();
        assert_eq!(names, ["good", "other"]);
        let words: Vec<_> = list.problems.iter().map(|p| (p.line, p.word.as_str())).collect();
        assert_eq!(
            words,
            [
                (1, "bad:port"),
                (3, "::1"),
                (3, "a,lzocpp"),
                (3, "--"),
                (3, "b,cpp"),
                (4, "@-oX=y"),
                (4, "localhost/0")
            ]
        );
        assert!(list.problems[1].reason.contains("[::1]"));
    }

    #[test]
    fn options_apply_to_the_list() {
        let list = parse("--randomize --localslots=3 a --localslots_cpp/9");
        assert!(list.randomize && list.problems.is_empty());
        assert_eq!((list.local_slots, list.local_cpp_slots), (3, 9));
    }

    #[test]
    fn lock_names_are_those_of_stock() {
        assert_eq!(one("127.0.0.1:4001/2").lock_name(), "tcp_127.0.0.1_4001");
        assert_eq!(one("localhost/2").lock_name(), "localhost");
        assert_eq!(one("u@h:/x").lock_name(), "ssh_h");
    }
}
