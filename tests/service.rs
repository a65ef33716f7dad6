use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::util::*;

/// Passes `fds` as systemd does: from descriptor 3 on, with the number of the process that gets them.
#[allow(unsafe_code)]
fn pass(command: &mut Command, fds: Vec<OwnedFd>) {
    let pass = move || {
        // SAFETY: bare system calls with integer arguments between fork and exec, where the process has one thread; the
        // descriptors at and above 3 that this overwrites are the test's own copies. First out of the way, as
        // a source may be another's target. setenv allocates, which the C library allows after a fork.
        unsafe {
            let high: Vec<i32> =
                fds.iter().map(|fd| libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, 100)).collect();
            for (target, fd) in (3..).zip(&high) {
                libc::dup2(*fd, target);
                libc::close(*fd);
            }
        }
        Ok(())
    };
    // SAFETY: `pass` does nothing but such calls.
    unsafe { command.pre_exec(pass) };
}

/// The words of a unit's command line with the variables of its environment, as systemd.service(5) has them: `${NAME}` is
/// part of a word, `$NAME` alone is as many words as it has, `$$` is a dollar.
fn words(line: &str, env: &HashMap<&str, String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let end = match rest.chars().next().filter(|c| ['\'', '"'].contains(c)) {
            Some(quote) => rest[1..].find(quote).unwrap() + 2,
            None => rest.find(' ').unwrap_or(rest.len()),
        };
        let word = rest[..end].trim_matches(['\'', '"']);
        match word.strip_prefix('$').filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
            Some(name) => {
                words.extend(env.get(name).map_or("", String::as_str).split_whitespace().map(str::to_owned))
            }
            None => words.push(word.replace("$$", "$")),
        }
        rest = rest[end..].trim_start();
    }
    words
}

/// The settings of a unit file; of those that come twice the last.
fn unit(path: &str) -> HashMap<String, String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let settings = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A socket for notifications, in the file system or outside of it, and its name.
fn manager(workspace: &Workspace, is_abstract: bool) -> (UnixDatagram, String) {
    // A name for each: a child that another test is just starting may hold the last socket for a moment more.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = workspace.path(&format!("notify{number}")).to_str().unwrap().to_owned();
    let (address, name) = if is_abstract {
        (SocketAddr::from_abstract_name(&path).unwrap(), format!("@{path}"))
    } else {
        (SocketAddr::from_pathname(&path).unwrap(), path.clone())
    };
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    if !is_abstract {
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    (socket, name)
}

fn hear(socket: &UnixDatagram) -> String {
    let mut text = [0; 1000];
    let len = socket.recv(&mut text).expect("a notification");
    String::from_utf8(text[..len].to_vec()).unwrap()
}

fn serve(workspace: &Workspace, port: u16) {
    workspace.write("a.c", "int x;\n");
    let hosts = format!("127.0.0.1:{port}");
    succeed(workspace.distcc(&hosts).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "a.c"]));
}

#[test]
fn the_manager_is_told_what_happens() {
    let workspace = Workspace::new("notify");
    for is_abstract in [false, true] {
        for mode in [&[][..], &["--no-fork"]] {
            let (socket, name) = manager(&workspace, is_abstract);
            let mut command = workspace.distccd();
            let daemon = Daemon::start(&workspace, command.env("NOTIFY_SOCKET", name).args(mode));
            assert_eq!(hear(&socket), "READY=1");
            serve(&workspace, daemon.port);
            daemon.signal(libc::SIGHUP);
            let reloading = hear(&socket);
            let clock = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
            assert!(clock.parse::<u64>().unwrap() > 0);
            assert_eq!(hear(&socket), "READY=1");
            daemon.signal(libc::SIGTERM);
            assert_eq!(hear(&socket), "STOPPING=1");
            daemon.stop();
        }
    }
}

/// A daemon that is given these sockets.
fn with_sockets(workspace: &Workspace, fds: Vec<OwnedFd>, count: &str, options: &[&str]) -> Command {
    // The number that the daemon must find is that of the process that becomes it: the shell's.
    let mut command = workspace.command("sh");
    command
        .env("LISTEN_FDS", count)
        .args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"])
        .arg(workspace.path("bin/distccd"))
        .args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info"])
        .args(options);
    pass(&mut command, fds);
    command
}

#[test]
fn passed_sockets_are_served() {
    let workspace = Workspace::new("sockets");
    for mode in [&[][..], &["--no-fork"], &["--jobs", "1"]] {
        let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> = listeners.iter().map(|it| it.local_addr().unwrap().port()).collect();
        let fds = listeners.into_iter().map(OwnedFd::from).collect();
        // Neither of these can be had, and neither counts.
        let options = [&["--listen", "203.0.113.7", "--port", "1"], mode].concat();
        let daemon = Daemon::start(&workspace, &mut with_sockets(&workspace, fds, "3", &options));
        assert!(daemon.log().contains("the service manager has passed the sockets"));
        for port in &ports {
            assert!(daemon.log().contains(&format!("listening on 127.0.0.1:{port}\n")));
            serve(&workspace, *port);
            serve(&workspace, *port);
        }
        daemon.stop();
        for port in ports {
            assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens any more");
        }
    }
}

#[test]
fn what_is_no_listening_socket_is_named() {
    let workspace = Workspace::new("nosockets");
    let refuse = |fds: Vec<OwnedFd>, count: &str, says: &str| {
        let output = run(&mut with_sockets(&workspace, fds, count, &[]));
        assert_eq!(output.status.code(), Some(102), "{}", explain(&output));
        assert!(stderr(&output).contains(says), "{says}: {}", explain(&output));
    };
    refuse(vec![], "1", "descriptor 3: ");
    refuse(vec![UnixStream::pair().unwrap().0.into()], "1", "does not listen");
    refuse(vec![fs::File::open("/dev/null").unwrap().into()], "1", "descriptor 3: ");
    let local = std::os::unix::net::UnixListener::bind(workspace.path("local")).unwrap();
    refuse(vec![local.into()], "1", "no socket for TCP");
    refuse(vec![], "1000", "more than");
    // What was meant for another process means nothing.
    let mut command = workspace.distccd();
    command.envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "1")]);
    serve(&workspace, Daemon::start(&workspace, &mut command).port);
}

#[test]
fn the_journal_gets_priorities_and_no_pids() {
    let workspace = Workspace::new("journal");
    let start = |stream: Option<(u64, u64)>, file: &Path| {
        let mut command = workspace.command(workspace.path("bin/distccd"));
        if let Some((device, inode)) = stream {
            command.env("JOURNAL_STREAM", format!("{device}:{inode}"));
        }
        command.args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info"]);
        command.args(["--listen", "127.0.0.1", "--port", "0", "--lifetime", "1", "--user", "no-such-user"]);
        command.stderr(fs::File::options().append(true).open(file).unwrap());
        run(&mut command);
        fs::read_to_string(file).unwrap()
    };
    for is_journal in [true, false] {
        let file = workspace.write("journal", "");
        let status = fs::metadata(&file).unwrap();
        let log = start(is_journal.then_some((status.dev(), status.ino())), &file);
        for (priority, text) in [(5, "listening on "), (5, "preforking daemon started"), (4, "Warning: ")] {
            let line =
                log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {log}"));
            let begins = if is_journal { format!("<{priority}>{text}") } else { "distccd[".to_owned() };
            assert!(line.starts_with(&begins), "{line}");
        }
    }
    // Another file's numbers: whoever started it has redirected standard error.
    let file = workspace.write("redirected", "");
    assert!(start(Some((1, 2)), &file).starts_with("distccd["));
}

/// The command lines of the units, run as they are, but for where the program is.
#[test]
fn the_units_start_the_daemon() {
    let workspace = Workspace::new("units");
    let service = unit("docs/systemd/distccd.service");
    let debian = unit("docs/systemd/distccd.service.d/debian.conf");
    assert_eq!(service["Type"], "notify");
    let listens = unit("docs/systemd/distccd.socket")["ListenStream"].clone();
    assert_eq!(listens, "3632");
    // Every option that the files mention is one.
    for (exec, settings) in [
        (&service["ExecStart"], &[("DISTCC_ARGS", "--listen 127.0.0.1 --port 0 --jobs 3")][..]),
        (
            &debian["ExecStart"],
            &[
                ("ALLOWEDNETS", "127.0.0.1 10.0.0.0/8"),
                ("LISTENER", "127.0.0.1"),
                ("NICE", "3"),
                ("JOBS", ""),
                ("DISTCC_ARGS", "--port 0"),
            ],
        ),
    ] {
        let (socket, name) = manager(&workspace, false);
        let env: HashMap<&str, String> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let program = workspace.path("bin/distccd");
        let line = words(&exec.replace("/usr/bin/distccd", program.to_str().unwrap()), &env);
        let mut command = workspace.command(&line[0]);
        command.args(&line[1..]).envs(&env).env("NOTIFY_SOCKET", name);
        let daemon = Daemon::start(&workspace, &mut command);
        assert_eq!(hear(&socket), "READY=1", "{line:?}");
        serve(&workspace, daemon.port);
        daemon.stop();
    }
}

/// inetd-like managers pass the connection as standard input.
#[test]
fn a_connection_as_standard_input_is_one_job() {
    let workspace = Workspace::new("accept");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connection: OwnedFd = listener.accept().unwrap().0.into();
    let mut command = workspace.command(workspace.path("bin/distccd"));
    command
        .args(["--enable-tcp-insecure", "--log-stderr"])
        .stdin(connection.try_clone().unwrap())
        .stdout(connection);
    let mut server = command.spawn().unwrap();
    drop(command);
    client
        .write_all(&peer::request(distcc::wire::Version::Plain, &["gcc", "-c", "a.c"], b"int x;\n"))
        .unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert!(reply.starts_with(b"DONE00000001STAT00000000"), "{}", reply.escape_ascii());
    assert!(server.wait().unwrap().success());
}
