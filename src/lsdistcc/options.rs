//! The command line of `lsdistcc`: single words, each value joined to its letter (reference `client.md` section 5.6).

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::hosts::DEFAULT_PORT;

/// What to look for, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `-l`
    pub latency: bool,
    /// `-n`
    pub addresses: bool,
    /// `-x`
    pub down_too: bool,
    /// `-v`
    pub verbose: bool,
    /// `-d`
    pub domain: bool,
    /// `-t`; `None` for ever.
    pub total: Option<Duration>,
    /// `-h`
    pub look_up_again: Duration,
    /// `-c`; `None` for no connection at all.
    pub connect: Option<Duration>,
    /// `-k`; `None` for no test compile.
    pub compile: Option<Duration>,
    /// `-m`: leading bits, 0 to 31.
    pub same_bits: u32,
    /// `-o`
    pub overlap: usize,
    /// `-g`
    pub gap: usize,
    /// `-r`
    pub port: u16,
    /// `-P`: 1 to 3.
    pub protocol: u32,
    /// `-p`
    pub compiler: Option<String>,
    /// Whom to ask.
    pub names: Names,
}

/// Names of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// What stands before and after the number, and its least width, filled with zeros or blanks.
    Series { before: String, after: String, width: usize, zeros: bool },
    /// As they are.
    List(Vec<String>),
}

/// The longest series.
pub const LONGEST_SERIES: usize = 500;

impl Names {
    /// How many there are at most.
    pub fn len(&self) -> usize {
        match self {
            Names::Series { .. } => LONGEST_SERIES,
            Names::List(list) => list.len(),
        }
    }

    /// The name at `index`, from 0, with `domain` behind it.
    pub fn name(&self, index: usize, domain: &str) -> String {
        match self {
            Names::Series { before, after, width, zeros } => {
                let number = index + 1;
                match zeros {
                    true => format!("{before}{number:0width$}{after}{domain}"),
                    false => format!("{before}{number:width$}{after}{domain}"),
                }
            }
            Names::List(list) => list.get(index).map(|name| format!("{name}{domain}")).unwrap_or_default(),
        }
    }
}

/// Reads the words.
///
/// # Errors
/// A sentence about the word that is wrong.
pub fn parse(args: &[OsString]) -> Result<Options, String> {
    let mut options = Options {
        latency: false,
        addresses: false,
        down_too: false,
        verbose: false,
        domain: false,
        total: Some(Duration::from_secs(7)),
        look_up_again: Duration::from_millis(500),
        connect: Some(Duration::from_millis(900)),
        compile: Some(Duration::from_millis(1500)),
        same_bits: 0,
        overlap: 1,
        gap: 0,
        port: DEFAULT_PORT,
        protocol: 1,
        compiler: None,
        names: series("distcc%d").ok_or("no series")?,
    };
    let words = args.iter().map(OsString::as_os_str).map(text).collect::<Result<Vec<&str>, String>>()?;
    let operands = words.iter().position(|word| !word.starts_with('-')).unwrap_or(words.len());
    for word in &words[..operands] {
        options.take(word)?;
    }
    match &words[operands..] {
        [] => {}
        [first, ..] if first.contains('%') => {
            options.names = series(first).ok_or_else(|| {
                format!("\"{first}\" is no format: it needs one %d, such as distcc%d or node%02d")
            })?;
        }
        list => options.names = Names::List(list.iter().map(|name| (*name).to_owned()).collect()),
    }
    Ok(options)
}

fn text(word: &OsStr) -> Result<&str, String> {
    word.to_str().ok_or_else(|| format!("{word:?} is not text"))
}

impl Options {
    fn take(&mut self, word: &str) -> Result<(), String> {
        let mut letters = word[1..].chars();
        let letter = letters.next();
        let value = letters.as_str();
        let number = |least: u32, most: u32| match value.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => {
                Err(format!("{word}: a number from {least} to {most} has to follow at once, without a blank"))
            }
        };
        let millis = || number(0, u32::MAX).map(|number| Duration::from_millis(number.into()));
        let unless_zero = |time: Duration| (!time.is_zero()).then_some(time);
        match letter {
            Some('l') if value.is_empty() => self.latency = true,
            Some('n') if value.is_empty() => self.addresses = true,
            Some('x') if value.is_empty() => self.down_too = true,
            Some('d') if value.is_empty() => self.domain = true,
            Some('v') if value.chars().all(|c| c == 'v') => self.verbose = true,
            Some('t') => self.total = unless_zero(Duration::from_secs(number(0, u32::MAX)?.into())),
            Some('h') => self.look_up_again = millis()?,
            Some('c') => self.connect = unless_zero(millis()?),
            Some('k') => self.compile = unless_zero(millis()?),
            Some('m') => self.same_bits = number(0, 31)?,
            Some('o') => self.overlap = number(0, 100)? as usize,
            Some('g') => self.gap = number(0, u32::MAX)? as usize,
            Some('r') => self.port = number(1, 65535)? as u16,
            Some('P') => self.protocol = number(1, 3)?,
            Some('p') if !value.is_empty() => self.compiler = Some(value.to_owned()),
            Some('p') => return Err("-p: the compiler's name has to follow at once: -pgcc".to_owned()),
            _ => return Err(format!("{word}: there is no such option")),
        }
        Ok(())
    }
}

/// A format with one `%d`, perhaps with a width.
fn series(format: &str) -> Option<Names> {
    let (before, rest) = format.split_once('%')?;
    let (width, after) = rest.split_once('d')?;
    let zeros = width.starts_with('0');
    let width = if width.is_empty() { 0 } else { width.parse().ok().filter(|width| *width <= 20)? };
    (!after.contains('%')).then(|| Names::Series {
        before: before.to_owned(),
        after: after.to_owned(),
        width,
        zeros,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &str) -> Result<Options, String> {
        parse(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_joined_to_their_values() {
        let got = options("-l -n -x -vv -t3 -h200 -c0 -k0 -m24 -o4 -g2 -r4000 -P2 -pgcc-12 a b").unwrap();
        assert!(got.latency && got.addresses && got.down_too && got.verbose && !got.domain);
        assert_eq!((got.total, got.connect, got.compile), (Some(Duration::from_secs(3)), None, None));
        assert_eq!((got.same_bits, got.overlap, got.gap, got.port, got.protocol), (24, 4, 2, 4000, 2));
        assert_eq!(got.compiler.as_deref(), Some("gcc-12"));
        assert_eq!(got.names, Names::List(vec!["a".into(), "b".into()]));
        for bad in
            ["-r 4444", "-r0", "-r65536", "-P4", "-P0", "-m32", "-p", "-z", "-", "-lx", "-tx", "a%s", "a%d%d"]
        {
            assert!(options(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_series_counts_from_one() {
        let names = options("").unwrap().names;
        assert_eq!((names.name(0, ""), names.name(11, ".lan")), ("distcc1".into(), "distcc12.lan".into()));
        let names = options("node%03d-x").unwrap().names;
        assert_eq!(names.name(6, ""), "node007-x");
    }
}
