use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::util::peer::FakeServer;
use crate::util::*;

/// A server that takes its time, so that there is something to see.
fn slow_server() -> FakeServer {
    FakeServer::new(|_, stream| {
        std::thread::sleep(Duration::from_secs(2));
        stream.write_all(b"DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000003OBJ").unwrap();
    })
}

/// A monitor of one kind sees the job of a client of the other, or the same, in stock's format.
fn sees(client: Kind, monitor: Kind) {
    if [client, monitor].contains(&Kind::Stock)
        && (stock("distcc").is_none() || stock("distccmon-text").is_none())
    {
        return;
    }
    let workspace = Workspace::new("monitor");
    workspace.write("hello.c", "int x;\n");
    let server = slow_server();
    let mut job = workspace.client(client, &server.host()).args(["gcc", "-c", "hello.c"]).spawn().unwrap();
    let program = match monitor {
        Kind::Ours => workspace.path("bin/distccmon-text"),
        Kind::Stock => "/usr/bin/distccmon-text".into(),
    };
    // stock's client writes no state before it has a slot; Compile is the phase that lasts.
    let expected =
        format!("{:6}  Compile     hello.c                                       127.0.0.1[0]\n\n", job.id());
    wait_until("the monitor shows the job", || {
        let output = workspace.command(&program).output().unwrap();
        String::from_utf8(output.stdout).unwrap() == expected
    });
    assert!(job.wait().unwrap().success());
    let output = succeed(&mut workspace.command(&program));
    assert_eq!(output.stdout, b"\n", "nothing runs any more");
    workspace.assert_clean();
}

#[test]
fn our_monitor_sees_our_client() {
    sees(Kind::Ours, Kind::Ours);
}

#[test]
fn stock_monitor_sees_our_client() {
    sees(Kind::Ours, Kind::Stock);
}

#[test]
fn our_monitor_sees_a_stock_client() {
    sees(Kind::Stock, Kind::Ours);
}

#[test]
fn it_repeats_with_a_delay() {
    let workspace = Workspace::new("delay");
    let mut monitor = workspace
        .command(workspace.path("bin/distccmon-text"))
        .arg("0.05")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = monitor.stdout.take().unwrap();
    let mut bytes = [0; 3];
    std::io::Read::read_exact(&mut out, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\n\n\n");
    monitor.kill().unwrap();
    monitor.wait().unwrap();
}

/// More jobs than slots: those that wait are shown as such, by both monitors.
#[test]
fn a_job_that_waits_is_blocked() {
    let workspace = Workspace::new("blocked");
    workspace.write("hello.i", "# 1 \"hello.c\"\nint x;\n");
    let server = slow_server();
    let hosts = format!("{}/1", server.host());
    let job = |at: usize| {
        workspace
            .distcc(&hosts)
            .env("DISTCC_CHECK_COMPILER", "off")
            .args(["gcc", "-c", "hello.i", "-o", &format!("{at}.o")])
            .spawn()
            .unwrap()
    };
    let mut jobs = vec![job(0)];
    let ours = workspace.path("bin/distccmon-text");
    let shown =
        |program: &Path| String::from_utf8(workspace.command(program).output().unwrap().stdout).unwrap();
    wait_until("the first has its slot", || shown(&ours).contains("Compile     hello.i"));
    jobs.push(job(1));
    let waiting = format!("{:6}  Blocked     hello.i ", jobs[1].id());
    let monitors = [Some(ours.clone()), stock("distccmon-text")];
    for monitor in monitors.iter().flatten() {
        wait_until("the second is shown as waiting", || shown(monitor).contains(&waiting));
    }
    assert_eq!(shown(&ours).matches("Compile").count(), 1);
    for mut job in jobs {
        assert!(job.wait().unwrap().success());
    }
}

/// `distccmon-text -w`, and what it has written so far.
struct Watch {
    child: Child,
    out: Arc<Mutex<String>>,
}

impl Watch {
    fn start(command: &mut Command) -> Watch {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        let out = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&out);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = pipe.read(&mut bytes) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..len]));
            }
        });
        Watch { child, out }
    }

    fn text(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    /// The words of this host's line in the last picture that has one.
    fn line_of(&self, host: &str) -> Vec<String> {
        let text = self.text();
        let mut lines = text.lines().map(|line| line.trim_end_matches("\x1b[K"));
        let line = lines.rfind(|line| line.starts_with(&format!("{host} "))).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect()
    }
}

/// On a terminal the picture is drawn over, follows the jobs, and leaves the terminal as it was.
#[test]
fn it_draws_over_the_last_picture_on_a_terminal() {
    let workspace = Workspace::new("watch");
    workspace.write("hello.c", "int x;\n");
    let server = FakeServer::new(|_, stream| {
        std::thread::sleep(Duration::from_millis(600));
        stream.write_all(b"DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000003OBJ").unwrap();
    });
    let closes = FakeServer::raw(|_| std::thread::sleep(Duration::from_millis(300)));
    let hosts = format!("{} localhost:{}/3", closes.host(), server.port);
    let monitor = format!("exec '{}' -w 0.05", workspace.path("bin/distccmon-text").display());
    // script(1) runs it on a terminal of its own.
    let mut command = workspace.command("script");
    let mut watch = Watch::start(command.env("DISTCC_HOSTS", &hosts).args(["-qfec", &monitor, "/dev/null"]));
    wait_until("it draws", || watch.line_of("localhost") == ["localhost", "0/3", "0", "0"]);
    let mut job = workspace.distcc(&hosts).args(["gcc", "-c", "hello.c"]).spawn().unwrap();
    wait_until("the job is shown", || watch.line_of("localhost") == ["localhost", "1/3", "0", "0"]);
    wait_until("its line is shown", || {
        watch.text().contains(&format!("{:6}  Compile     hello.c", job.id()))
    });
    assert!(job.wait().unwrap().success());
    wait_until("the job is counted", || watch.line_of("localhost") == ["localhost", "0/3", "1", "0"]);
    assert_eq!(watch.line_of("127.0.0.1"), ["127.0.0.1", "0/4", "0", "1"], "{}", watch.text());

    let monitors = children(watch.child.id());
    assert_eq!(monitors.len(), 1);
    signal_pid(monitors[0], libc::SIGINT);
    watch.child.wait().unwrap();
    let text = watch.text();
    assert_eq!(text.matches("\x1b[2J").count(), 1, "the screen is cleared once");
    assert!(text.contains("\x1b[?25l\x1b[2J\x1b[H0 jobs, 0 of them waiting"), "{text:?}");
    let pictures = text.matches("\x1b[H").count();
    assert!(pictures > 2 && pictures < 12, "only what has changed is drawn: {pictures}");
    wait_until("the cursor is shown again", || watch.text().trim_end().ends_with("\x1b[?25h"));
}

/// A picture a second, and jobs of some milliseconds: each is counted.
#[test]
fn short_jobs_are_counted_between_two_pictures() {
    let workspace = Workspace::new("short");
    workspace.write("a.i", "# 1 \"a.c\"\nint x;\n");
    let server = FakeServer::new(|_, stream| {
        stream.write_all(b"DONE00000001STAT00000000SERR00000000SOUT00000000DOTO00000003OBJ").unwrap();
    });
    let hosts = server.host();
    let mut monitor = workspace.command(workspace.path("bin/distccmon-text"));
    let mut watch = Watch::start(monitor.env("DISTCC_HOSTS", &hosts).args(["-w", "1"]));
    wait_until("it shows something", || watch.line_of("127.0.0.1").len() == 4);
    let mut jobs = 0;
    let mut kinds = vec![Kind::Ours];
    kinds.extend(stock("distcc").map(|_| Kind::Stock));
    for kind in kinds {
        for _ in 0..10 {
            let mut client = workspace.client(kind, &hosts);
            succeed(client.env("DISTCC_CHECK_COMPILER", "off").args(["gcc", "-c", "a.i", "-o", "a.o"]));
            jobs += 1;
        }
    }
    // On a busy machine one may be over before its record is read; it is counted without its host.
    let done = |host: &str| watch.line_of(host).get(2).map_or(0, |done| done.parse::<usize>().unwrap());
    wait_until("all are counted", || done("127.0.0.1") + done("?") == jobs);
    assert!(done("127.0.0.1") > jobs / 2, "{}", watch.text());
    assert!(!watch.text().contains('\x1b'), "no escapes where there is no terminal");
    watch.child.kill().unwrap();
    watch.child.wait().unwrap();
}
