//! What both benchmarks stand on: payloads of real text and code, the stub compiler, medians and the list of
//! goals.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use distcc::wire::Version;

use crate::util::{Workspace, explain, stub};

/// Source and object of a job.
pub struct Payload {
    pub name: &'static str,
    pub source: Vec<u8>,
    pub object: Vec<u8>,
}

/// Both protocols, with their names in the table.
pub const VERSIONS: [(Version, &str); 2] = [(Version::Plain, "plain"), (Version::Lzo, "lzo")];

/// Jobs from small to large: as many bytes of preprocessed C++ and of an object as the names say.
pub fn payloads(workspace: &Workspace) -> Vec<Payload> {
    let headers = ["algorithm", "map", "regex", "string", "thread", "vector"];
    let mut text: String = headers.map(|header| format!("#include <{header}>\n")).concat();
    text.push_str("bool f(const std::string &s) { return std::regex_match(s, std::regex(\"a+b*\")); }\n");
    workspace.write("sample.cc", &text);
    must(workspace.command("g++").args(["-E", "sample.cc", "-o", "sample.ii"]));
    must(workspace.command("g++").args(["-O1", "-g", "-c", "sample.ii", "-o", "sample.o"]));
    let source = fs::read(workspace.work().join("sample.ii")).unwrap();
    let object = fs::read(workspace.work().join("sample.o")).unwrap();
    // Clients look who made an object: the start is a whole one, and what comes behind is of none of its sections.
    workspace.write("small.c", "int i;\n");
    must(workspace.command("gcc").args(["-c", "small.c", "-o", "small.o"]));
    let small = fs::read(workspace.work().join("small.o")).unwrap();
    let cycle = |bytes: &[u8], len: usize| -> Vec<u8> { bytes.iter().copied().cycle().take(len).collect() };
    [("10 KB", 10_000, 5_000), ("1 MB", 1_000_000, 200_000), ("10 MB", 10_000_000, 4_000_000)]
        .map(|(name, source_len, object_len)| Payload {
            name,
            source: cycle(&source, source_len),
            object: [&small[..], &cycle(&object, object_len - small.len())].concat(),
        })
        .into()
}

/// The stub compiler, called `gcc`, a name that every distccd allows.
pub struct Stub {
    /// Where it is, to go first in a PATH.
    pub dir: PathBuf,
    output: PathBuf,
}

impl Stub {
    pub fn build(workspace: &Workspace) -> Stub {
        let dir = workspace.path("stub");
        fs::create_dir(&dir).unwrap();
        let output = workspace.path("stub-output");
        stub::build(workspace, &dir.join("gcc"), Some(&output));
        Stub { dir, output }
    }

    /// From now on it makes this.
    pub fn make(&self, bytes: &[u8]) {
        let file = self.output.with_extension(bytes.len().to_string());
        if !file.exists() {
            fs::write(&file, bytes).unwrap();
        }
        let _ = fs::remove_file(&self.output);
        symlink(file, &self.output).unwrap();
    }

    /// A PATH with the stub in front of the system's programs.
    pub fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.dir.display())
    }
}

/// What users get, where `sh cross/build.sh` has made it for this kind of machine.
pub fn static_binary() -> Option<PathBuf> {
    let target = option_env!("CARGO_TARGET_DIR").unwrap_or("target");
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("dist");
    Some(dist.join(std::env::consts::ARCH).join("distcc")).filter(|program| program.exists())
}

/// Takes what users get for ours, if it is there, and says so.
pub fn take_static_binary(workspace: &Workspace) {
    match static_binary() {
        Some(program) => {
            println!("ours is the static binary, as users get it\n");
            workspace.use_program(&program);
        }
        None => println!(
            "ours is this build; sh cross/build.sh {} makes what users get\n",
            std::env::consts::ARCH
        ),
    }
}

/// Runs what only prepares, and so has nothing to say.
pub fn must(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", explain(&output));
}

/// The middle one.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

/// Nanoseconds that a process's only thread has run: what utime and stime add up to, but not in ticks of 10 ms.
pub fn cpu_of(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// Says what was to be reached and whether it was.
pub fn goal(text: &str, reached: bool, detail: &str) {
    println!("{} {text}: {detail}", if reached { "ok    " } else { "MISSED" });
}

/// On which kind of machine the numbers were made.
pub fn print_machine() {
    let text = |command: &mut Command| {
        let output = command.output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}, {cores} processors\n", text(Command::new("uname").arg("-srm")));
}
