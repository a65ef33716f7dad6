use std::os::unix::fs::symlink;
use std::process::Command;

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

/// A PATH with links to distcc in front, and what every build here is told besides.
fn masquerade<'a>(workspace: &Workspace, daemon: &Daemon, command: &'a mut Command) -> &'a mut Command {
    let path = format!("{}:/usr/bin:/bin", workspace.path("masquerade").display());
    command.env("PATH", path).env("DISTCC_HOSTS", daemon.host()).env("DISTCC_FALLBACK", "0")
}

#[test]
fn meson_distributes_through_links() {
    if !tool("meson") || !tool("ninja") {
        return;
    }
    let workspace = Workspace::new("meson");
    sources(&workspace);
    workspace.write("meson.build", "project('p', 'c', 'cpp')\nexecutable('p', 'main.cc', 'part.c')\n");
    let daemon = Daemon::ours(&workspace, &[]);
    let meson = |words: &[&str]| {
        succeed(masquerade(&workspace, &daemon, workspace.command("meson").args(words)));
    };
    meson(&["setup", "build"]);
    let asked = daemon.jobs("COMPILE_OK");
    meson(&["compile", "-C", "build"]);
    daemon.wait_for_jobs("COMPILE_OK", asked + 2);
    succeed(&mut workspace.command(workspace.work().join("build/p")));
    workspace.assert_clean();
}

#[test]
fn autotools_distribute_through_links() {
    if !tool("autoreconf") || !tool("automake") {
        return;
    }
    let workspace = Workspace::new("autotools");
    sources(&workspace);
    workspace.write(
        "configure.ac",
        "AC_INIT([p], [1])\nAM_INIT_AUTOMAKE([foreign])\nAC_PROG_CC\nAC_PROG_CXX\nAC_CHECK_HEADERS([stdio.h absent.h])\n\
         AC_CHECK_FUNCS([puts absent])\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n",
    );
    workspace.write("Makefile.am", "bin_PROGRAMS = p\np_SOURCES = main.cc part.c part.h\n");
    succeed(workspace.command("autoreconf").arg("--install"));
    let daemon = Daemon::ours(&workspace, &[]);
    let script = "./configure --quiet && make -s -j4";
    succeed(masquerade(&workspace, &daemon, workspace.command("sh").args(["-ec", script])));
    // What configure asks is compiled elsewhere, too, right answers and wrong ones.
    let said = std::fs::read_to_string(workspace.work().join("config.log")).unwrap();
    assert!(said.contains("ac_cv_func_puts=yes") && said.contains("ac_cv_header_absent_h=no"), "{said}");
    wait_until("both files are logged", || {
        let log = daemon.log();
        ["main.cc", "part.c"].iter().all(|name| log.lines().any(|line| line.ends_with(name)))
    });
    assert!(workspace.work().join(".deps/main.Po").metadata().unwrap().len() > 20);
    succeed(&mut workspace.command(workspace.work().join("p")));
    workspace.assert_clean();
}

/// Arch's own tool with the settings that its users have: `BUILDENV=(distcc)`, two servers, links in `/usr/lib/distcc/bin`.
/// It refuses to be root.
#[test]
fn makepkg_distributes() {
    const NOBODY: &str = "65534";
    if !tool("makepkg") || !tool("bsdtar") || !tool("fakeroot") {
        return;
    }
    let mount = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).status();
    if !mount.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "a mount namespace must work in CI");
        eprintln!("SKIPPED: mount namespaces need root");
        return;
    }
    let workspace = Workspace::new("makepkg-real");
    // Nobody may not look into the directory of a build.
    let own = workspace.path("own");
    std::fs::create_dir_all(workspace.path("lib/bin")).unwrap();
    std::fs::create_dir(&own).unwrap();
    std::fs::copy(OURS, own.join("distcc")).unwrap();
    for name in ["cc", "gcc"] {
        symlink(own.join("distcc"), workspace.path("lib/bin").join(name)).unwrap();
    }
    let servers = [Daemon::ours(&workspace, &[]), Daemon::ours(&workspace, &[])];
    let hosts = servers.each_ref().map(Daemon::host).join("/5 ");
    workspace.write(
        "makepkg.conf",
        &format!(
            "source /etc/makepkg.conf\nBUILDENV=(distcc !color !ccache check !sign)\nDISTCC_HOSTS=\"{hosts}/3\"\n\
             MAKEFLAGS=\"-j8\"\nPKGEXT=.pkg.tar\n"
        ),
    );
    workspace.write(
        "package/PKGBUILD",
        "pkgname=hello\npkgver=1\npkgrel=1\narch=(any)\nsource=(part.h Makefile)\nsha256sums=(SKIP SKIP)\nbuild() {\n\
         for i in $(seq 12); do echo \"#include \\\"part.h\\\"\" >$i.c; done\nmake\n}\n\
         package() { install -D hello \"$pkgdir/usr/bin/hello\"; }\n",
    );
    workspace.write("package/part.h", "__attribute__((weak)) int main(void) { return 0; }\n");
    workspace.write(
        "package/Makefile",
        "hello: $(patsubst %.c,%.o,$(wildcard *.c))\n\t$(CC) $(CFLAGS) -o $@ $^\n",
    );
    let script = "mkdir -p /usr/lib/distcc && mount --bind \"$0\" /usr/lib/distcc && chown -R \"$1\" package
        cd package && exec setpriv --reuid \"$1\" --regid \"$1\" --clear-groups makepkg --config ../makepkg.conf -d";
    let mut makepkg = workspace.command("unshare");
    let path = format!("{}:/usr/bin:/bin", own.display());
    makepkg.env("PATH", path).env("DISTCC_FALLBACK", "0").args(["-m", "sh", "-ec", script]);
    let output = succeed(makepkg.arg(workspace.path("lib")).arg(NOBODY));
    assert_eq!(own_lines(&output), [""; 0]);
    wait_until("all jobs are logged", || {
        servers.iter().map(|server| server.jobs("COMPILE_OK")).sum::<usize>() == 12
    });
    assert!(servers.iter().all(|server| server.jobs("COMPILE_OK") > 0), "both are used");
    let package = workspace.work().join("package/hello-1-1-any.pkg.tar");
    let list = succeed(workspace.command("tar").arg("-tf").arg(package));
    assert!(String::from_utf8_lossy(&list.stdout).contains("usr/bin/hello\n"));
}
