use std::io::Write;
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
