//! `tests/data/kernel/layout.txt`: everything that is special about the way Linux is built, in a small tree.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use distcc::include::{Engine, Unit};

use crate::pump_build::Build;
use crate::util::oracle::differences;
use crate::util::*;

fn lay_out(root: &Path) {
    let text = include_str!("data/kernel/layout.txt");
    for file in text.split("\n== ").skip(1) {
        let (name, content) = file.split_once('\n').unwrap();
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{content}\n")).unwrap();
    }
}

/// Everything that the build has made, but for programs and what they leave to the next make.
fn results(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let found = succeed(std::process::Command::new("find").arg(".").args(["-type", "f"]).current_dir(root));
    let names = String::from_utf8(found.stdout).unwrap();
    let is_result =
        |name: &&str| [".o", ".s", ".d", "offsets.h", "config.h"].iter().any(|end| name.ends_with(end));
    names.lines().filter(is_result).map(|name| (name.into(), fs::read(root.join(name)).unwrap())).collect()
}

/// Every unit's files are those that the compiler itself names.
#[test]
fn its_units_read_what_the_compiler_reads() {
    let workspace = Workspace::new("kernel");
    let root = fs::canonicalize(workspace.work()).unwrap();
    lay_out(&root);
    let log = workspace.path("log");
    fs::create_dir(&log).unwrap();
    let listing = workspace.script(
        "bin/listing",
        &format!(
            "#!/bin/sh\ncase $* in *-c*|*-S*) printf '%s\\n' \"$@\" >{}/$$;; esac\nexec \"${{0##*-}}\" \"$@\"\n",
            log.display()
        ),
    );
    for compiler in ["gcc", "clang"] {
        // Called after the compiler that it stands for.
        let wrapper = listing.with_file_name(format!("listing-{compiler}"));
        let _ = fs::copy(&listing, &wrapper).unwrap();
        let make = |words: &[&str]| {
            let mut make = workspace.command("make");
            make.arg(format!("CC={}", wrapper.display())).args(["HOSTCC=gcc", "-s"]).args(words);
            succeed(&mut make);
        };
        make(&["clean"]);
        make(&["-j4"]);
        let mut engine = Engine::new();
        let mut units = 0;
        for command in fs::read_dir(&log).unwrap() {
            let path = command.unwrap().path();
            let words = fs::read_to_string(&path).unwrap();
            fs::remove_file(path).unwrap();
            let words = words.lines().filter(|word| !word.starts_with("-Wp,-MMD"));
            let unit = Unit {
                cwd: root.clone(),
                program: Path::new("/usr/bin").join(compiler),
                argv: std::iter::once(compiler).chain(words).map(OsString::from).collect(),
                environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            };
            let (missed, extra) = differences(&mut engine, &unit).expect("it compiles");
            assert_eq!((missed, extra), (vec![], vec![]), "{:?}", unit.argv);
            units += 1;
        }
        assert_eq!(units, 5, "{compiler}");
    }
}

/// Headers that come and go: the same steps locally and under one pump, in one directory, with the same results after each.
/// Each step begins with nothing built, so that headers are generated while other files compile.
#[test]
fn its_headers_are_generated_edited_and_deleted_while_it_builds() {
    let build = Build::new("kernelbuild");
    let root = build.workspace.work();
    let steps = [
        "true",
        "sed -i 's/^B=m/# B/; s/^A=y/A=y\\nC=y/' config",
        "rm include/linux/b.h kernel/only-a.h",
        "sed -i 's/^# B/B=y/' config; echo '#define B_LIMIT 18' >include/linux/b.h",
        "echo '#include \"more.h\"' >kernel/core.h; echo '#define CORE 6' >include/more.h; ln -s ../include/more.h kernel/more.h",
        "mkdir arch/x/include/linux; echo '#define B_LIMIT 19' >arch/x/include/linux/b.h; rm kernel/more.h",
        "rm -r arch/x/include/linux; echo '#define B_LIMIT 20' >include/linux/b.h; \
         echo 'typedef unsigned u32; typedef unsigned long long u64; struct inserted;' >arch/x/include/uapi/asm/types.h",
    ];
    let script = |compiler: &str| {
        let mut script = String::from("set -e\n");
        for (number, step) in steps.iter().enumerate() {
            script += &format!(
                "{step}\nmake -s clean\nmake -s -j4 CC='{compiler}' HOSTCC=gcc TREE_FLAGS=-g\n\
                 mkdir ../step{number}\ntar c . | tar x -C ../step{number}\n"
            );
        }
        script
    };
    let steps_of = |program: &str, words: &[&str]| {
        let _ = fs::remove_dir_all(&root);
        fs::create_dir(&root).unwrap();
        lay_out(&root);
        let output = succeed(build.command(program, &build.hosts()).args(words));
        let all: Vec<_> = (0..steps.len())
            .map(|number| {
                let copy = build.workspace.path(&format!("step{number}"));
                let results = results(&copy);
                fs::remove_dir_all(copy).unwrap();
                results
            })
            .collect();
        (all, stderr(&output))
    };
    let (local, _) = steps_of("sh", &["-c", &script("gcc")]);
    let (pumped, said) = steps_of("pump", &["sh", "-c", &script("distcc gcc")]);
    for (number, (local, pumped)) in local.iter().zip(&pumped).enumerate() {
        let names = |results: &BTreeMap<PathBuf, Vec<u8>>| results.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(pumped), names(local), "step {number}");
        assert!(local.len() >= 12, "{:?}", names(local));
        for (name, bytes) in local {
            assert!(pumped[name] == *bytes, "step {number}: {} differs", name.display());
        }
    }
    // All but one change something: that takes away what nothing includes any more.
    assert_eq!(local.windows(2).filter(|pair| pair[0] != pair[1]).count(), steps.len() - 2);
    assert_eq!(said.matches("files and links").count(), steps.len() * 5, "{said}");
    assert!(!said.contains("preprocessing"), "{said}");
    build.assert_clean();
}
