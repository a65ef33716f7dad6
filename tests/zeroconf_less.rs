use crate::util::*;

/// The tests of `zeroconf.rs` are not in this build. It names what it lacks, and uses the other hosts.
#[test]
fn what_is_not_built_in_is_said() {
    eprintln!("SKIPPED: all tests of zeroconf: this is a build without the feature");
    let workspace = Workspace::new("zeroconf-less");
    let output = succeed(workspace.distcc("+zeroconf a/1").arg("--show-hosts"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a/1\n");
    assert!(stderr(&output).contains("this distcc is built without zeroconf; name the hosts"));
    let output = run(workspace.command(workspace.path("bin/distccd")).args(["--daemon", "--zeroconf"]));
    assert_eq!(output.status.code(), Some(101));
    assert!(stderr(&output).contains("--zeroconf: this distccd is built without it"), "{}", explain(&output));
    let output = run(workspace.command(workspace.path("bin/lsdistcc")).arg("--zeroconf"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("built without it"), "{}", explain(&output));
}
