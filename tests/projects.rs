//! Real projects through real clients and daemons: every object is the local compiler's, byte for byte.
//!
//! gcc's direct compile and its compile of preprocessed text are the same program but not always the same
//! bytes: text that came out of a macro has other columns, and columns go into debug information. So objects
//! at `-O2` are compared with those of a plain local gcc, and objects with `-g` with those of `gcc
//! -no-integrated-cpp`, which preprocesses in a step of its own (measured in tests/projects/README.md:
//! with `-g` every file of these projects differs from the direct compile, and with that option none).

// Through the harness's capture, as only these macros go.
#![allow(clippy::disallowed_macros)]

mod util;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use distcc::include::{Engine, Unit};
use util::oracle::differences;
use util::*;

/// One of `tests/projects`.
struct Project {
    name: &'static str,
    /// The variable that names the compiler, and the compiler.
    compiler: (&'static str, &'static str),
    /// Sources that a client compiles itself: assembler.
    local: usize,
    /// What `fetch.sh` is to fetch, if it is not part of all.
    set: Option<&'static str>,
}

const LUA: Project = Project { name: "lua", compiler: ("CC", "gcc"), local: 0, set: None };
const ZSTD: Project = Project { name: "zstd", compiler: ("CC", "gcc"), local: 1, set: None };
const LEVELDB: Project = Project { name: "leveldb", compiler: ("CXX", "g++"), local: 0, set: None };
const HARFBUZZ: Project = Project { name: "harfbuzz", compiler: ("CXX", "g++"), local: 0, set: None };
const BOOST: Project = Project { name: "boost", compiler: ("CXX", "g++"), local: 0, set: Some("boost") };
const ROCKSDB: Project =
    Project { name: "rocksdb", compiler: ("CXX", "g++"), local: 0, set: Some("rocksdb") };

/// HarfBuzz's layout engine: its heaviest templates.
const HEAVY: [&str; 2] = ["hb-ot-layout.o", "hb-aat-layout.o"];

/// Optimised, without debug information, against a plain local gcc.
const PLAIN: (&str, &str) = ("-O2", "");
/// With debug information, against a gcc that preprocesses first.
const DEBUG: (&str, &str) = ("-O1 -g", " -no-integrated-cpp");

impl Project {
    /// Whether this system can fetch the sources; without a word only where it can.
    fn is_there(&self) -> bool {
        let is_there = self.set != Some("boost") || Command::new("apt-get").arg("-v").output().is_ok();
        if !is_there {
            assert!(std::env::var_os("CI").is_none(), "Boost comes from Debian, and there is no apt-get");
            eprintln!("SKIPPED: Boost comes from Debian, and there is no apt-get");
        }
        is_there
    }

    /// The sources, fetched once for all tests.
    fn sources(&self) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
        let fetch = root.join("tests/projects/fetch.sh");
        succeed(Command::new("sh").arg(fetch).arg(&target).args(self.set));
        target.join(self.name)
    }

    /// Runs make for `targets` with this compiler command, under `pump` for hosts that preprocess; `setting` chooses the
    /// client.
    fn make(
        &self,
        workspace: &Workspace,
        out: &Path,
        compiler: &str,
        opt: &str,
        targets: &[&str],
        setting: &[(&str, &str)],
    ) {
        let makefile = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/projects/{}.mk", self.name));
        let is_pumped = setting.iter().any(|(name, value)| *name == "DISTCC_HOSTS" && value.contains(",cpp"));
        let mut make = workspace.command(if is_pumped { workspace.path("bin/pump") } else { "make".into() });
        make.args(is_pumped.then_some("make"))
            .args(["-s", "-j4", "-f"])
            .arg(makefile)
            .arg(format!("SRC={}", self.sources().display()))
            .arg(format!("OUT={}", out.display()))
            .arg(format!("OPT={opt}"))
            .arg(format!("{}={compiler}", self.compiler.0))
            .envs(setting.iter().copied())
            .args(targets);
        succeed(&mut make);
    }

    /// The include engine beside the compiler's own `-M` for about `most` of the units, spread over all: nothing is
    /// missed, and less than 5 % too much.
    fn read_alike(&self, most: usize) {
        let workspace = Workspace::new(self.name);
        let log = workspace.path("log");
        fs::create_dir_all(&log).unwrap();
        // What make would run, a word a line.
        let compiler = workspace.script(
            "listing",
            &format!(
                "#!/bin/sh\nprintf '%s\\n' \"$@\" > {}/$$\nwhile [ \"$1\" != -o ]; do shift; done; : > \"$2\"\n",
                log.display()
            ),
        );
        let out = workspace.path("local");
        self.make(&workspace, &out, &compiler.display().to_string(), "-O2", &["objects"], &[]);
        let mut commands: Vec<String> = fs::read_dir(&log)
            .unwrap()
            .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        commands.sort();
        let (mut engine, mut units, mut theirs, mut extra_files) = (Engine::new(), 0, 0, 0);
        for command in commands.iter().step_by(commands.len().div_ceil(most)) {
            if command.lines().any(|word| word.ends_with(".S")) {
                continue;
            }
            let unit = Unit {
                cwd: workspace.work(),
                program: Path::new("/usr/bin").join(self.compiler.1),
                argv: std::iter::once(self.compiler.1).chain(command.lines()).map(OsString::from).collect(),
                environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            };
            let (missed, extra) = differences(&mut engine, &unit).expect("the project compiles");
            assert!(missed.is_empty(), "{}: {command} missed {missed:?}", self.name);
            units += 1;
            extra_files += extra.len();
            theirs += engine.closure(&unit).unwrap().files.len() - extra.len();
        }
        eprintln!(
            "{}: {units} of {} units read {theirs} files, {extra_files} too many",
            self.name,
            commands.len()
        );
        assert!(
            units * 2 > most.min(commands.len()) && extra_files * 20 < theirs,
            "{extra_files} of {theirs}"
        );
    }

    /// Builds locally, then once with each of `ways`, and compares every object.
    fn compare(&self, (opt, split): (&str, &str), targets: &[&str], ways: &[(Kind, Kind, &str)]) {
        let workspace = Workspace::new(self.name);
        let local = workspace.path("local");
        let compiler = self.compiler.1;
        let targets_in = |out: &Path| -> Vec<String> {
            targets
                .iter()
                .map(|target| match target.ends_with(".o") {
                    true => out.join(target).display().to_string(),
                    false => (*target).to_owned(),
                })
                .collect()
        };
        let build = |out: &Path, compiler: &str, setting: &[(&str, &str)]| {
            let words = targets_in(out);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.make(&workspace, out, compiler, opt, &words, setting);
        };
        build(&local, &format!("{compiler}{split}"), &[]);
        for (client, daemon, option) in ways {
            let Some(daemon_process) = Daemon::of_kind(*daemon, &workspace, &["--jobs", "4"]) else {
                continue;
            };
            let program = match client {
                Kind::Ours => workspace.path("bin/distcc"),
                Kind::Stock => match stock("distcc") {
                    Some(path) => path,
                    None => continue,
                },
            };
            let way = format!("{} with {client:?} client, {daemon:?} daemon{option}, {opt}", self.name);
            let remote = workspace.path("remote");
            let hosts = format!("{}/4{option}", daemon_process.host());
            let log = workspace.path("client.log");
            let setting = [
                ("DISTCC_HOSTS", hosts.as_str()),
                ("DISTCC_FALLBACK", "0"),
                ("DISTCC_VERBOSE", "1"),
                ("DISTCC_LOG", log.to_str().unwrap()),
            ];
            build(&remote, &format!("{} {compiler}", program.display()), &setting);
            let is_pumped = option.contains("cpp");
            let dependencies = match (client, daemon) {
                // Stock writes `x.d` for `-MMD -o dir/x.o` into the wrong directory (reference users.md).
                (Kind::Stock, _) => Dependencies::Elsewhere,
                // Their lines break where names have other lengths.
                (_, Kind::Stock) if is_pumped => Dependencies::SameNames,
                _ => Dependencies::SameBytes,
            };
            let count = same_objects(&local, &remote, &way, dependencies);
            // What ran remotely is proven by the daemon's own lines. Those that run before it is known what stock's
            // daemon does with names run twice.
            let expected = count - self.local;
            let most = expected + if is_pumped && *daemon == Kind::Stock { 4 } else { 0 };
            wait_until("all jobs are logged", || daemon_process.jobs("COMPILE_OK") >= expected);
            let jobs = daemon_process.jobs("");
            assert!((expected..=most).contains(&jobs), "{way}: {}", daemon_process.log());
            let said = fs::read_to_string(&log).unwrap();
            let plain =
                said.lines().filter(|line| line.contains("preprocessing") && line.contains("locally"));
            assert_eq!(plain.collect::<Vec<_>>(), [""; 0], "{way}");
            fs::remove_file(log).unwrap();
            eprintln!("{way}: {count} objects, all equal");
            fs::remove_dir_all(&remote).unwrap();
            drop(daemon_process);
            workspace.assert_clean();
        }
    }
}

/// How dependency files compare with local ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dependencies {
    SameBytes,
    SameNames,
    Elsewhere,
}

/// Compares every object of two builds, and the dependency files.
#[track_caller]
fn same_objects(local: &Path, remote: &Path, way: &str, dependencies: Dependencies) -> usize {
    let mut objects = 0;
    let mut different = Vec::new();
    for entry in fs::read_dir(local).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".o") {
            objects += 1;
            if fs::read(&path).unwrap() != fs::read(remote.join(&name)).unwrap() {
                different.push(name);
            }
        } else if name.ends_with(".d") && dependencies != Dependencies::Elsewhere {
            // They name the object, which lies in another directory.
            let expected = fs::read_to_string(&path).unwrap();
            let expected = expected.replace(&*local.to_string_lossy(), &remote.to_string_lossy());
            let found = fs::read_to_string(remote.join(&name)).unwrap();
            let names = |text: &str| {
                text.split_whitespace().filter(|word| *word != "\\").collect::<Vec<_>>().join("\n")
            };
            match dependencies {
                Dependencies::SameNames => assert_eq!(names(&found), names(&expected), "{way}: {name}"),
                _ => assert_eq!(found, expected, "{way}: {name}"),
            }
        }
    }
    assert!(objects > 0);
    assert_eq!(different, [""; 0], "{way}: these of {objects} objects differ");
    objects
}

/// Our client and a server that preprocesses, ours and stock's.
const PUMP_WAYS: [(Kind, Kind, &str); 2] =
    [(Kind::Ours, Kind::Ours, ",cpp,lzo"), (Kind::Ours, Kind::Stock, ",lzo,cpp")];

const PLAIN_WAYS: [(Kind, Kind, &str); 4] = [
    (Kind::Ours, Kind::Ours, ""),
    (Kind::Ours, Kind::Stock, ""),
    (Kind::Stock, Kind::Ours, ""),
    (Kind::Stock, Kind::Stock, ""),
];

const LZO_WAYS: [(Kind, Kind, &str); 4] = [
    (Kind::Ours, Kind::Ours, ",lzo"),
    (Kind::Ours, Kind::Stock, ",lzo"),
    (Kind::Stock, Kind::Ours, ",lzo"),
    (Kind::Stock, Kind::Stock, ",lzo"),
];

/// A sample of each; `DISTCC_INCLUDE_UNITS` says how many of each at most.
#[test]
fn the_include_engine_reads_what_compilers_read() {
    let most = std::env::var("DISTCC_INCLUDE_UNITS").map_or(6, |most| most.parse().unwrap());
    for project in [LUA, ZSTD, LEVELDB, HARFBUZZ, BOOST].iter().filter(|project| project.is_there()) {
        project.read_alike(most);
    }
}

#[test]
fn lua_plain() {
    LUA.compare(PLAIN, &["check"], &PLAIN_WAYS);
}

#[test]
fn lua_with_debug_information() {
    LUA.compare(DEBUG, &["check"], &LZO_WAYS[..3]);
}

#[test]
fn lua_lzo() {
    LUA.compare(PLAIN, &["objects"], &LZO_WAYS);
}

#[test]
fn lua_with_preprocessing_servers() {
    let ways = [
        (Kind::Ours, Kind::Ours, ",cpp,lzo"),
        (Kind::Ours, Kind::Stock, ",lzo,cpp"),
        (Kind::Stock, Kind::Ours, ",cpp,lzo"),
        (Kind::Stock, Kind::Stock, ",lzo,cpp"),
    ];
    LUA.compare(PLAIN, &["check"], &ways);
    // The server's compiler sees the sources themselves, so this is a plain gcc's debug information.
    LUA.compare(("-O1 -g", ""), &["objects"], &ways[..1]);
}

/// A plain gcc's debug information, for the server's compiler sees macros; only which options it had is left out.
#[test]
fn servers_that_expand_macros() {
    let setting = ("-O1 -g -gno-record-gcc-switches", "");
    let ways = [(Kind::Ours, Kind::Ours, ",lzo,directives"), (Kind::Ours, Kind::Stock, ",directives")];
    LUA.compare(setting, &["check"], &ways);
    LEVELDB.compare(setting, &["block.o", "env_posix.o", "version_set.o"], &ways[..1]);
}

#[test]
fn leveldb_plain() {
    LEVELDB.compare(PLAIN, &["check"], &PLAIN_WAYS[..3]);
}

#[test]
fn leveldb_lzo() {
    LEVELDB.compare(PLAIN, &["objects"], &LZO_WAYS[..3]);
}

/// Asserts in headers that are named absolutely put their names into the objects.
#[test]
fn leveldb_with_preprocessing_servers() {
    LEVELDB.compare(PLAIN, &["objects"], &PUMP_WAYS);
}

#[test]
fn leveldb_with_debug_information() {
    LEVELDB.compare(DEBUG, &["check"], &LZO_WAYS[..1]);
}

#[test]
fn zstd_with_an_assembler_file() {
    ZSTD.compare(PLAIN, &["check"], &[(Kind::Ours, Kind::Ours, ""), (Kind::Ours, Kind::Ours, ",lzo")]);
}

#[test]
fn heavy_templates() {
    HARFBUZZ.compare(("-O1", ""), &HEAVY, &[(Kind::Ours, Kind::Ours, ",lzo")]);
}

/// The server's compiler gets the sources themselves, so the level of optimisation makes no difference to what is compared: the
/// lowest is the fastest.
const FAST: (&str, &str) = ("-O0", "");

#[test]
fn zstd_with_preprocessing_servers() {
    ZSTD.compare(FAST, &["objects"], &PUMP_WAYS);
}

/// A sixth of the sources, the heaviest among them.
#[test]
fn harfbuzz_with_preprocessing_servers() {
    let sample = [
        "hb-aat-layout.o",
        "hb-blob.o",
        "hb-buffer.o",
        "hb-ot-color.o",
        "hb-ot-shaper-arabic.o",
        "hb-ot-shaper-hangul.o",
        "hb-outline.o",
        "hb-ucd.o",
        "hb-unicode.o",
    ];
    HARFBUZZ.compare(FAST, &sample, &PUMP_WAYS);
}

#[test]
fn boost_with_preprocessing_servers() {
    if BOOST.is_there() {
        BOOST.compare(FAST, &["objects"], &PUMP_WAYS);
    }
}

/// All of `make test-pump-projects`: everything of HarfBuzz, and RocksDB or, with `DISTCC_PUMP_EVERY`, each so manieth source of it.
#[test]
#[ignore = "RocksDB alone takes an hour of a processor"]
fn large_projects_with_preprocessing_servers() {
    let every = std::env::var("DISTCC_PUMP_EVERY").unwrap_or_else(|_| "1".to_owned());
    ROCKSDB.compare(FAST, &["objects", &format!("EVERY={every}")], &PUMP_WAYS);
    HARFBUZZ.compare(FAST, &["objects"], &PUMP_WAYS);
}
