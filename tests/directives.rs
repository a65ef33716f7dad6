//! Hosts that expand macros themselves (`,directives`): objects and messages are a plain gcc's, and what is not safe goes the
//! ordinary way.

use std::fs;
use std::process::Output;

use crate::util::*;

const OPTION: &str = "-fdirectives-only";

/// Macros where their columns matter, for line tables, warnings and checks at run time.
const SOURCE: &str = "#include <assert.h>\n#include <stdio.h>\n#define TWICE(x) ((x) + (x))\n\
                      int f(int a) {\n  int unused;\n  assert(a > 3); if (a > TWICE(a) && a > 5) return TWICE(__LINE__) + __COUNTER__;\n\
                      \x20 switch (a) { case 1: puts(__FILE__); /* fall through */ case 2: return TWICE(a); }\n  return __GNUC__;\n}\n";

/// A source in its directory, and the host that gets it.
struct Setting {
    workspace: Workspace,
    daemon: Daemon,
}

impl Setting {
    fn new(kind: Kind) -> Option<Setting> {
        let workspace = Workspace::new("directives");
        let daemon = Daemon::of_kind(kind, &workspace, &[])?;
        workspace.write("a.c", SOURCE);
        Some(Setting { workspace, daemon })
    }

    /// Compiles `words` on a host with these options, and tells whether the server had macros to expand.
    #[track_caller]
    fn compile(&self, words: &[&str], options: &str) -> (Output, bool) {
        let mut client = self.workspace.distcc(&format!("{}{options}", self.daemon.host()));
        let log = self.workspace.path("client.log");
        let _ = fs::remove_file(&log);
        client.env("DISTCC_FALLBACK", "0").env("DISTCC_VERBOSE", "1").env("DISTCC_LOG", &log);
        let before = self.daemon.jobs("COMPILE_OK");
        let output = succeed(client.args(words));
        self.daemon.wait_for_jobs("COMPILE_OK", before + 1);
        let log = fs::read_to_string(log).unwrap();
        let command = log.lines().find(|line| line.contains("exec on ")).expect("a server's command");
        (output, command.split_whitespace().any(|word| word == OPTION))
    }

    /// The same compiled here, which leaves the object `local.o`.
    #[track_caller]
    fn locally(&self, words: &[&str]) -> Output {
        let mut compiler = self.workspace.command(words[0]);
        let output = succeed(compiler.args(&words[1..]));
        fs::rename(self.object("a.o"), self.object("local.o")).unwrap();
        output
    }

    fn object(&self, name: &str) -> std::path::PathBuf {
        self.workspace.work().join(name)
    }

    #[track_caller]
    fn assert_same_object(&self, what: &str) {
        let read = |name| fs::read(self.object(name)).unwrap();
        assert!(read("a.o") == read("local.o"), "the object is another one: {what}");
    }
}

/// Without the lines that show source text, which a server does not have.
fn messages(output: &Output) -> Vec<String> {
    stderr(output).lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect()
}

#[test]
fn objects_are_those_of_a_plain_gcc() {
    for kind in [Kind::Ours, Kind::Stock] {
        let Some(setting) = Setting::new(kind) else { continue };
        for line in [
            "gcc -Wall -Wextra -c a.c -o a.o",
            "gcc -O2 -c a.c -o a.o",
            // Checks at run time know columns.
            "gcc -fsanitize=undefined,address -c a.c -o a.o",
            // The compiler's options are part of debug information, and so would this one be.
            "gcc -g -gno-record-gcc-switches -O1 -DX=1 -include stddef.h -c a.c -o a.o",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let local = setting.locally(&words);
            for options in [",directives", ",lzo,directives"] {
                let (output, with_macros) = setting.compile(&words, options);
                assert!(with_macros, "{line} on {kind:?}{options}");
                setting.assert_same_object(&format!("{line} on {kind:?}{options}"));
                assert_eq!(messages(&output), messages(&local), "{line} on {kind:?}{options}");
            }
        }
        let (_, with_macros) = setting.compile(&["gcc", "-c", "a.c", "-o", "a.o"], "");
        assert!(!with_macros, "only where the list says so");
    }
}

#[test]
fn cxx_has_its_raw_strings() {
    let Some(setting) = Setting::new(Kind::Ours) else { return };
    let text = "#include <string>\nstd::string s = R\"(\n#define NO 1\n__LINE__ // )\";\nint n = __LINE__;\n#define NAME(x) n_##x\n\
                int NAME(a)() { return s.empty(); }\n";
    setting.workspace.write("a.cc", text);
    let words = ["g++", "-std=c++17", "-c", "a.cc", "-o", "a.o"];
    setting.locally(&words);
    assert!(setting.compile(&words, ",directives").1);
    setting.assert_same_object("C++");
}

#[test]
fn dependency_files_are_written() {
    let Some(setting) = Setting::new(Kind::Ours) else { return };
    let words = ["gcc", "-MD", "-MF", "a.d", "-c", "a.c", "-o", "a.o"];
    setting.locally(&words);
    let expected = fs::read(setting.object("a.d")).unwrap();
    fs::remove_file(setting.object("a.d")).unwrap();
    assert!(setting.compile(&words, ",directives").1);
    assert!(fs::read(setting.object("a.d")).unwrap() == expected);
}

/// What would come out differently, or be complained of twice, is sent with its macros expanded, and the log says why.
#[test]
fn what_is_not_safe_goes_the_ordinary_way() {
    let Some(setting) = Setting::new(Kind::Ours) else { return };
    let cases = [
        ("gcc", "", "const char *day = __DATE__;\n", "__DATE__"),
        ("gcc", "", "const char *name = __BASE_FILE__;\n", "__BASE_FILE__"),
        (
            "gcc",
            "",
            "#define A 1\n#pragma push_macro(\"A\")\n#undef A\n#define A 2\nint x = A;\n#pragma pop_macro(\"A\")\nint y = A;\n",
            "pop_macro",
        ),
        ("gcc", "", "#include \"pop.h\"\nint a;\n", "pop_macro"),
        ("gcc", "", "#pragma GCC poison forbidden\nint a;\n", "poisoned"),
        ("gcc", "-imacros", "int a = 1;\n", "-imacros"),
        ("gcc", "", "#if __COUNTER__ == 0\nint a;\n#endif\nint b = __COUNTER__;\n", "that fails"),
        ("gcc", "-Wunused-macros", "#define U 1\nint a;\n", ""),
        ("gcc", "", "#warning careful\nint a;\n", "would complain again"),
        ("gcc", "-trigraphs", "int a??(2??) = {1};\n", "trigraphs"),
        ("gcc", "", "#define READ(x) __asm__(\".incbin \\\"\" x \"\\\"\")\nint a;\n", "cannot be sent so"),
        ("clang", "", "#define A 1\nint a = A;\n", "clang"),
    ];
    let header = "#line 9 \"other.y\"\n#pragma push_macro(\"A\")\n#pragma \\\n pop_macro(\"A\")\n";
    setting.workspace.write("pop.h", header);
    for (compiler, option, text, reason) in cases {
        setting.workspace.write("a.c", text);
        let value = if option == "-imacros" { "pop.h" } else { "" };
        let words = [compiler, option, value, "-c", "a.c", "-o", "a.o"];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let local = setting.locally(&words);
        let (output, with_macros) = setting.compile(&words, ",directives");
        assert!(!with_macros, "{text}");
        setting.assert_same_object(text);
        assert_eq!(messages(&output), messages(&local), "{text}");
        let log = fs::read_to_string(setting.workspace.path("client.log")).unwrap();
        assert!(log.contains("macros are expanded here") && log.contains(reason), "{reason}: {log}");
    }
}

/// A host that takes macros fails; the next one does not take them.
#[test]
fn the_next_host_gets_what_it_takes() {
    let Some(setting) = Setting::new(Kind::Ours) else { return };
    let silent = peer::FakeServer::new(|_, _| {});
    let hosts = format!("{},directives {}", silent.host(), setting.daemon.host());
    let log = setting.workspace.path("client.log");
    let mut client = setting.workspace.distcc(&hosts);
    client.env("DISTCC_FALLBACK", "0").env("DISTCC_VERBOSE", "1").env("DISTCC_LOG", &log);
    succeed(client.args(["gcc", "-c", "a.c", "-o", "a.o"]));
    let log = fs::read_to_string(log).unwrap();
    let commands: Vec<bool> =
        log.lines().filter(|line| line.contains("exec on ")).map(|line| line.contains(OPTION)).collect();
    // Each host is asked for the compiler by its name with the machine, and by its plain name if it does not answer.
    assert_eq!((commands.first(), commands.last()), (Some(&true), Some(&false)), "{log}");
}

/// Sources that were preprocessed so by the user are stock's affair only: its client sends them, and our server takes them.
#[test]
fn a_stock_client_may_send_macros() {
    let Some(setting) = Setting::new(Kind::Ours) else { return };
    if stock("distcc").is_none() {
        return;
    }
    let workspace = &setting.workspace;
    succeed(workspace.command("gcc").args(["-E", OPTION, "a.c", "-o", "a.i"]));
    setting.locally(&["gcc", "-c", "a.c", "-o", "a.o"]);
    let mut client = workspace.client(Kind::Stock, &setting.daemon.host());
    succeed(client.env("DISTCC_FALLBACK", "0").args(["gcc", OPTION, "-c", "a.i", "-o", "a.o"]));
    setting.daemon.wait_for_jobs("COMPILE_OK", 1);
    setting.assert_same_object("stock's client");
}
