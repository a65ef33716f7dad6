use crate::util::*;

/// A program of two languages and what a compile reads besides.
fn sources(workspace: &Workspace) {
    workspace.write("part.h", "#ifdef __cplusplus\nextern \"C\"\n#endif\nint part(int x);\n");
    workspace.write("part.c", "#include \"part.h\"\nint part(int x) { return x - 42; }\n");
    workspace.write("main.cc", "#include \"part.h\"\nint main() { return part(42); }\n");
}

/// CMake starts distcc in front of the compilers; its own questions to the compiler are jobs as well.
#[test]
fn cmake_and_ninja_and_make_distribute() {
    if !tool("cmake") || !tool("ninja") {
        return;
    }
    for generator in ["Ninja", "Unix Makefiles"] {
        let workspace = Workspace::new("cmake");
        sources(&workspace);
        workspace.write(
            "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.4)\nproject(p C CXX)\nadd_executable(p main.cc part.c)\n",
        );
        let daemon = Daemon::ours(&workspace, &[]);
        let distcc = workspace.path("bin/distcc").display().to_string();
        let command = |words: &[&str]| {
            let mut command = workspace.command("cmake");
            command.env("DISTCC_HOSTS", daemon.host()).env("DISTCC_FALLBACK", "0").args(words);
            command
        };
        let launcher = |language| format!("-DCMAKE_{language}_COMPILER_LAUNCHER={distcc}");
        let configure = ["-G", generator, "-S", ".", "-B", "build", &launcher("C"), &launcher("CXX")];
        succeed(&mut command(&configure));
        let asked = daemon.jobs("COMPILE_OK");
        succeed(&mut command(&["--build", "build", "-j", "4"]));
        daemon.wait_for_jobs("COMPILE_OK", asked + 2);
        succeed(&mut workspace.command(workspace.work().join("build/p")));
        workspace.assert_clean();
    }
}

/// As Linux is built: a compiler of two words, dependency files by `-Wp,-MMD`, objects in other directories.
#[test]
fn a_makefile_in_the_style_of_linux_distributes() {
    let workspace = Workspace::new("kbuild");
    sources(&workspace);
    workspace.write(
        "Makefile",
        "all: out/part.o\nout/%.o: %.c\n\tmkdir -p out\n\t$(CC) -Wp,-MMD,out/.$*.o.d -nostdinc -I. -O2 -c -o $@ $<\n",
    );
    let daemon = Daemon::ours(&workspace, &[]);
    let compiler = format!("CC={} gcc", workspace.path("bin/distcc").display());
    succeed(
        workspace
            .command("make")
            .env("DISTCC_HOSTS", daemon.host())
            .env("DISTCC_FALLBACK", "0")
            .arg(compiler),
    );
    daemon.wait_for_jobs("COMPILE_OK", 1);
    let rules = std::fs::read_to_string(workspace.work().join("out/.part.o.d")).unwrap();
    assert!(rules.contains("part.h"), "{rules}");
}
