//! Real builds with make, through a server of either kind.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clients::run;
use crate::servers::IncludeServer;
use crate::util::{self, Kind, Workspace};

/// A mode, and what its hosts have behind the address.
pub const MODES: [(&str, &str); 3] = [("plain", ""), ("lzo", ",lzo"), ("pump", ",cpp,lzo")];

/// Without optimisation, as most builds at a desk are: compilers take the least then, and what is ours the largest share.
const OPTIMISATION: &str = "-O0";

/// Some sources of one of `tests/projects`.
pub struct Project {
    /// For the table.
    pub label: &'static str,
    name: &'static str,
    /// The variable that names the compiler, and the compiler.
    compiler: (&'static str, &'static str),
    objects: &'static [&'static str],
}

pub const C: Project = Project {
    label: "Lua, C",
    name: "lua",
    compiler: ("CC", "gcc"),
    objects: &[
        "lapi", "lauxlib", "lbaselib", "lcode", "ldblib", "ldebug", "ldo", "lgc", "liolib", "llex",
        "loadlib", "loslib", "lparser", "lstrlib", "ltable", "lvm",
    ],
};

pub const CXX: Project = Project {
    label: "LevelDB, C++",
    name: "leveldb",
    compiler: ("CXX", "g++"),
    objects: &["block", "cache", "coding", "format", "log_reader", "memtable", "status", "write_batch"],
};

/// Seconds of processor time.
#[derive(Clone, Copy)]
pub struct Cost {
    /// Of clients, or of clients and servers, without compilers.
    pub own: f64,
    /// Of all processes.
    pub all: f64,
}

/// Runs a client for make and notes what it took itself in a file: `PROGRAM --account FILE COMMAND...`. False if `words`
/// are not that.
pub fn account(words: &[String]) -> bool {
    let [option, file, program, arguments @ ..] = words else { return false };
    if option != ACCOUNT {
        return false;
    }
    let seconds = run(Command::new(program).args(arguments), true);
    let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(format!("{seconds}\n").as_bytes()).unwrap();
    true
}

const ACCOUNT: &str = "--account";

/// Who builds how.
#[derive(Clone, Copy)]
pub struct Way {
    pub kind: Kind,
    /// One of [`MODES`].
    pub mode: usize,
    /// For make.
    pub jobs: usize,
}

impl Project {
    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Builds with the compiler alone; seconds of processor time. What is built is what the ways' objects are compared with.
    pub fn build_locally(&self, workspace: &Workspace) -> f64 {
        // Preprocessed text has other columns, and so other line information decides where a nop is put.
        let split = format!("{} -no-integrated-cpp", self.compiler.1);
        run(&mut self.make(workspace, "split", &split, 2), false);
        run(&mut self.make(workspace, "whole", self.compiler.1, 2), false)
    }

    /// Builds in this way through the server on this port of 127.0.0.1; what make and all it started took here, with an
    /// include server of its own.
    pub fn build(&self, workspace: &Workspace, way: Way, port: u16) -> Cost {
        let (mode, options) = MODES[way.mode];
        let notes = workspace.path("account");
        fs::write(&notes, "").unwrap();
        let compiler = format!(
            "{} {ACCOUNT} {} {} {}",
            std::env::current_exe().unwrap().display(),
            notes.display(),
            client(workspace, way.kind).display(),
            self.compiler.1
        );
        let mut make = self.make(workspace, "remote", &compiler, way.jobs);
        make.env("DISTCC_HOSTS", format!("127.0.0.1:{port}/4{options}")).env("DISTCC_FALLBACK", "0");
        let mut cost = Cost { own: 0.0, all: 0.0 };
        if mode == "pump" {
            let started = run(&mut IncludeServer::command(workspace), false);
            let include_server = IncludeServer::running(workspace);
            make.env("INCLUDE_SERVER_PORT", IncludeServer::socket(workspace));
            cost.all = run(&mut make, false);
            cost.own = started + include_server.cpu() / 1e3;
            cost.all += cost.own;
            include_server.end();
        } else {
            cost.all = run(&mut make, false);
        }
        let clients = fs::read_to_string(notes).unwrap();
        cost.own += clients.lines().map(|seconds| seconds.parse::<f64>().unwrap()).sum::<f64>();
        assert_eq!(clients.lines().count(), self.len(), "a client for each object");
        self.compare(workspace, if mode == "pump" { "whole" } else { "split" }, way);
        cost
    }

    /// Into an empty directory.
    fn make(&self, workspace: &Workspace, out: &str, compiler: &str, jobs: usize) -> Command {
        let out = workspace.path(out).join(self.name);
        let _ = fs::remove_dir_all(&out);
        let makefile = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/projects/{}.mk", self.name));
        let mut make = workspace.command("make");
        make.arg(format!("-sj{jobs}")).arg("-f").arg(makefile);
        make.arg(format!("SRC={}", sources().join(self.name).display()));
        make.arg(format!("OUT={}", out.display())).arg(format!("OPT={OPTIMISATION}"));
        make.arg(format!("{}={compiler}", self.compiler.0));
        make.args(self.objects.iter().map(|object| out.join(object).with_extension("o")));
        make
    }

    fn compare(&self, workspace: &Workspace, expected: &str, way: Way) {
        let read = |out: &str, object: &str| {
            fs::read(workspace.path(out).join(self.name).join(object).with_extension("o")).unwrap()
        };
        for object in self.objects {
            let same = read("remote", object) == read(expected, object);
            assert!(same, "{object}.o of {:?} in mode {} is a different one", way.kind, MODES[way.mode].0);
        }
    }
}

/// Whose client.
pub fn client(workspace: &Workspace, kind: Kind) -> PathBuf {
    match kind {
        Kind::Ours => workspace.path("bin/distcc"),
        Kind::Stock => "/usr/bin/distcc".into(),
    }
}

/// Fetched once.
fn sources() -> PathBuf {
    let projects = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
    if !projects.exists() {
        let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/projects/fetch.sh");
        util::succeed(Command::new("sh").arg(fetch).arg(&projects));
    }
    projects
}
