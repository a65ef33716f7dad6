use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use crate::util::*;

fn update(workspace: &Workspace) -> Command {
    let mut command = workspace.command(workspace.path("bin/update-distcc-symlinks"));
    command.args(["--distcc", "/usr/bin/distcc"]);
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What distributions install, and what of it is a compiler.
#[test]
fn compilers_of_distributions_are_found() {
    let workspace = Workspace::new("layouts");
    let layouts: [(&str, &[&str], &str); 4] = [
        (
            "debian",
            &[
                "bin/gcc-12",
                "bin/x86_64-linux-gnu-gcc-12",
                "bin/clang-14",
                "bin/clang-format-14",
                "bin/gcc-ar-12",
                "bin/c99-gcc",
                "bin/i686-w64-mingw32-g++-posix",
            ],
            "c99-gcc clang-14 gcc-12 i686-w64-mingw32-g++-posix x86_64-linux-gnu-gcc-12",
        ),
        (
            "arch",
            &[
                "bin/gcc",
                "bin/cc",
                "bin/c++",
                "bin/x86_64-pc-linux-gnu-gcc",
                "bin/x86_64-pc-linux-gnu-gcc-14.2.1",
            ],
            "c++ cc gcc x86_64-pc-linux-gnu-gcc x86_64-pc-linux-gnu-gcc-14.2.1",
        ),
        (
            "gentoo",
            &["x86_64-pc-linux-gnu/gcc-bin/13/gcc-13.2.1", "llvm/17/bin/clang++-17", "llvm/17/bin/llvm-ar"],
            "clang++-17 gcc-13.2.1",
        ),
        ("alpine", &["bin/x86_64-alpine-linux-musl-gcc", "bin/g++"], "g++ x86_64-alpine-linux-musl-gcc"),
    ];
    for (distribution, programs, expected) in layouts {
        let mut dirs = BTreeSet::new();
        for program in programs {
            let path = workspace.script(&format!("{distribution}/{program}"), "#!/bin/sh\n");
            dirs.insert(path.parent().unwrap().to_owned());
        }
        let links = workspace.path(&format!("links/{distribution}"));
        let path = std::env::join_paths(dirs).unwrap();
        succeed(update(&workspace).arg("--path").arg(path).arg(&links));
        let found: Vec<String> = names(&links).into_iter().collect();
        assert_eq!(found.join(" "), expected, "{distribution}");
    }
}

/// Debian's own tool has made the links of the package for every compiler that it knows.
#[test]
fn nothing_is_missing_that_the_tool_of_debian_finds() {
    if stock("distcc").is_none() {
        return;
    }
    let workspace = Workspace::new("debian");
    let links = workspace.path("links");
    succeed(update(&workspace).args(["--path", "/usr/bin"]).arg(&links));
    let missing: Vec<String> = names(Path::new("/usr/lib/distcc"))
        .into_iter()
        .filter(|name| Path::new("/usr/bin").join(name).exists() && !names(&links).contains(name))
        .collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn links_come_and_go_with_their_compilers() {
    let workspace = Workspace::new("links");
    let links = workspace.path("lib/distcc");
    for name in ["gcc", "gcc-12", "g++"] {
        workspace.script(&format!("compilers/{name}"), "#!/bin/sh\n");
    }
    // The links themselves may be in the PATH, and are no compilers.
    let path = format!("{}:{}", workspace.path("compilers").display(), links.display());
    let again = |options: &[&str]| {
        text(&succeed(update(&workspace).args(["--path", &path]).args(options).arg(&links)))
    };
    let would = again(&["--dry-run"]);
    assert_eq!(would.lines().count(), 4, "{would}");
    assert!(would.contains("3 compilers, 3 links would be added"), "{would}");
    assert!(!links.exists());
    assert!(again(&[]).contains("3 links added, 0 removed"));
    assert!(again(&[]).contains("0 links added, 0 removed"));
    assert!(names(&links).contains("gcc-12"));

    // A compiler goes, another comes; somebody else's files stay.
    fs::remove_file(workspace.path("compilers/gcc-12")).unwrap();
    workspace.script("compilers/clang", "#!/bin/sh\n");
    fs::write(links.join("README"), "mine").unwrap();
    fs::remove_file(links.join("g++")).unwrap();
    symlink("/usr/bin/ccache", links.join("g++")).unwrap();
    let done = again(&[]);
    assert!(done.contains("1 links added, 1 removed"), "{done}");
    assert!(done.contains("g++ is something else and stays"), "{done}");
    assert_eq!(names(&links), ["README", "clang", "g++", "gcc"].map(str::to_owned).into());

    assert_eq!(again(&["--quiet"]), "");

    // The last ones go, and then there is nothing that could be done.
    for name in ["gcc", "g++", "clang"] {
        let _ = fs::rename(workspace.path("compilers").join(name), workspace.path(name));
    }
    assert!(again(&[]).contains("0 compilers, 0 links added, 2 removed"));
    let output = run(update(&workspace).args(["--path", &path]).arg(&links));
    assert_eq!(output.status.code(), Some(107), "{}", explain(&output));
    for name in ["gcc", "clang"] {
        fs::rename(workspace.path(name), workspace.path("compilers").join(name)).unwrap();
    }
    assert!(again(&[]).contains("2 links added, 0 removed"));

    assert!(again(&["--remove"]).contains("0 links added, 2 removed"));
    assert_eq!(names(&links), ["README", "g++"].map(str::to_owned).into());
}

#[test]
fn what_cannot_be_done_is_said() {
    let workspace = Workspace::new("trouble");
    fs::create_dir(workspace.path("empty")).unwrap();
    workspace.script("compilers/gcc", "#!/bin/sh\n");
    fs::write(workspace.path("file"), "").unwrap();
    let path = |name: &str| workspace.path(name).display().to_string();
    for (words, code, says) in [
        (vec!["--path".to_owned(), path("empty"), path("links")], 107, "there is no compiler in"),
        (vec!["--path".to_owned(), path("compilers"), path("file")], 107, "cannot read"),
        (vec!["--bogus".to_owned()], 101, "--bogus: unknown option"),
        (vec!["a".to_owned(), "b".to_owned()], 101, "only one directory"),
        (vec!["--strip-prefix".to_owned(), "x-".to_owned(), path("empty")], 101, "takes a prefix"),
        (
            vec!["--strip-prefix".to_owned(), "x-".to_owned(), path("empty"), path("links")],
            107,
            "there is no x-gcc",
        ),
    ] {
        let output = run(update(&workspace).args(&words));
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(stderr(&output).contains(says), "{words:?}: {}", explain(&output));
    }
}

/// A symbolic link, a hard link and a copy, in `DIR` and in `DIR/bin`, as the client's PATH and as the daemon's list.
#[test]
fn masquerading_works_from_links_of_all_kinds() {
    let workspace = Workspace::new("kinds");
    workspace.write("a.c", "int x;\n");
    let file = workspace.path("file/distcc");
    fs::create_dir(workspace.path("file")).unwrap();
    fs::copy(OURS, &file).unwrap();
    for place in ["lib/distcc", "lib/distcc/bin"] {
        let dir = workspace.path(place);
        fs::create_dir_all(&dir).unwrap();
        for kind in ["symbolic", "hard", "copy"] {
            let link = dir.join("gcc");
            let _ = fs::remove_file(&link);
            match kind {
                "symbolic" => symlink(&file, &link).unwrap(),
                "hard" => fs::hard_link(&file, &link).unwrap(),
                _ => drop(fs::copy(&file, &link).unwrap()),
            }
            let daemon = Daemon::ours(&workspace, &["--masquerade-dir", dir.to_str().unwrap()]);
            succeed(
                workspace
                    .command("sh")
                    .env("PATH", format!("{}:/usr/bin:/bin", dir.display()))
                    .env("DISTCC_HOSTS", daemon.host())
                    .env("DISTCC_FALLBACK", "0")
                    .args(["-c", "gcc -c a.c"]),
            );
            daemon.wait_for_jobs("COMPILE_OK", 1);
        }
    }
}
