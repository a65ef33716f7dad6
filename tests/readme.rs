use std::fs;
use std::path::Path;

use crate::util::*;

/// Every command of the README runs: its `sh` blocks one after the other in a new directory, with only the
/// port replaced, and `make install` into that directory. `make demo`, `make demo-pump` and `make test`, its indented
/// commands, are what CI runs.
#[test]
fn every_command_of_the_readme_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let indented: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(indented, ["make demo", "make demo-pump", "make test"]);
    let blocks: Vec<&str> =
        readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6);

    let workspace = Workspace::new("readme");
    workspace.write("main.c", "int main(void) { return 0; }\n");
    workspace.write("Makefile", "program: main.o\n\t$(CC) -o $@ $<\nmain.o: main.c\n\t$(CC) -c $< -o $@\n");
    let (install, rest) = blocks.split_first().unwrap();
    assert_eq!(install.trim(), "make install");
    let home = std::env::var("HOME").unwrap_or_default();
    let rustup = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "PATH"];
    let known = rustup.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    succeed(
        workspace
            .command("sh")
            .current_dir(root)
            .envs(known)
            .env("HOME", home)
            .env("DESTDIR", workspace.path("installed"))
            .args(["-ec", install]),
    );
    let unit = workspace.path("installed/usr/local/lib/systemd/system/distccd.service");
    let unit = fs::read_to_string(unit).unwrap();
    assert!(
        unit.contains("\nExecStart=/usr/local/bin/distccd --daemon "),
        "it starts what is installed: {unit}"
    );
    let port = free_port().to_string();
    let script = rest
        .concat()
        .replace("3632", &port)
        .replace("distccd --daemon", &format!("distccd --daemon --port {port}"));
    let path =
        format!("{}:/usr/local/bin:/usr/bin:/bin", workspace.path("installed/usr/local/bin").display());
    let output = succeed(workspace.command("sh").env("PATH", path).args(["-ec", &script]));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.starts_with(&format!("127.0.0.1:{port}/8,lzo\nlocalhost/2\n")), "{shown}");
    let log = fs::read_to_string(workspace.work().join("distccd.log")).unwrap();
    assert!(log.matches("COMPILE_OK").count() >= 3, "{log}");
    wait_until("the server has ended", || {
        processes_of(&workspace).iter().all(|line| !line.contains("distccd"))
    });
}
