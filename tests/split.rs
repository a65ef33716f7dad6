use std::fs;

use crate::util::*;

const SOURCE: &str = "
#define NEXT(x) ((x) + 1)
struct pair { int number; char letter; };
static int count;
int next(struct pair *pair) { count++; return NEXT(pair->number); }
";

const CXX_SOURCE: &str = "
template <class T> struct Box { T value; T get() const { return value; } };
namespace { struct Hidden { int x; }; }
int open() { Box<int> box = {3}; Hidden hidden = {4}; return box.get() + hidden.x; }
";

/// Each pair of files as the compiler alone makes it. Columns of what macros made are those of preprocessed text.
#[test]
fn object_and_dwo_are_those_of_a_local_compile() {
    let sets = [
        "gcc -g -gsplit-dwarf -c a.c",
        "gcc -g -gsplit-dwarf -O2 -c a.c -o a.o",
        "gcc -gsplit-dwarf -gdwarf-4 -c a.c -o out/a.b.o",
        "gcc -g -gsplit-dwarf -gz -c a.c -o out/without",
        "gcc -g1 -gsplit-dwarf -ffunction-sections -c a.c -o out/strange-name_1.obj",
        "gcc -g3 -ggdb -gsplit-dwarf -gdwarf-5 -fdebug-types-section -c a.c -o ./out/../b.o",
        "gcc -g -gsplit-dwarf -fdebug-prefix-map=out=x -Wa,--noexecstack -c a.c -o c.o",
        "gcc -g -gsplit-dwarf -S a.c -o out/a.s",
        "g++ -g -gsplit-dwarf -ggnu-pubnames -O2 -c b.cc -o out/b.o",
        "gcc-11 -g -gsplit-dwarf -c a.c -o out/eleven.o",
        "arm-linux-gnueabihf-gcc -g -gsplit-dwarf -gno-column-info -O2 -c a.c -o out/arm.o",
    ];
    for kind in [Kind::Ours, Kind::Stock] {
        let workspace = Workspace::new("split");
        workspace.write("a.c", SOURCE);
        workspace.write("b.cc", CXX_SOURCE);
        let Some(daemon) = Daemon::of_kind(kind, &workspace, &[]) else { continue };
        let mut count = 0;
        for set in sets {
            let words: Vec<&str> = set.split(' ').collect();
            if !tool(words[0]) {
                continue;
            }
            let files = || {
                let mut files = Vec::new();
                for directory in [workspace.work(), workspace.work().join("out")] {
                    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                        if entry.file_type().unwrap().is_file() {
                            files.push((entry.path(), fs::read(entry.path()).unwrap()));
                        }
                    }
                }
                files.sort();
                files
            };
            let clean = || {
                let _ = fs::remove_dir_all(workspace.work().join("out"));
                fs::create_dir(workspace.work().join("out")).unwrap();
                for (file, _) in files() {
                    if file.extension().is_none_or(|it| it != "c" && it != "cc") {
                        fs::remove_file(file).unwrap();
                    }
                }
            };
            clean();
            succeed(workspace.command(words[0]).arg("-no-integrated-cpp").args(&words[1..]));
            let expected = files();
            clean();
            let output = succeed(workspace.distcc(&daemon.host()).args(&words));
            assert_eq!(stderr(&output), "", "{set}");
            let made = files();
            let names = |files: &[(std::path::PathBuf, Vec<u8>)]| -> Vec<String> {
                files.iter().map(|(name, _)| name.display().to_string()).collect()
            };
            assert_eq!(names(&made), names(&expected), "{set}");
            let different: Vec<_> = made.iter().filter(|file| !expected.contains(file)).collect();
            assert!(different.is_empty(), "{set}: {:?} differs", different[0].0);
            count += 1;
            daemon.wait_for_jobs("COMPILE_OK", count);
        }
        workspace.assert_clean();
    }
}

#[test]
fn what_is_not_gcc_stays_here() {
    let workspace = Workspace::new("splitlocal");
    workspace.write("a.c", SOURCE);
    let explain = |line: &str| {
        let output = succeed(workspace.distcc("127.0.0.1").arg("--explain").args(line.split(' ')));
        String::from_utf8(output.stdout).unwrap()
    };
    for local in ["clang -gsplit-dwarf -c a.c", "tool -gsplit-dwarf -c a.c", "gcc -gsplit-dwarf -c a.c -o .o"]
    {
        assert!(explain(local).starts_with("local: -gsplit-dwarf: it "), "{}", explain(local));
    }
    let remote = explain("gcc -g -gsplit-dwarf -c a.c -o out/x.o");
    for line in [
        " -g -gsplit-dwarf -S a.c -o out/x.s\n",
        "\nruns here then: gcc -g -gsplit-dwarf -c -x assembler - -o out/x.o\n",
        "\nwrites: out/x.o out/x.dwo\n",
    ] {
        assert!(remote.contains(line), "{remote}");
    }
}

/// Text that does not name its `.dwo`, and an output that cannot be written: the local compiler does it, or says why.
#[test]
fn the_local_compiler_has_the_last_word() {
    let workspace = Workspace::new("splitlast");
    workspace.write("a.c", SOURCE);
    let daemon = Daemon::ours(&workspace, &[]);
    let words = ["gcc", "-gsplit-dwarf", "-g0", "-c", "a.c"];
    let output = succeed(workspace.distcc(&daemon.host()).args(words));
    assert_eq!(stderr(&output), "");
    assert!(workspace.work().join("a.o").exists() && workspace.work().join("a.dwo").exists());
    daemon.wait_for_jobs("COMPILE_OK", 1);

    let words = ["gcc", "-gsplit-dwarf", "-c", "a.c", "-o", "missing/a.o"];
    let alone = run(workspace.command(words[0]).args(&words[1..]));
    let output = run(workspace.distcc(&daemon.host()).args(words));
    assert!(!output.status.success() && output.status.code() == alone.status.code());
    let without_names = |text: String| text.lines().filter(|line| !line.contains("/tmp")).count();
    assert_eq!(without_names(stderr(&output)), without_names(stderr(&alone)), "{}", explain(&output));
    workspace.assert_clean();
}
