use std::fs;
use std::os::unix::fs::symlink;

use crate::util::*;

#[test]
fn every_name_answers() {
    let workspace = Workspace::new("names");
    for (name, words, code, says) in [
        ("distcc", &["--version"][..], 0, "distcc 0."),
        ("distcc", &["--help"], 0, "DISTCC_HOSTS"),
        ("distcc", &[], 101, "missing option/operand"),
        ("distccd", &["--version"], 0, "distccd 0."),
        ("distccd", &["--help"], 0, "--allow"),
        ("distccd", &["--bogus"], 101, "--bogus: unknown option"),
        ("distccmon-text", &["--help"], 0, "DELAY"),
        ("distccmon-text", &["x"], 1, "DELAY"),
        ("lsdistcc", &["--help"], 0, "DISTCC_HOSTS"),
        ("lsdistcc", &["-r", "1"], 1, "has to follow at once"),
        ("pump", &["--help"], 0, "--startup"),
        ("distcc-pump", &[], 0, "--startup"),
        ("include_server", &[], 1, "--port"),
        ("update-distcc-symlinks", &["--help"], 0, "--strip-prefix"),
        ("mydistccX", &["--version"], 0, "distcc 0."),
    ] {
        let path = workspace.path(&format!("named/{name}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = symlink(OURS, &path);
        let output = run(workspace.command(&path).args(words));
        assert_eq!(output.status.code(), Some(code), "{name} {words:?}");
        let text = [output.stdout.clone(), output.stderr.clone()].concat();
        assert!(String::from_utf8_lossy(&text).contains(says), "{name} {words:?}: {}", explain(&output));
    }
}

#[test]
fn a_copy_and_a_hard_link_work_as_well() {
    let workspace = Workspace::new("copies");
    fs::copy(OURS, workspace.path("bin/copied")).unwrap();
    fs::rename(workspace.path("bin/copied"), workspace.path("named-distcc")).unwrap();
    fs::create_dir(workspace.path("hard")).unwrap();
    fs::hard_link(workspace.path("named-distcc"), workspace.path("hard/gcc")).unwrap();
    workspace.write("a.c", "int x;\n");
    let daemon = Daemon::ours(&workspace, &[]);
    let path = format!("{}:/usr/bin:/bin", workspace.path("hard").display());
    succeed(
        workspace
            .command("sh")
            .env("PATH", path)
            .env("DISTCC_HOSTS", daemon.host())
            .args(["-c", "gcc -c a.c && cmp a.o a.o"]),
    );
    daemon.wait_for_jobs("COMPILE_OK", 1);
}

#[test]
fn help_fits_a_screen() {
    let workspace = Workspace::new("help");
    for name in ["distcc", "distccd", "distccmon-text", "include_server", "pump", "update-distcc-symlinks"] {
        let output = succeed(workspace.command(workspace.path("bin").join(name)).arg("--help"));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() <= 40, "{name}: {} lines", text.lines().count());
        assert!(text.lines().all(|line| line.len() <= 110), "{name}");
    }
}

#[test]
fn a_closed_output_is_no_crash() {
    let workspace = Workspace::new("closed");
    let distcc = workspace.path("bin/distcc");
    let output = succeed(workspace.command("bash").args([
        "-c",
        &format!("set -o pipefail; '{}' --help | head -n0; '{0}' --help >&-", distcc.display()),
    ]));
    assert_eq!(stderr(&output), "");
}

/// A script that reads our answer must not take a full disk for an empty answer.
#[test]
fn what_cannot_be_written_is_an_error() {
    let workspace = Workspace::new("full");
    let commands: [(&str, &[&str]); 9] = [
        ("distcc", &["--help"]),
        ("distcc", &["--version"]),
        ("distcc", &["--show-hosts"]),
        ("distcc", &["-j"]),
        ("distccd", &["--help"]),
        ("distccd", &["--version"]),
        ("distccmon-text", &[]),
        ("distccmon-text", &["--help"]),
        ("distccmon-text", &["-w"]),
    ];
    for (name, words) in commands {
        let mut command = workspace.command(workspace.path("bin").join(name));
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        command.env("DISTCC_HOSTS", "a b").args(words).stdout(full);
        let output =
            command.stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(107), "{name} {words:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{name} {words:?}: {}", explain(&output));
        assert!(stderr(&output).contains("No space left"), "{name} {words:?}: {}", explain(&output));
    }
}
