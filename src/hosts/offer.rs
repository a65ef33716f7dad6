//! What a server that announces itself says of itself: the text record of service discovery (RFC 6763 section 6).
//!
//! The keys of stock's servers (`daemon.md` section 14), and ours:
//!
//! ```text
//! txtvers=1 cpus=N jobs=N distcc=VERSION gnuhost=TRIPLE cc_version=V cc_machine=M     stock
//! proto=123            protocols: 2 has LZO, 3 is pump
//! id=HEX               of this daemon, the same in all networks
//! ccs=12:gcc,g++/14.0.6:clang       the compilers served, by version; a * at the end: and others
//! ```

use std::fmt::Write;

/// A server's own words, as far as they are understood. What is missing or nonsense is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// Compiles at once.
    pub jobs: Option<u32>,
    /// Processors.
    pub cpus: Option<u32>,
    /// Digits of the protocols it speaks.
    pub protocols: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it was built for.
    pub machine: Option<String>,
    /// What its `cc` says to `-dumpversion`.
    pub cc_version: Option<String>,
    /// What its `cc` says to `-dumpmachine`.
    pub cc_machine: Option<String>,
    /// Which daemon it is.
    pub id: Option<String>,
    /// The compilers it serves, as above.
    pub compilers: Option<String>,
}

/// Slots of a server that does not say, as in stock.
const DEFAULT_SLOTS: u32 = 4;
/// What `jobs` from a stranger is believed up to.
const MAX_SLOTS: u32 = 1000;
/// The most bytes of a string in a record (RFC 6763 section 6.1).
const MAX_STRING: usize = 255;

/// What the compiler of a job says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// Its name without directories.
    pub name: String,
    /// Its answer to `-dumpversion`.
    pub version: String,
    /// Its answer to `-dumpmachine`.
    pub machine: String,
}

impl Offer {
    /// From strings `KEY=VALUE`; of equal keys the first counts (RFC 6763 section 6.4). Only printable ASCII is taken.
    pub fn from_strings<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> Offer {
        let mut offer = Offer::default();
        for string in strings {
            let Ok(text) = std::str::from_utf8(string) else { continue };
            let Some((key, value)) = text.split_once('=') else { continue };
            if value.is_empty() || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                continue;
            }
            let number = || value.parse().ok();
            match key.to_ascii_lowercase().as_str() {
                "jobs" => offer.jobs = offer.jobs.or_else(number),
                "cpus" => offer.cpus = offer.cpus.or_else(number),
                key => {
                    if let Some(field) = offer.text_field(key) {
                        field.get_or_insert_with(|| value.to_owned());
                    }
                }
            }
        }
        offer
    }

    fn text_field(&mut self, key: &str) -> Option<&mut Option<String>> {
        Some(match key {
            "proto" => &mut self.protocols,
            "distcc" => &mut self.version,
            "gnuhost" => &mut self.machine,
            "cc_version" => &mut self.cc_version,
            "cc_machine" => &mut self.cc_machine,
            "id" => &mut self.id,
            "ccs" => &mut self.compilers,
            _ => return None,
        })
    }

    /// Back to strings, in stock's order; none is longer than a record allows.
    pub fn to_strings(&self) -> Vec<String> {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let fields = [
            ("txtvers", Some("1".to_owned())),
            ("cpus", number(self.cpus)),
            ("jobs", number(self.jobs)),
            ("distcc", self.version.clone()),
            ("gnuhost", self.machine.clone()),
            ("cc_version", self.cc_version.clone()),
            ("cc_machine", self.cc_machine.clone()),
            ("proto", self.protocols.clone()),
            ("id", self.id.clone()),
            ("ccs", self.compilers.clone()),
        ];
        let mut strings = Vec::new();
        for (key, value) in fields {
            strings.extend(value.map(|value| format!("{key}={value}")));
        }
        strings.retain(|string| string.len() <= MAX_STRING);
        strings
    }

    /// How many jobs it is given at once; without `jobs` as stock reckons.
    pub fn slots(&self) -> u32 {
        match self.jobs {
            None => DEFAULT_SLOTS,
            Some(0) => self.cpus.map_or(DEFAULT_SLOTS, |cpus| cpus.saturating_add(2)),
            Some(jobs) => jobs,
        }
        .min(MAX_SLOTS)
    }

    /// For people: what is known of it, in one line.
    pub fn summary(&self) -> String {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let parts = [
            ("distcc", self.version.clone()),
            ("cpus", number(self.cpus)),
            ("jobs", number(self.jobs)),
            ("protocols", self.protocols.clone()),
            ("compilers", self.compilers.clone().or_else(|| self.cc_version.clone())),
            ("for", self.cc_machine.clone()),
        ];
        let mut summary = String::new();
        for (what, value) in parts {
            let Some(value) = value else { continue };
            let separator = if summary.is_empty() { "" } else { ", " };
            let _ = write!(summary, "{separator}{what} {value}");
        }
        summary
    }

    /// Whether it speaks a protocol; of one that does not say this is supposed.
    pub fn speaks(&self, protocol: char) -> bool {
        self.protocols.as_ref().is_none_or(|protocols| protocols.contains(protocol))
    }

    /// Whether it can have said anything about compilers.
    pub fn names_compilers(&self) -> bool {
        self.compilers.is_some() || self.cc_version.is_some() && self.cc_machine.is_some()
    }

    /// Whether it has this compiler, as far as it says. A stock server names only its `cc`, so what is of another
    /// version or for another machine than that is not known to be there.
    pub fn serves(&self, compiler: &Compiler) -> bool {
        let Some(list) = &self.compilers else {
            let same = |theirs: &Option<String>, ours: &str| theirs.as_ref().is_none_or(|it| it == ours);
            return same(&self.cc_version, &compiler.version) && same(&self.cc_machine, &compiler.machine);
        };
        let name = without_version(&compiler.name, &compiler.version);
        let prefix = format!("{}-", compiler.machine);
        let name = name.strip_prefix(&prefix).unwrap_or(name);
        let with_machine = format!("{prefix}{name}");
        let is_native = self.cc_machine.as_ref().is_none_or(|machine| *machine == compiler.machine);
        let mut is_listed = false;
        for group in list.trim_end_matches('*').split('/') {
            let Some((version, names)) = group.split_once(':') else { continue };
            for listed in names.split(',') {
                if listed == with_machine || listed == name && is_native {
                    if version == compiler.version {
                        return true;
                    }
                    is_listed = true;
                }
            }
        }
        !is_listed && list.ends_with('*')
    }

    /// The list `ccs`, of names and versions, as far as it fits into a string of a record: short names first, and without
    /// those that only add the version or the machine `native` to another's, being the same compilers.
    pub fn compiler_list(compilers: &[(String, String)], native: &str) -> String {
        let prefix = format!("{native}-");
        let short = |(name, version): &'_ (String, String)| {
            let name = without_version(name, version);
            (name.strip_prefix(&prefix).unwrap_or(name).to_owned(), version.clone())
        };
        let mut all: Vec<(String, String)> = compilers.iter().map(short).collect();
        all.sort_by_key(|(name, _)| name.matches('-').count());
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for (name, version) in &all {
            let at = groups.iter().position(|(known, _)| known == version).unwrap_or(groups.len());
            if at == groups.len() {
                groups.push((version, Vec::new()));
            }
            let names = &mut groups[at].1;
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        // "ccs=" and the star.
        let room = MAX_STRING - 5;
        let mut list = String::new();
        for (version, names) in groups {
            for (at, name) in names.into_iter().enumerate() {
                let word = match at {
                    0 if list.is_empty() => format!("{version}:{name}"),
                    0 => format!("/{version}:{name}"),
                    _ => format!(",{name}"),
                };
                if list.len() + word.len() > room {
                    return list + "*";
                }
                list.push_str(&word);
            }
        }
        list
    }
}

/// `gcc-12` and `clang-14` of the versions 12 and 14.0.6 are `gcc` and `clang`.
fn without_version<'a>(name: &'a str, version: &str) -> &'a str {
    match name.rsplit_once('-') {
        Some((short, end))
            if version.strip_prefix(end).is_some_and(|it| it.is_empty() || it.starts_with('.')) =>
        {
            short
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(text: &str) -> Offer {
        Offer::from_strings(text.split_whitespace().map(str::as_bytes))
    }

    fn compiler(name: &str, version: &str, machine: &str) -> Compiler {
        Compiler { name: name.into(), version: version.into(), machine: machine.into() }
    }

    const STOCK: &str = "cc_machine=x86_64-linux-gnu cc_version=12 gnuhost=x86_64-pc-linux-gnu distcc=3.4 jobs=4 cpus=2 txtvers=1";

    #[test]
    fn a_stock_server_is_understood() {
        let offer = offer(STOCK);
        assert_eq!((offer.slots(), offer.cpus), (4, Some(2)));
        assert!(offer.speaks('3') && offer.names_compilers());
        assert!(offer.serves(&compiler("g++", "12", "x86_64-linux-gnu")));
        assert!(!offer.serves(&compiler("g++", "11", "x86_64-linux-gnu")));
        assert!(!offer.serves(&compiler("gcc", "12", "arm-linux-gnueabihf")));
        assert!(!offer.serves(&compiler("clang", "14.0.6", "x86_64-linux-gnu")));
    }

    #[test]
    fn nonsense_is_left_out_one_by_one() {
        let offer = Offer::from_strings([
            &b"jobs=many"[..],
            b"jobs=7",
            b"jobs=8",
            b"cpus",
            b"=x",
            b"cc_version=1\n2",
            b"\xff=1",
            b"CC_MACHINE=m",
        ]);
        assert_eq!(offer, Offer { jobs: Some(7), cc_machine: Some("m".into()), ..Offer::default() });
        assert_eq!(Offer { jobs: Some(0), cpus: Some(6), ..Offer::default() }.slots(), 8);
        assert_eq!(Offer { jobs: Some(u32::MAX), ..Offer::default() }.slots(), MAX_SLOTS);
        assert_eq!(Offer::default().slots(), 4);
    }

    #[test]
    fn our_list_tells_compilers_apart() {
        let machine = "x86_64-linux-gnu";
        let all: Vec<(String, String)> = [
            ("gcc", "12"),
            ("x86_64-linux-gnu-gcc", "12"),
            ("gcc-12", "12"),
            ("clang-14", "14.0.6"),
            ("arm-linux-gnueabihf-gcc", "12"),
        ]
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .to_vec();
        let list = Offer::compiler_list(&all, machine);
        assert_eq!(list, "12:gcc,arm-linux-gnueabihf-gcc/14.0.6:clang");
        assert_eq!(Offer::compiler_list(&[], machine), "");
        let offer = Offer { compilers: Some(list), cc_machine: Some(machine.into()), ..Offer::default() };
        assert!(offer.serves(&compiler("gcc", "12", machine)));
        assert!(!offer.serves(&compiler("gcc", "11", machine)));
        assert!(!offer.serves(&compiler("g++", "12", machine)), "not served");
        assert!(offer.serves(&compiler("clang", "14.0.6", machine)));
        assert!(offer.serves(&compiler("gcc-12", "12", machine)));
        assert!(!offer.serves(&compiler("gcc-11", "11", machine)));
        assert!(!offer.serves(&compiler("clang", "14.0.6", "aarch64-linux-gnu")));
        assert!(offer.serves(&compiler("arm-linux-gnueabihf-gcc", "12", "arm-linux-gnueabihf")));
        assert!(offer.serves(&compiler("gcc", "12", "arm-linux-gnueabihf")), "native there");
        assert_eq!(Offer::from_strings(offer.to_strings().iter().map(|it| it.as_bytes())), offer);
    }

    #[test]
    fn a_long_list_says_that_there_is_more() {
        let all: Vec<(String, String)> = (0..99).map(|n| (format!("gcc-x{n}"), n.to_string())).collect();
        let offer = Offer { compilers: Some(Offer::compiler_list(&all, "m")), ..Offer::default() };
        assert_eq!(offer.to_strings().len(), 2, "it fits");
        assert!(offer.serves(&compiler("gcc-x3", "3", "m")) && !offer.serves(&compiler("gcc-x3", "4", "m")));
        assert!(offer.serves(&compiler("gcc-x98", "98", "m")), "perhaps");
    }
}
