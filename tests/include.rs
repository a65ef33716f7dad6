//! The include engine beside the compilers' own `-M`: what they read, and nothing that they read less.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use distcc::include::{Engine, Unable, Unit};

use crate::util::oracle::{differences, real};
use crate::util::*;

/// A unit for a command in a directory.
fn unit(cwd: &Path, compiler: &str, words: &[&str]) -> Unit {
    let argv = std::iter::once(compiler).chain(words.iter().copied()).map(OsString::from).collect();
    Unit {
        cwd: cwd.to_owned(),
        program: PathBuf::from("/usr/bin").join(compiler),
        argv,
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
    }
}

/// Lays out files given as one text: each begins with a line `== name`.
fn lay_out(root: &Path, text: &str) {
    for file in format!("\n{text}").split("\n== ").skip(1) {
        let (name, content) = file.split_once('\n').unwrap_or((file, ""));
        if let Some((name, target)) = name.split_once(" -> ") {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, root.join(name)).unwrap();
            continue;
        }
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        let content = content.replace("\\r", "\r").replace("\\BOM", "\u{feff}");
        fs::write(root.join(name), content).unwrap();
    }
}

/// Both compilers read exactly what the engine says.
fn exact(text: &str, words: &[&str]) {
    exact_with(&["gcc", "clang"], text, words);
}

fn exact_with(compilers: &[&str], text: &str, words: &[&str]) {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(&root, text);
    for compiler in compilers {
        let unit = unit(&root, compiler, words);
        let Some((missed, extra)) = differences(&mut Engine::new(), &unit) else {
            panic!("{compiler} {words:?} fails");
        };
        assert!(
            missed.is_empty() && extra.is_empty(),
            "{compiler} {words:?}: missed {missed:?}, extra {extra:?}"
        );
    }
}

#[test]
fn names_and_places() {
    exact(
        "== a.c\n#include \"sub/b.h\"\n#include <c.h>\n#include \"q.h\"\n#include <after.h>\n#include <sys.h>\n\
         == sub/b.h\n#include \"d.h\"\n#include \"../e.h\"\n== sub/d.h\n== e.h\n== i/c.h\n#include_next <c.h>\n\
         == s/c.h\n#include_next <c.h>\n== after/c.h\n== q/q.h\n#include_next <q.h>\n== i/q.h\n\
         == after/after.h\n== s/sys.h\n== wrong/c.h\n",
        &["-c", "a.c", "-iquote", "q", "-Ii", "-isystem", "s", "-idirafter", "after", "-Inone"],
    );
    exact(
        "== a.c\n#include <p.h>\n#include <b.h>\n== pre/p/p.h\n== pre/b/b.h\n",
        &["-c", "a.c", "-iprefix", "pre/", "-iwithprefix", "p", "-iwithprefixbefore", "b", "-nostdinc"],
    );
    exact("== a.c\n#include <x.h>\n== root/usr/include/x.h\n", &["-c", "a.c", "--sysroot=root"]);
    exact(
        "== a.c\n#include \"a b@~=.h\"\n#include \"\u{e9}.h\"\n#include <x//y.h> // z\n== a b@~=.h\n== \u{e9}.h\n== i/x/y.h\n",
        &["-c", "a.c", "-Ii"],
    );
    exact(
        "== a.c\n#include \"l.h\"\n#include \"d/m.h\"\n#include \"d/../n.h\"\n== real/l.h\n#include \"o.h\"\n== real/o.h\n== o.h\n== l.h -> real/l.h\n== d -> real/sub\n== real/sub/m.h\n== real/n.h\n== n.h\n",
        &["-c", "a.c"],
    );
}

/// Where `#include_next` goes on from a file that was found beside the one that includes it: gcc with the first
/// directory of all, clang as if it stood in the including file.
#[test]
fn next_of_a_file_found_beside_another() {
    for first in ["#include <h.h>", "#include \"i/k.h\"", "#include_next <h.h>"] {
        for next in ["#include_next <x.h>", "#include_next \"x.h\""] {
            exact(
                &format!(
                    "== a.c\n{first}\n== i/h.h\n#include \"k.h\"\n== i/k.h\n{next}\n== q/x.h\n== i/x.h\n== s/x.h\n"
                ),
                &["-c", "a.c", "-iquote", "q", "-Ii", "-isystem", "s"],
            );
        }
    }
}

#[test]
fn command_line() {
    let tree = "== a.c\n#ifdef P\n#include \"p.h\"\n#endif\n#include H\n#if F(3) == 4\n#include \"f.h\"\n#endif\n\
                #ifdef U\n#error\n#endif\n#ifdef M\n#include \"m2.h\"\n#endif\n\
                == p.h\n== h.h\n== f.h\n== pre.h\n#define P\n#include \"pre2.h\"\n== pre2.h\n== m.h\n#define M\n== m2.h\n== i/x.h\n";
    exact(
        tree,
        &["-c", "a.c", "-DH=\"h.h\"", "-DF(x)=x+1", "-DU", "-UU", "-include", "pre.h", "-imacros", "m.h"],
    );
    exact(tree, &["-c", "a.c", "-Wp,-DH=<x.h>", "-DF(x)=5", "-I", "i", "-include", "/dev/null"]);
    exact("== a.x\n#if __cplusplus\n#include \"x.h\"\n#endif\n== x.h\n", &["-c", "-x", "c++", "a.x"]);
    exact(
        "== a.m\n#ifdef __OBJC__\n#import \"x.h\"\n#import \"x.h\"\n#endif\n== x.h\n#ifdef X\n#include \"no.h\"\n#endif\n#define X\n== no.h\n",
        &["-c", "a.m"],
    );
}

#[test]
fn directories_of_the_environment() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(&root, "== a.c\n#include <x.h>\n#include <y.h>\n== e/x.h\n== c/y.h\n== c/x.h\n");
    for compiler in ["gcc", "clang"] {
        let mut unit = unit(&root, compiler, &["-c", "a.c"]);
        unit.environment.extend([("CPATH".into(), "e".into()), ("C_INCLUDE_PATH".into(), "c".into())]);
        assert_eq!(differences(&mut Engine::new(), &unit), Some((vec![], vec![])));
    }
}

#[test]
fn lexical_matters() {
    let tree = "== a.cc\n\\BOM#  include /* x */ \"a.h\" // y\n/* #include \"no.h\"\n*/ /**/ # /*\n*/ include \"b.h\"\n\
                #incl\\\nude \"c\\\n.h\"\n%:include \"d.h\"\nconst char *r = R\"x(\n#include \"no.h\"\n)\" )x\";\n\
                int n = 1'000; // '\n#include \"e.h\"\n// \\\n#include \"no.h\"\n\
                #if 0\nit's no /* literal\n#include \"no.h\"\n*/\n#endif\n#include \"f.h\"\r\n\
                const char *s = \"/*\"; char c = '\"'; //*\n#include \"g.h\"\n??=include \"no.h\"\n\
                == a.h\n== b.h\n== c.h\n== d.h\n== e.h\n== f.h\n== g.h\n== no.h\n";
    let tree = tree.replace("\\r", "\r");
    exact(&tree, &["-c", "a.cc", "-std=gnu++17"]);
    exact(
        "== a.c\n??=include \"a.h\"\n#define X ??/\n1\n#if X\n#include \"b.h\"\n#endif\n== a.h\n== b.h\n",
        &["-c", "a.c", "-std=c99"],
    );
    exact(
        "== a.c\n#if 1 //**/ 2\n\n#include \"a.h\"\n#else\n#include \"b.h\"\n#endif\n== a.h\n== b.h\n",
        &["-c", "a.c", "-std=c89"],
    );
}

#[test]
fn once_and_guards() {
    exact(
        "== a.c\n#include \"o.h\"\n#include \"./o.h\"\n#include \"l.h\"\n#include \"g.h\"\n#include \"g.h\"\n#include \"p.h\"\n#include \"p.h\"\n\
         #include __FILE__\n#include \"a.c\"\n\
         == o.h\n#pragma once\n#ifdef O\n#include \"no.h\"\n#endif\n#define O\n== l.h -> o.h\n\
         == g.h\n/* c */\n#if !defined(G)\n#define G\n#include \"x.h\"\n#endif // G\n== x.h\n#include \"g.h\"\n\
         == p.h\n_Pragma(\"once\") \n#ifdef Q\n#include \"no.h\"\n#endif\n#define Q\n== no.h\n"
            .replace("#include __FILE__\n#include \"a.c\"\n", "#ifndef SELF\n#define SELF\n#include __FILE__\n#endif\n")
            .as_str(),
        &["-c", "a.c"],
    );
}

#[test]
fn conditions() {
    let truths = [
        "1",
        "2 - 1 - 0 == 1",
        "-1 > 0u",
        "1 ? 1 : (1/0)",
        "0 || !0 && 1",
        "(2 || 1/0)",
        "~0 == -1",
        "1 << 3 == 8",
        "-8 >> 1 == -4",
        "0x7fffffffffffffff + 1ull == 0x8000000000000000",
        "7 % 4 == 3",
        "-7 / 2 == -3",
        "'a' == 97",
        "'\\n' == 10",
        "defined X || defined(Y) || 1",
        "D",
        "010 == 8",
        "0b11 == 3",
        "1 ? -1 : 0u",
        "(1 ? -1 : 0u) > 0",
        "(3 & 6) == 2",
        "(3 | 4 ^ 4) == 3",
        "L'x' == 120",
        "undefined_name == 0",
        "__has_include(\"x.h\")",
        "!__has_include(<nowhere.h>)",
        "__has_include(HDR)",
        "__has_attribute(noreturn)",
        "defined __has_include",
        "__INCLUDE_LEVEL__ == 0",
        "!F(0)",
        "F (1)",
        "F\\\n(2)",
        "!G(,)",
        "S(1,2,3) == 6",
        "C(1,2) == 12",
        "!__has_builtin(__no_such_builtin)",
    ];
    let mut text = String::from(
        "== a.c\n#include \"x.h\"\n#define D defined __GNUC__\n#define HDR \"x.h\"\n#define F(x) x\n#define G(x,y) x 0 y\n#define S(a, ...) a + T(__VA_ARGS__)\n#define T(a, b) a + b\n#define C(a, b) a##b\n",
    );
    for (at, truth) in truths.iter().enumerate() {
        text.push_str(&format!("#if {truth}\n#include \"t{at}.h\"\n#else\n#include \"no.h\"\n#endif\n"));
    }
    text.push_str("== no.h\n== x.h\n");
    for at in 0..truths.len() {
        text.push_str(&format!("== t{at}.h\n"));
    }
    exact(&text, &["-c", "a.c"]);
    exact_with(
        &["gcc"],
        "== a.c\n#if #machine(x86_64) || #cpu(aarch64)\n#include \"a.h\"\n#endif\n#if #machine(vax)\n#include \"no.h\"\n#endif\n== a.h\n== no.h\n",
        &["-c", "a.c"],
    );
    exact(
        "== a.cc\n#if true and not false and __cplusplus\n#include \"a.h\"\n#endif\n#if __has_cpp_attribute(nodiscard) >= 201603\n#include \"b.h\"\n#endif\n== a.h\n== b.h\n",
        &["-c", "a.cc"],
    );
    exact(
        "== a.c\n#if 0\n#elifdef __GNUC__\n#include \"a.h\"\n#elifndef X\n#include \"b.h\"\n#endif\n#warning hm\n== a.h\n== b.h\n",
        &["-c", "a.c"],
    );
}

#[test]
fn computed_names() {
    exact(
        "== a.c\n#define STR(x) #x\n#define XSTR(x) STR(x)\n#define CAT(a, b) a ## b\n#define DIR sub\n#define INC(d, f) <d/f.h>\n\
         #include XSTR(DIR/x.h)\n#include INC(DIR,y)\n#include XSTR(CAT(z, 1).h)\n#define E()\n#define W \"w.h\"\n#include E() W\n\
         #define LATE LATER\n#define LATER \"l.h\"\n#include LATE\n== sub/x.h\n== sub/y.h\n== z1.h\n== w.h\n== l.h\n",
        &["-c", "a.c", "-I."],
    );
    exact(
        "== a.c\n#define X 1\n#pragma push_macro(\"X\")\n#undef X\n#define X 2\n#if X == 2\n#include \"two.h\"\n#endif\n\
         #pragma pop_macro(\"X\")\n#if X == 1\n#include \"one.h\"\n#endif\n== one.h\n== two.h\n",
        &["-c", "a.c"],
    );
}

/// Iteration by files that include themselves, as Boost.Preprocessor does it, takes linear time.
#[test]
fn iteration_by_self_inclusion() {
    let mut text = String::from("== a.c\n#define N 0\n#include \"i.h\"\n== i.h\n");
    for at in 0..150 {
        text.push_str(&format!(
            "#{} N == {at}\n#undef N\n#define N {}\n#include \"i{at}.h\"\n#include \"i.h\"\n",
            if at == 0 { "if" } else { "elif" },
            at + 1
        ));
    }
    text.push_str("#endif\n");
    for at in 0..150 {
        text.push_str(&format!("== i{at}.h\n"));
    }
    exact(&text, &["-c", "a.c"]);
}

/// What cannot be known takes both branches, and says so.
#[test]
fn unknown_takes_both() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(
        &root,
        "== a.c\n#if __COUNTER__ % 2\n#include \"a.h\"\n#define H \"x.h\"\n#else\n#include \"b.h\"\n#define H \"y.h\"\n#endif\n#include H\n\
                    #ifdef A_H\n#include \"c.h\"\n#endif\n#if __LINE__ && 0\n#include \"no.h\"\n#endif\n\
                    == a.h\n#ifndef A_H\n#define A_H\n#include \"b.h\"\n#endif\n== b.h\n#ifndef B\n#define B\n#include \"a.h\"\n#endif\n== c.h\n== x.h\n== y.h\n== no.h\n",
    );
    for compiler in ["gcc", "clang"] {
        let unit = unit(&root, compiler, &["-c", "a.c"]);
        let mut engine = Engine::new();
        let closure = engine.closure(&unit).unwrap();
        assert!(!closure.exact);
        let files = real(closure);
        for name in ["a.h", "b.h", "c.h", "x.h", "y.h"] {
            assert!(files.contains(&root.join(name)), "{name}");
        }
        assert!(!files.contains(&root.join("no.h")));
    }
}

/// A file that is read once may have been read in a branch that nobody but the compiler knows; then what it would do in
/// another place is not certain.
#[test]
fn once_in_an_unknown_branch() {
    for (how, mark) in [("include", "#pragma once\n"), ("import", "")] {
        let workspace = Workspace::new("include");
        let root = fs::canonicalize(workspace.path("")).unwrap();
        lay_out(
            &root,
            &format!(
                "== a.c\n#define M 0\n#if __COUNTER__ % 2 == 0\n#{how} \"p.h\"\n#endif\n#undef M\n#define M 1\n\
                 #{how} \"p.h\"\n#ifndef F\n#include \"x.h\"\n#endif\n== p.h\n{mark}#if M\n#define F\n#endif\n== x.h\n"
            ),
        );
        for compiler in ["gcc", "clang"] {
            let unit = unit(&root, compiler, &["-c", "a.c", "-Wno-deprecated"]);
            let (missed, _) = differences(&mut Engine::new(), &unit).expect("it compiles");
            assert!(missed.is_empty(), "{compiler}, {how}: missed {missed:?}");
        }
    }
}

/// What the engine cannot do it says.
#[test]
fn refusals_have_reasons() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(
        &root,
        "== i.c\n__asm__(\".incbin \\\"x\\\"\");\n== f.c\n#include \"fifo.h\"\n== b.c\n#define A0 1\n#define A B B B B B B B B B B B B B B B B B B B B\n#define B C C C C C C C C C C C C C C C C C C C C\n#define C D D D D D D D D D D D D D D D D D D D D\n#define D E E E E E E E E E E E E E E E E E E E E\n#define E F F F F F F F F F F F F F F F F F F F F\n#define F 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n#include A\n\
                    == m.cc\nimport foo;\n== s.c\n#include \"s.c\"\n#include \"s.c\"\n\
                    == l.c\n#include \"large.h\"\n== large.h\n== g.c\n== pre.h.gch\n",
    );
    fs::File::options().write(true).open(root.join("large.h")).unwrap().set_len((64 << 20) + 1).unwrap();
    succeed(Command::new("mkfifo").arg(root.join("fifo.h")));
    let mut engine = Engine::new();
    for (words, reason) in [
        (&["-c", "i.c"][..], ".incbin"),
        (&["-c", "f.c"], "fifo.h is no regular file"),
        (&["-c", "b.c"], "expand to too much"),
        (&["-c", "s.c"], "200 files deep"),
        (&["-c", "none.c"], "no source"),
        (&["-c", "l.c"], "large.h is larger than 64 MiB"),
        (&["-c", "g.c", "-include", "pre.h"], "precompiled header"),
        (&["-c", "i.c", "-I-"], "-I-"),
        (&["-c", "m.cc", "-std=c++20", "-fmodules-ts"], "modules"),
    ] {
        let Err(Unable(why)) = engine.closure(&unit(&root, "gcc", words)) else {
            panic!("{words:?} is done")
        };
        assert!(why.contains(reason), "{why}");
    }
}

/// Where the system's headers are can be said in several ways.
#[test]
fn system_directories_named() {
    // clang obeys it for Apple's systems only.
    exact_with(
        &["gcc"],
        "== a.c\n#include <x.h>\n== root/usr/include/x.h\n",
        &["-c", "a.c", "-isysroot", "root"],
    );
    let tree = "== a.cc\n#if __has_include(<vector>)\n#include <vector>\n#else\n#include <stdio.h>\n#endif\n";
    exact(tree, &["-c", "a.cc"]);
    exact(tree, &["-c", "a.cc", "-nostdinc++"]);
    exact(
        "== a.c\n#include <x.h>\n== i/x.h\n#include <stddef.h>\n== i/stddef.h\n",
        &["-c", "a.c", "-nostdinc", "-Ii"],
    );
}

/// Carriage returns before newlines, byte order marks, and what both do to splices, literals and guards.
#[test]
fn bytes_of_other_systems() {
    exact(
        "== a.cc\n\\BOM#include \"g.h\"\\r\n#include \"g.h\"\\r\n#define X \\\\r\n1\\r\n#if X == 1 // c\\r\n\
         #include \"yes.h\"\\r\n#endif\\r\n/* \\r\n#include \"no.h\"\\r\n*/\\r\n// \\\\r\n#include \"no.h\"\\r\n\
         const char *r = R\"(\\r\n#include \"no.h\"\\r\n)\";\\r\n#include <i.h>\\r\n\
         == g.h\n\\BOM#ifndef G\\r\n#define G\\r\n#include \"g2.h\"\\r\n#endif\\r\n== g2.h\n== yes.h\n== no.h\n== i/i.h\n\\BOM\n#include \"j.h\"\n== i/j.h\n",
        &["-c", "a.cc", "-Ii", "-include", "g2.h"],
    );
}

#[test]
fn objective_cplusplus() {
    exact_with(
        &["clang"],
        "== a.mm\n#if defined __OBJC__ && defined __cplusplus\n#import \"x.h\"\n#include \"x.h\"\n#import \"x.h\"\n#endif\n== x.h\n#ifdef X\n#include \"twice.h\"\n#endif\n#define X\n== twice.h\n",
        &["-c", "a.mm"],
    );
}

/// gcc takes files of the same time, size and content for one; clang does not.
#[test]
fn once_by_content() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    let header = "#pragma once\n#ifdef O\n#include \"again.h\"\n#endif\n#define O\n";
    lay_out(
        &root,
        &format!(
            "== a.c\n#include \"x/o.h\"\n#include \"y/o.h\"\n#include \"z/o.h\"\n== x/o.h\n{header}== y/o.h\n{header}== z/o.h\n{header}== x/again.h\n== y/again.h\n== z/again.h\n"
        ),
    );
    let set = |name: &str, seconds: u64| {
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options().write(true).open(root.join(name)).unwrap().set_modified(time).unwrap();
    };
    set("x/o.h", 1_000_000_000);
    set("y/o.h", 1_000_000_000);
    set("z/o.h", 1_000_000_001);
    for compiler in ["gcc", "clang"] {
        let unit = unit(&root, compiler, &["-c", "a.c"]);
        let mut engine = Engine::new();
        // gcc opens the file to find that out, but does not list it.
        let opened = if compiler == "gcc" { vec![root.join("y/o.h")] } else { vec![] };
        assert_eq!(differences(&mut engine, &unit), Some((vec![], opened)), "{compiler}");
        let files = real(engine.closure(&unit).unwrap());
        assert!(files.contains(&root.join("z/again.h")), "{compiler}");
        assert_eq!(files.contains(&root.join("y/again.h")), compiler == "clang");
    }
}

/// A link to a header is searched beside, as is a name with `..` and a directory behind a link.
#[test]
fn links_and_climbing_names() {
    exact(
        "== src/a.c\n#include \"../inc/./l.h\"\n#include \"../link/../up.h\"\n#include <deep/../../src/b.h>\n\
         == far/away/l.h\n#include \"beside.h\"\n== far/away/beside.h\n#include \"wrong.h\"\n== inc/beside.h\n#include \"../link/c.h\"\n\
         == inc/l.h -> ../far/away/l.h\n== link -> far/away/dir\n== far/away/dir/c.h\n#include \"../up.h\"\n== far/away/up.h\n== up.h\n\
         == inc/deep/x\n== src/b.h\n",
        &["-c", "src/a.c", "-Iinc"],
    );
}

/// Bytes of `#embed` are needed, not read as text; no compiler here knows it yet.
#[test]
fn embedded_files() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(
        &root,
        "== a.c\nconst char x[] = {\n#embed \"e.bin\" limit(3)\n};\n#define E <e2.bin>\n#embed E\n#ifdef __has_embed\n#include \"h.h\"\n#endif\n\
         == e.bin\n#include \"no.h\"\n== i/e2.bin\n#include \"no.h\"\n== no.h\n== h.h\n",
    );
    for compiler in ["gcc", "clang"] {
        let mut engine = Engine::new();
        let files = real(engine.closure(&unit(&root, compiler, &["-c", "a.c", "-Ii"])).unwrap());
        assert!(files.contains(&root.join("e.bin")) && files.contains(&root.join("i/e2.bin")), "{files:?}");
        assert!(!files.contains(&root.join("no.h")), "{files:?}");
    }
}

/// Macros that are pushed or popped by text that macros make, or under an unknown condition, are unknown from there
/// on.
#[test]
fn macros_pushed_where_nobody_sees_it() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(
        &root,
        "== b.c\n#define X 1\n#if __COUNTER__ == 0\n#pragma push_macro(\"X\")\n#endif\n#undef X\n#define X 2\n\
         #pragma pop_macro(\"X\")\n#if X == 1\n#include \"one.h\"\n#else\n#include \"two.h\"\n#endif\n",
    );
    lay_out(
        &root,
        "== a.c\n#define X 1\n#define PUSH _Pragma(\"push_macro(\\\"X\\\")\")\n#define POP _Pragma(\"pop_macro(\\\"X\\\")\")\nPUSH\n\
         #undef X\n#define X 2\nPOP\n#if X == 1\n#include \"one.h\"\n#else\n#include \"two.h\"\n#endif\n== one.h\n== two.h\n",
    );
    for compiler in ["gcc", "clang"] {
        for source in ["a.c", "b.c"] {
            let unit = unit(&root, compiler, &["-c", source]);
            let (missed, _) = differences(&mut Engine::new(), &unit).unwrap();
            assert!(missed.is_empty(), "{compiler} {source}: {missed:?}");
        }
    }
}

/// Directories that hold no file that is read, but without which a name does not lead anywhere, or is searched
/// elsewhere.
#[test]
fn directories_without_files() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(&root, "== a.c\n#include \"passed/../x.h\"\n#include <y.h>\n== x.h\n== i/y.h\n");
    for name in ["passed", "empty"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let mut engine = Engine::new();
    let words = ["-c", "a.c", "-Iempty", "-Iempty/../i", "-Inone"];
    let closure = engine.closure(&unit(&root, "gcc", &words)).unwrap();
    for name in ["passed", "empty", "i"] {
        assert!(closure.directories.contains(&root.join(name)), "{name}: {:?}", closure.directories);
    }
    assert!(!closure.directories.contains(&root.join("none")));
}

/// A missing header is left to the compiler's own words; when it comes, it is seen, as is any other change.
#[test]
fn answers_are_of_now() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(&root, "== a.c\n#include \"gen.h\"\n#include <late.h>\n== b/late.h\n");
    let mut engine = Engine::new();
    let unit = unit(&root, "gcc", &["-c", "a.c", "-Ia", "-Ib"]);
    let names = |engine: &mut Engine| -> Vec<String> {
        let files = &engine.closure(&unit).unwrap().files;
        let own = files.iter().filter(|file| !file.system);
        own.map(|file| file.name.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&mut engine), ["a.c", "b/late.h"]);
    lay_out(&root, "== gen.h\n#include \"more.h\"\n== more.h\n");
    assert_eq!(names(&mut engine), ["a.c", "gen.h", "more.h", "b/late.h"]);
    lay_out(&root, "== a/late.h\n");
    assert_eq!(names(&mut engine), ["a.c", "gen.h", "more.h", "a/late.h"]);
    lay_out(&root, "== gen.h\n// nothing\n");
    assert_eq!(names(&mut engine), ["a.c", "gen.h", "a/late.h"]);
    fs::remove_file(root.join("gen.h")).unwrap();
    assert_eq!(names(&mut engine), ["a.c", "a/late.h"]);
}

/// The same where directories have long been as they are, so that their times vouch for what is not in them.
#[test]
fn answers_are_of_now_in_quiet_directories() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(
        &root,
        "== a.c\n#include <late.h>\n#include \"d/dangling.h\"\n== b/late.h\n== a/x\n== d/y\n== l -> b\n== c/late.h\n",
    );
    std::os::unix::fs::symlink("../far", root.join("d/dangling.h")).unwrap();
    let mut engine = Engine::new();
    let unit = unit(&root, "gcc", &["-c", "a.c", "-Ia", "-Inone", "-Il"]);
    let names = |engine: &mut Engine| -> Vec<String> {
        let files = &engine.closure(&unit).unwrap().files;
        let own = files.iter().filter(|file| !file.system);
        own.map(|file| file.real.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
    };
    // Times younger than two seconds vouch for nothing: what is to be tested needs older ones.
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(names(&mut engine), ["a.c", "b/late.h"]);
    assert_eq!(names(&mut engine), ["a.c", "b/late.h"]);
    lay_out(&root, "== far\n");
    assert_eq!(names(&mut engine), ["a.c", "b/late.h", "far"]);
    lay_out(&root, "== b/late.h\n#include \"more.h\"\n== b/more.h\n");
    assert_eq!(names(&mut engine), ["a.c", "b/late.h", "b/more.h", "far"]);
    fs::remove_file(root.join("l")).unwrap();
    lay_out(&root, "== l -> c\n");
    assert_eq!(names(&mut engine), ["a.c", "c/late.h", "far"]);
    lay_out(&root, "== none/late.h\n");
    // It was no directory when the compiler was asked for its search path.
    assert_eq!(names(&mut engine), ["a.c", "none/late.h", "far"]);
    lay_out(&root, "== a/late.h\n");
    assert_eq!(names(&mut engine), ["a.c", "a/late.h", "far"]);
    fs::remove_dir_all(root.join("a")).unwrap();
    assert_eq!(names(&mut engine), ["a.c", "none/late.h", "far"]);
}

/// Links and passed directories are part of the answer.
#[test]
fn links_and_directories() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(
        &root,
        "== a.c\n#include \"d/../n.h\"\n#include \"l.h\"\n== real/sub/x\n== real/n.h\n== real/l2.h\n== l.h -> real/l2.h\n== d -> real/sub\n",
    );
    let mut engine = Engine::new();
    let closure = engine.closure(&unit(&root, "gcc", &["-c", "a.c", "-Ireal"])).unwrap();
    let links: Vec<_> = closure.links.iter().filter(|link| link.path.starts_with(&root)).collect();
    assert_eq!(links.len(), 2, "{links:?}");
    assert!(closure.directories.contains(&root.join("real/sub")), "{:?}", closure.directories);
    assert!(closure.directories.contains(&root.join("real")));
    assert!(closure.files.iter().any(|file| file.real == root.join("real/n.h")));
}

/// `distcc --scan-includes` prints the answer by kinds, as stock does.
#[test]
fn scan_includes() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    lay_out(
        &root,
        "== a.c\n#include <stdio.h>\n#include \"l.h\"\n#if __has_include(\"x/../y.h\")\n#endif\n== r.h\n== l.h -> r.h\n== x/z\n== y.h\n== b.c\n__asm__(\".incbin \\\"x\\\"\");\n",
    );
    let scan = |words: &[&str]| {
        let mut command = workspace.distcc("localhost");
        run(command.current_dir(&root).arg("--scan-includes").args(words))
    };
    let output = scan(&["gcc", "-c", "a.c"]);
    assert!(output.status.success(), "{}", explain(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let has =
        |kind: &str, name: PathBuf| text.lines().any(|line| line == format!("{kind:9} {}", name.display()));
    assert!(
        has("FILE", root.join("a.c")) && has("FILE", root.join("r.h")) && has("FILE", root.join("y.h")),
        "{text}"
    );
    assert!(has("SYMLINK", root.join("l.h")) && has("DIRECTORY", root.join("x")), "{text}");
    assert!(has("SYSTEMDIR", PathBuf::from("/usr/include")), "{text}");
    assert!(!text.contains("stdio.h"), "{text}");
    assert_eq!(scan(&["gcc", "-c", "b.c"]).status.code(), Some(1));
    assert_eq!(scan(&[]).status.code(), Some(101));
}

/// As many generated trees as `DISTCC_INCLUDE_TREES` says, or those from one number to another (`5000-10000`);
/// 10,000 take a quarter of an hour.
#[test]
fn generated_trees() {
    let trees = std::env::var("DISTCC_INCLUDE_TREES").unwrap_or_else(|_| "120".to_owned());
    let (from, to) = trees.split_once('-').unwrap_or(("0", &trees));
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    let count = to - from;
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    let mut engine = Engine::new();
    let (mut compared, mut inexact, mut refused) = (0, 0, 0);
    for seed in from..to {
        let tree = root.join("tree");
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(&tree).unwrap();
        lay_out(&tree, &Generator(Random::new(seed)).tree());
        let compiler = if seed % 3 == 2 { "clang" } else { "gcc" };
        let source = if seed % 2 == 0 { "a.c" } else { "a.cc" };
        let unit = unit(&tree, compiler, &["-c", source, "-Ii", "-iquote", "q", "-isystem", "s", "-DN=1"]);
        // Both branches of what is not known can lead in circles, and to more than anybody would wait for.
        if let Err(Unable(why)) = engine.closure(&unit) {
            let is_circle = ["200 files deep", "too many directives"].iter().any(|it| why.contains(it));
            assert!(is_circle, "seed {seed}: {why}");
            refused += 1;
            continue;
        }
        let Some((missed, extra)) = differences(&mut engine, &unit) else { continue };
        assert!(missed.is_empty(), "seed {seed}, {compiler}: missed {missed:?}; see {}", tree.display());
        compared += 1;
        inexact += u64::from(!extra.is_empty());
    }
    println!("{compared} of {count} trees compile; {inexact} answers are supersets, {refused} refused");
    assert!(refused * 20 <= count, "{refused} of {count} are refused");
    assert!(compared * 2 > count, "only {compared} of {count} trees compile");
    assert!(inexact * 4 <= compared, "{inexact} of {compared} answers are supersets");
}

/// Several units of trees that change between them, in directories quiet enough to vouch for what is not in them:
/// what one engine remembers of all of it is never another answer than the compiler's.
#[test]
fn generated_trees_change() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    let trees: Vec<PathBuf> = (0..10).map(|seed| root.join(seed.to_string())).collect();
    for (seed, tree) in trees.iter().enumerate() {
        fs::create_dir(tree).unwrap();
        lay_out(tree, &Generator(Random::new(seed as u64 + 40_001)).tree());
    }
    // Times younger than two seconds vouch for nothing.
    std::thread::sleep(Duration::from_millis(2200));
    let mut engine = Engine::new();
    let mut generator = Generator(Random::new(7));
    let mut compared = 0;
    for round in 0..4 {
        for tree in &trees {
            for (source, define) in [("a.c", "-DN=1"), ("a.c", "-DN=2"), ("a.cc", "-DM0=N")] {
                let options = ["-c", source, "-Ii", "-iquote", "q", "-isystem", "s", define];
                let unit = unit(tree, "gcc", &options);
                if engine.closure(&unit).is_err() {
                    continue;
                }
                let Some((missed, _)) = differences(&mut engine, &unit) else { continue };
                assert!(missed.is_empty(), "round {round}: missed {missed:?}; see {}", tree.display());
                compared += 1;
            }
            let header =
                format!("{}h{}.h", generator.0.pick(&["", "i/", "q/", "s/", "i/d/"]), generator.0.below(6));
            if generator.0.below(2) == 0 {
                let _ = fs::remove_file(tree.join(header));
            } else {
                lay_out(tree, &format!("== {header}\n{}", generator.lines(4, 1)));
            }
        }
    }
    assert!(compared > 40, "only {compared} units compile");
}

/// Makes trees of headers that include each other under conditions.
struct Generator(Random);

impl Generator {
    fn tree(&mut self) -> String {
        let mut text = String::new();
        for name in ["a.c", "a.cc"] {
            text.push_str(&format!("== {name}\n{}", self.lines(8, 2)));
        }
        for directory in ["", "i/", "q/", "s/", "i/d/"] {
            for header in 0..6 {
                if self.0.below(4) == 0 {
                    continue;
                }
                let body = self.lines(5, 2);
                let guard = format!("H{header}{}", directory.replace('/', "_"));
                let body = match self.0.below(4) {
                    0 => format!("#pragma once\n{body}"),
                    1 => format!("#if !defined({guard}) /* x */\n#define {guard}\n{body}#endif\n"),
                    _ => format!("// x\n#ifndef {guard}\n#define {guard} {header}\n{body}#endif\n"),
                };
                text.push_str(&format!("== {directory}h{header}.h\n{body}"));
            }
        }
        text
    }

    fn lines(&mut self, most: usize, depth: u32) -> String {
        (0..=self.0.below(most)).map(|_| self.line(depth)).collect()
    }

    fn name(&mut self) -> String {
        self.0.pick(&["M0", "M1", "M2", "M3", "N", "H0", "H1i_", "H2s_"])
    }

    fn header(&mut self) -> String {
        let header = self.0.below(6);
        match self.0.below(5) {
            0 => format!("<h{header}.h>"),
            1 => format!("\"d/../h{header}.h\""),
            2 => format!("<d/h{header}.h>"),
            _ => format!("\"h{header}.h\""),
        }
    }

    /// Includes what is there, so that most trees compile.
    fn include(&mut self) -> String {
        let header = self.header();
        match self.0.below(6) {
            0 => format!(
                "#if __has_include({header})\n#define INC {header}\n#include INC\n#undef INC\n#endif\n"
            ),
            1 if header.starts_with('<') => {
                format!("#if __has_include_next({header})\n#include_next {header}\n#endif\n")
            }
            _ => format!("#if __has_include({header})\n# /**/ include {header} // x\n#endif\n"),
        }
    }

    fn line(&mut self, depth: u32) -> String {
        match self.0.below(12) {
            0..4 => self.include(),
            4 | 5 if depth > 0 => {
                let (condition, yes) = (self.condition(), self.lines(3, depth - 1));
                let (other, no) = (self.condition(), self.lines(3, depth - 1));
                match self.0.below(3) {
                    0 => format!("#if {condition}\n{yes}#endif\n"),
                    1 => format!("#if {condition}\n{yes}#else\n{no}#endif\n"),
                    _ => format!("#if {condition}\n{yes}#elif {other}\n{no}#endif\n"),
                }
            }
            6 if self.0.below(2) == 0 => {
                format!("#pragma {}_macro(\"{}\")\n", self.0.pick(&["push", "pop"]), self.name())
            }
            6 => format!("#undef {}\n", self.name()),
            7 => format!("/* \"\n#include \"no.h\"\n*/ const char *c{} = \"/*\";\n", self.0.below(1 << 30)),
            8 => "#if 0\n#include \"no.h\"\n#else \\\n\n#endif\n".to_owned(),
            _ => {
                let (name, value) = (self.name(), self.0.below(3));
                match self.0.below(4) {
                    0 => format!(
                        "#undef {name}\n#define {name} ({} + {value})\n",
                        self.0.pick(&["N", "M0", "M1", "1"])
                    ),
                    1 => format!(
                        "#undef F\n#define F(x, ...) (x {} {value})\n",
                        self.0.pick(&["+", "-", "*", "=="])
                    ),
                    _ => format!("#undef {name}\n#define {name} {value}\n"),
                }
            }
        }
    }

    fn condition(&mut self) -> String {
        let (name, value) = (self.name(), self.0.below(3));
        // What only the compiler knows.
        if self.0.below(16) == 0 {
            return format!("__COUNTER__ % 2 == {value}");
        }
        match self.0.below(7) {
            0 => format!("defined {name}"),
            1 => format!("!defined({name}) || {name} > {value}"),
            2 => format!("defined(F) && defined {name}"),
            3 => format!("({name} + 0) % 2 == {value}"),
            4 => format!("{name} - {value} < 0u"),
            5 => format!("{name} ? {value} : {name} << 1"),
            _ => format!("{name} == {value}"),
        }
    }
}

/// Every unit of a real project, as `DISTCC_INCLUDE_ORACLE` names it: a directory, a compiler and its options,
/// between blanks. Nothing is missed, and less than 5 % too much.
#[test]
#[ignore = "needs a project's sources: DISTCC_INCLUDE_ORACLE='DIRECTORY COMPILER OPTIONS...'"]
fn real_project() {
    let setting = std::env::var("DISTCC_INCLUDE_ORACLE").expect("DISTCC_INCLUDE_ORACLE is not set");
    let words: Vec<&str> = setting.split(' ').collect();
    let (root, compiler, options) = (fs::canonicalize(words[0]).unwrap(), words[1], &words[2..]);
    let suffixes: &[&str] = if compiler.ends_with("++") { &["cc", "cpp"] } else { &["c"] };
    let found = succeed(Command::new("find").arg(".").args(["-type", "f"]).current_dir(&root));
    let mut engine = Engine::new();
    let (mut units, mut theirs, mut extra_files, mut failed) = (0, 0, 0, 0);
    for source in String::from_utf8(found.stdout).unwrap().lines() {
        if !suffixes.iter().any(|suffix| source.ends_with(&format!(".{suffix}"))) {
            continue;
        }
        let unit = unit(&root, compiler, &[options, &["-c", source]].concat());
        let Some((missed, extra)) = differences(&mut engine, &unit) else {
            failed += 1;
            continue;
        };
        assert!(missed.is_empty(), "{source}: missed {missed:?}");
        units += 1;
        extra_files += extra.len();
        theirs += engine.closure(&unit).unwrap().files.len() - extra.len();
    }
    println!("{units} units ({failed} do not compile): {theirs} files, {extra_files} too many");
    assert!(units > 0 && extra_files * 20 < theirs);
}

/// A compiler is asked once for all directories, as far as its words mean the same in all of them; and again when it is another
/// one.
#[test]
fn a_compiler_is_not_asked_in_each_directory() {
    let workspace = Workspace::new("include");
    let root = fs::canonicalize(workspace.path("")).unwrap();
    // Questions behind macros, as in the C library, are asked with the others.
    let text = "#include <x.h>\n#if __has_builtin(__builtin_expect)\n#include \"y.h\"\n#endif\n\
        #define has(x) __has_attribute (x)\n#if has (pure)\n#endif\n#if has (cold) && !has(no_such)\n#else\n\
        #include \"not.h\"\n#endif\n";
    for directory in ["a", "b", "c"] {
        lay_out(
            &root,
            &format!(
                "== {directory}/a.c\n{text}== {directory}/y.h\n== {directory}/i/x.h\n== {directory}/only-{directory}/z\n"
            ),
        );
    }
    lay_out(&root, "== i/x.h\n");
    let log = root.join("asked");
    let script = |version: &str| {
        let log = log.display();
        workspace.script("bin/cc", &format!("#!/bin/sh\n# {version}\necho >>{log}\nexec gcc \"$@\"\n"))
    };
    let program = script("1");
    let absolute = format!("-I{}/i", root.display());
    let mut engine = Engine::new();
    let mut asked_for = |directory: &str, words: &[&str]| {
        fs::write(&log, "").unwrap();
        let argv = ["cc", "-O2", "-std=gnu11"]
            .iter()
            .chain(words)
            .chain(&["-c", "a.c"])
            .map(OsString::from)
            .collect();
        let environment = vec![("PATH".into(), "/usr/bin:/bin".into())];
        let unit = Unit { cwd: root.join(directory), program: program.clone(), argv, environment };
        let closure = engine.closure(&unit).unwrap();
        let own = closure.files.iter().filter(|file| !file.system).map(|file| file.real.clone());
        let files: Vec<PathBuf> = own.map(|file| file.strip_prefix(&root).unwrap().to_owned()).collect();
        let directories = closure.directories.clone();
        let asked = fs::read(&log).unwrap().len();
        // As if nothing had been known.
        let fresh = Engine::new().closure(&unit).unwrap().clone();
        assert_eq!((&fresh.files, &fresh.directories), (&engine.closure(&unit).unwrap().files, &directories));
        (asked, files)
    };
    let files = |directory: &str, x: &str| {
        [&format!("{directory}/a.c"), x, &format!("{directory}/y.h")].map(PathBuf::from).to_vec()
    };
    assert_eq!(asked_for("a", &[&absolute]), (3, files("a", "i/x.h")));
    assert_eq!(asked_for("b", &[&absolute]), (0, files("b", "i/x.h")));
    // How it searches is another question in each directory.
    for directory in ["c", "a"] {
        let x = format!("{directory}/i/x.h");
        assert_eq!(asked_for(directory, &["-Ii", "-Ionly-a"]), (1, files(directory, &x)));
    }
    assert_eq!(asked_for("c", &["-Ii", "-Ionly-a"]).0, 0);
    // Words that may mean anything.
    for directory in ["a", "b"] {
        assert_eq!(asked_for(directory, &[&absolute, "--sysroot=none"]).0, 3);
    }
    script("2, which is another one");
    assert_eq!(asked_for("b", &[&absolute]).0, 3);
    assert_eq!(asked_for("c", &[&absolute]).0, 0);
}
