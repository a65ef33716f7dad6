use std::fs;
use std::path::Path;

use crate::util::*;

const SOURCE: &str =
    "#include \"h.h\"\nconst char *f(void) { return TEXT; }\nint g(int x) { return x * FACTOR; }\n";

#[test]
fn words_come_from_files_as_gcc_reads_them() {
    let workspace = Workspace::new("response");
    workspace.write("a b.c", SOURCE);
    workspace.write("inc dir/h.h", "#define FACTOR 3\n");
    workspace.write("words", "-O2 '-Iinc dir'\n@more\t-c\r\n-o out.o");
    workspace.write("more2", " \n");

    workspace.write("more", "\"-DTEXT=\\\"a  b\\\"\" a\\ b.c @more2 ");
    succeed(workspace.command("gcc").args(["@words"]));
    let expected = fs::read(workspace.work().join("out.o")).unwrap();

    let mut done = 0;
    for kind in [Kind::Ours, Kind::Stock] {
        let Some(daemon) = Daemon::of_kind(kind, &workspace, &[]) else { continue };
        workspace.write("all", "gcc @words");
        for command in [&["gcc", "@words"][..], &["@all"], &["@words"]] {
            fs::remove_file(workspace.work().join("out.o")).unwrap();
            succeed(workspace.distcc(&daemon.host()).env("DISTCC_FALLBACK", "0").args(command));
            assert_eq!(fs::read(workspace.work().join("out.o")).unwrap(), expected, "{command:?}");
            done += 1;
        }
        daemon.wait_for_jobs("COMPILE_OK", 3);
    }
    assert!(done >= 3);
    workspace.assert_clean();
}

#[test]
fn a_command_that_stays_local_runs_as_it_was_typed() {
    let workspace = Workspace::new("response-local");
    workspace.script("bin/mycc", "#!/bin/sh\nfor word; do echo \"<$word>\"; done\n");
    workspace.write("words", "-save-temps -c a.c");
    workspace.write("odd", "-c a.c 'back\\slash'");
    let cases = [
        &["@words"][..],
        // Nothing is known to be in the file: whatever gcc says of it.
        &["-c", "a.c", "@missing"],
        &["-c", "a.c", "@words/"],
        // gcc 15 reads this differently from gcc 14.
        &["@odd"],
    ];
    for words in cases {
        let program = workspace.path("bin/mycc");
        let output = succeed(workspace.distcc("127.0.0.1:1").arg(program).args(words));
        let expected: String = words.iter().map(|word| format!("<{word}>\n")).collect();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert_eq!(stderr(&output), "");
    }
}

/// Ninja's file for CMake's compile commands, with every word but the compiler in a response file.
#[test]
fn a_cmake_build_with_response_files_is_distributed() {
    if !tool("cmake") || !tool("ninja") {
        return;
    }
    let workspace = Workspace::new("response-cmake");
    workspace.write(
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.18)\nproject(x C)\n\
         add_executable(x main.c a.c)\ntarget_include_directories(x PRIVATE \"inc dir\")\n\
         target_compile_definitions(x PRIVATE \"TEXT=\\\"a \\\\\\\"b\\\\\\\" c\\\"\" FACTOR=7)\n\
         target_compile_options(x PRIVATE -O2)\n",
    );
    workspace.write("inc dir/h.h", "int g(int);\nconst char *f(void);\n");
    workspace.write("a.c", SOURCE);
    workspace.write("main.c", "#include \"h.h\"\nint main(void) { return g(1) != 7; }\n");
    let daemon = Daemon::ours(&workspace, &[]);

    let build = |launcher: &[String], hosts: &str| {
        let _ = fs::remove_dir_all(workspace.work().join("build"));
        let mut configure = workspace.command("cmake");
        configure.args(["-G", "Ninja", "-B", "build", "-DCMAKE_NINJA_FORCE_RESPONSE_FILE=1"]);
        succeed(configure.args(["-DCMAKE_C_COMPILER=gcc", "-DCMAKE_C_COMPILER_WORKS=1"]).args(launcher));
        let rules = fs::read_to_string(workspace.work().join("build/CMakeFiles/rules.ninja")).unwrap();
        assert!(rules.contains("@$RSP_FILE") || rules.contains("@$out.rsp"), "no response files:\n{rules}");
        succeed(workspace.command("ninja").env("DISTCC_HOSTS", hosts).args(["-C", "build", "-d", "keeprsp"]));
        let objects = workspace.work().join("build/CMakeFiles/x.dir");
        let object = |name: &str| fs::read(Path::new(&objects).join(name)).unwrap();
        (object("a.c.o"), object("main.c.o"))
    };
    let expected = build(&[], "");
    let launcher = format!("-DCMAKE_C_COMPILER_LAUNCHER={}", workspace.path("bin/distcc").display());
    let distributed = build(&[launcher], &daemon.host());
    daemon.wait_for_jobs("COMPILE_OK", 2);
    assert!(distributed == expected, "the objects differ");
    succeed(&mut workspace.command("build/x"));
}
