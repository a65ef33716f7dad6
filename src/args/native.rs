//! `-march=native` and its kin in words that mean the same on every machine.
//!
//! The compiler's driver says what it makes of them when it is asked what it would run (`-###`). gcc on x86 takes the
//! processor apart into a word for every feature, on ARM it puts the processor's name in; clang has features that need
//! no word, or have none. So there are candidates, and whoever asks has the compiler say what it makes of each: the
//! first of which it makes the same is right. Found by trials of gcc 11 and 12 and clang 14.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::parse::{What, items};

/// The words of a command that choose the processor, one of which means this machine's.
#[derive(Debug)]
pub struct Processor {
    words: Vec<OsString>,
    compiler: OsString,
    rest: Vec<OsString>,
}

impl Processor {
    /// Takes the command apart; `None` if no word of it asks for this machine's processor.
    pub fn of(argv: &[OsString]) -> Option<Processor> {
        let bytes: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
        let is_native = |word: &&[u8]| native_key(word).is_some();
        bytes.iter().find(|word| is_native(word))?;
        let (mut words, mut rest, mut found) = (Vec::new(), Vec::new(), false);
        for item in items(&bytes) {
            let here = &argv[item.at..item.at + item.words];
            let chooses = matches!(item.what, What::Option(row, _)
                if row.spelling().starts_with("-m") || OTHER_CHOOSERS.contains(&row.spelling()));
            found |= chooses && is_native(&item.word);
            if chooses { &mut words } else { &mut rest }.extend_from_slice(here);
        }
        found.then(|| Processor { words, compiler: argv[0].clone(), rest })
    }

    /// The words that choose.
    pub fn words(&self) -> &[OsString] {
        &self.words
    }

    /// The command with these words in their places. They come first: to gcc, features of the processor come before
    /// whatever the user says of them.
    pub fn command(&self, words: &[OsString]) -> Vec<OsString> {
        [std::slice::from_ref(&self.compiler), words, &self.rest].concat()
    }
}

/// What chooses a processor but does not begin with `-m`.
const OTHER_CHOOSERS: [&str; 5] = ["--target=", "-EB", "-EL", "-arch", "-target"];

const KEYS: [&str; 3] = ["-march=", "-mcpu=", "-mtune="];

/// The key of a word like `-mcpu=native+crc`.
fn native_key(word: &[u8]) -> Option<&'static str> {
    KEYS.into_iter().find(|key| {
        let value = word.strip_prefix(key.as_bytes());
        value.is_some_and(|value| value.starts_with(b"native"))
    })
}

/// What a driver says it would run.
#[derive(Debug, PartialEq, Eq)]
pub enum Driven {
    /// gcc: the words for the processor that its compiler and its assembler get.
    Gcc {
        /// Those that begin with `-m`.
        machine: Vec<String>,
        /// The values of `--param`, which have a place of their own among a compiler's words.
        params: Vec<String>,
        /// Of the assembler, all but file names.
        assembler: Vec<String>,
    },
    /// clang.
    Clang {
        /// `-target-cpu`.
        cpu: String,
        /// `-tune-cpu`.
        tune: Option<String>,
        /// `-target-feature`, in order.
        features: Vec<String>,
    },
}

impl Driven {
    /// Reads what a driver with `-###` writes to standard error; `None` if it has anything to complain about, since it
    /// might complain otherwise about other words.
    pub fn read(text: &[u8]) -> Option<Driven> {
        let text = std::str::from_utf8(text).ok().filter(|text| !text.contains("warning: "))?;
        let commands: Vec<Vec<String>> =
            text.lines().filter(|line| line.starts_with(' ')).map(split).collect();
        let called = |name: &str| {
            commands.iter().find(|command| {
                let program = command.first().map_or("", |program| program.rsplit('/').next().unwrap_or(""));
                program == name || program.strip_suffix(name).is_some_and(|rest| rest.ends_with('-'))
            })
        };
        if let Some(command) =
            commands.iter().find(|command| command.get(1).is_some_and(|word| word == "-cc1"))
        {
            let values = |option: &str| -> Vec<String> {
                command.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].clone()).collect()
            };
            return Some(Driven::Clang {
                cpu: values("-target-cpu").pop()?,
                tune: values("-tune-cpu").pop(),
                features: values("-target-feature"),
            });
        }
        let compiler = called("cc1")?;
        let mut params = Vec::new();
        for (at, word) in compiler.iter().enumerate() {
            match word.strip_prefix("--param") {
                Some("") => params.push(compiler.get(at + 1)?.clone()),
                Some(joined) => params.push(joined.strip_prefix('=')?.to_owned()),
                None => {}
            }
        }
        // What the driver tells itself about libraries.
        let is_machine = |word: &&String| word.starts_with("-m") && !word.starts_with("-mlibarch=");
        let machine = last_of_each(compiler.iter().filter(is_machine));
        let assembler = called("as")?.iter().filter(|word| word.starts_with('-')).cloned().collect();
        Some(Driven::Gcc { machine, params, assembler })
    }

    /// Words that may mean the same as `words` without `native`, the best first.
    pub fn candidates(&self, words: &[OsString]) -> Vec<Vec<OsString>> {
        let put_in = |front: Vec<String>| -> Option<Vec<OsString>> {
            let replaced = words.iter().map(|word| match native_key(word.as_bytes()) {
                Some(key) => Some(OsString::from(format!("{key}{}", self.value(key)?))),
                None => Some(word.clone()),
            });
            let mut all: Vec<OsString> = front.into_iter().map(OsString::from).collect();
            for word in replaced {
                all.push(word?);
            }
            Some(all)
        };
        let mut found: Vec<Vec<OsString>> = put_in(Vec::new()).into_iter().collect();
        match self {
            Driven::Gcc { machine, params, .. } => {
                let mut all = words.to_vec();
                all.retain(|word| !word.as_bytes().starts_with(b"-m"));
                all.extend(machine.iter().map(OsString::from));
                for param in params {
                    all.extend(["--param", param].map(OsString::from));
                }
                found.push(all);
            }
            Driven::Clang { features, .. } => {
                let spelled = features.iter().filter_map(|feature| {
                    let name = feature.get(1..).filter(|name| !WITHOUT_OPTION.contains(name))?;
                    Some(format!("-m{}{name}", if feature.starts_with('-') { "no-" } else { "" }))
                });
                found.extend(put_in(spelled.collect()));
            }
        }
        found
    }

    fn value(&self, key: &str) -> Option<&str> {
        match self {
            Driven::Gcc { machine, .. } => machine.iter().rev().find_map(|word| word.strip_prefix(key)),
            Driven::Clang { tune: Some(tune), .. } if key == "-mtune=" => Some(tune),
            Driven::Clang { cpu, .. } => Some(cpu),
        }
    }
}

/// Of the words for one feature gcc's driver keeps the last, if it comes from the user. So no other counts.
fn last_of_each<'a>(words: impl DoubleEndedIterator<Item = &'a String>) -> Vec<String> {
    fn feature(word: &str) -> &str {
        let name = word.split('=').next().unwrap_or_default();
        name.strip_prefix("-mno-").or(name.strip_prefix("-m")).unwrap_or(name)
    }
    let mut kept: Vec<String> = Vec::new();
    for word in words.rev() {
        if kept.iter().all(|later| feature(later) != feature(word)) {
            kept.push(word.clone());
        }
    }
    kept.reverse();
    kept
}

/// Features of x86 that clang lists and every processor with a name has.
const WITHOUT_OPTION: [&str; 4] = ["64bit", "cmov", "cx8", "x87"];

/// The attributes by which clang's code generator knows the processor, out of a module in text.
///
/// The driver's list of features leaves out what the processor's name implies; this one is complete.
pub fn clang_attributes(module: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(module).ok()?;
    let line = text.lines().find(|line| line.starts_with("attributes #0 = "))?;
    let value = |name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\"=\""))?;
        rest.split('"').next()
    };
    let mut attributes = vec![format!("cpu {}", value("target-cpu")?)];
    attributes.extend(value("tune-cpu").map(|tune| format!("tune {tune}")));
    let features = value("target-features").unwrap_or_default().split(',');
    let counts = |feature: &&str| feature.get(1..).is_some_and(|name| !WITHOUT_OPTION.contains(&name));
    attributes.extend(features.filter(counts).map(str::to_owned));
    Some(attributes)
}

/// The words of a command as drivers print it: separated by blanks, some in double quotes.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// What of `/proc/cpuinfo` tells one kind of processor from another, each line once: cores of one machine may differ.
/// Clocks and numbers of cores change with the weather.
pub fn processor_lines(cpuinfo: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = Vec::new();
    for line in cpuinfo.split(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii();
        let tells = PROCESSOR_LINES.iter().any(|known| known.as_bytes() == name);
        if tells && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// x86, ARM, PowerPC, S/390, RISC-V; what is missing is not told apart.
const PROCESSOR_LINES: [&str; 18] = [
    "CPU architecture",
    "CPU implementer",
    "CPU part",
    "CPU revision",
    "CPU variant",
    "Features",
    "cache size",
    "cpu",
    "cpu family",
    "features",
    "flags",
    "isa",
    "machine",
    "model",
    "model name",
    "stepping",
    "uarch",
    "vendor_id",
];

/// The words for a question about `words`: what would be run for an empty source?
pub fn question(words: &[OsString]) -> Vec<OsString> {
    let asks = ["-###", "-x", "c", "-c", "/dev/null", "-o", "/dev/null"];
    words.iter().cloned().chain(asks.iter().map(|word| OsStr::new(word).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
    }

    fn line(words: &[OsString]) -> String {
        words.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn only_words_that_ask_for_this_processor_are_taken() {
        let of = |command: &str| Processor::of(&words(command));
        let processor = of("gcc -O2 -mno-avx -march=native -g -c a.c -target x").unwrap();
        assert_eq!(line(processor.words()), "-mno-avx -march=native -target x");
        assert_eq!(line(&processor.command(&words("-mx"))), "gcc -mx -O2 -g -c a.c");
        assert!(of("gcc -mcpu=native+crc -c a.c").is_some());
        assert!(of("gcc -march=x86-64 -c a.c").is_none());
        assert!(of("gcc -D -march=native -c a.c").is_none());
    }

    #[test]
    fn gcc_names_every_feature_or_the_processor() {
        let x86 = b"Target: x\n /usr/lib/gcc/x/12/cc1 -quiet null \"-march=znver3\" -mavx -mno-xop --param \"l1=32\" \
            \"-mtune=znver3\" -quiet -mno-avx2 -o /tmp/x.s\n as --64 -o /dev/null /tmp/x.s\nCOMPILER_PATH=-mx\n";
        let driven = Driven::read(x86).unwrap();
        let asked = words("-march=native -mno-avx2");
        let candidates: Vec<String> = driven.candidates(&asked).iter().map(|it| line(it)).collect();
        assert_eq!(candidates[0], "-march=znver3 -mno-avx2");
        assert_eq!(candidates[1], "-march=znver3 -mavx -mno-xop -mtune=znver3 -mno-avx2 --param l1=32");
        // The same in another place, and what it makes of the first candidate.
        let again = b" cc1 -march=znver3 -mavx -mno-xop -mtune=znver3 -mno-avx2 --param=l1=32\n as --64 -o /tmp/y.s\n";
        assert_eq!(Driven::read(again), Some(driven));

        let arm = b" /usr/lib/cc1 -mfloat-abi=hard -mcpu=cortex-a72 -mlibarch=armv8-a\n arm-linux-gnueabihf-as -mcpu=cortex-a72\n";
        let candidates = Driven::read(arm).unwrap().candidates(&words("-mcpu=native"));
        assert_eq!(line(&candidates[0]), "-mcpu=cortex-a72");
        assert_eq!(Driven::read(b"gcc: error: unrecognized -mcpu=native\n"), None);
        assert_eq!(Driven::read(&[&b"gcc: warning: deprecated\n"[..], arm].concat()), None);
        let overruled = b" cc1 -mavx -mno-xop -mtune=a -mno-avx -mtune=b\n as\n";
        let candidates = Driven::read(overruled).unwrap().candidates(&words("-mtune=native"));
        assert_eq!(line(&candidates[1]), "-mno-xop -mno-avx -mtune=b");
    }

    #[test]
    fn clang_has_features_without_options() {
        let text = b" \"/usr/lib/clang\" \"-cc1\" \"-target-cpu\" \"znver3\" \"-target-feature\" \"+64bit\" \"-target-feature\" \"+avx\" \"-target-feature\" \"-xop\" \"-o\" \"a b.o\"\n";
        let candidates = Driven::read(text).unwrap().candidates(&words("-march=native -mno-avx"));
        assert_eq!(line(&candidates[0]), "-march=znver3 -mno-avx");
        assert_eq!(line(&candidates[1]), "-mavx -mno-xop -march=znver3 -mno-avx");
        let module = b"x\nattributes #0 = { noinline \"target-cpu\"=\"znver3\" \"target-features\"=\"+64bit,+avx,-xop\" }\n";
        assert_eq!(clang_attributes(module).unwrap(), ["cpu znver3", "+avx", "-xop"]);
    }

    #[test]
    fn clocks_are_no_part_of_a_processor() {
        let info = b"processor\t: 0\nmodel name\t: X\ncpu MHz\t\t: 1.5\nflags\t: a b\n\nprocessor\t: 1\nmodel name\t: X\ncpu MHz\t\t: 2.5\nflags\t: a\n";
        assert_eq!(processor_lines(info), [&b"model name\t: X"[..], b"flags\t: a b", b"flags\t: a"]);
    }
}
