use std::io::Write;
use std::net::TcpStream;

use distcc::wire::Version;

use crate::util::peer::{exchange, request};
use crate::util::*;

/// A good job gets its object, whatever else goes on.
fn serve(workspace: &Workspace, daemon: &Daemon) {
    workspace.write("good.c", "int x;\n");
    let before = daemon.jobs("COMPILE_OK");
    succeed(workspace.distcc(&daemon.host()).env("DISTCC_FALLBACK", "0").args(["gcc", "-c", "good.c"]));
    wait_until("the job's line is written", || daemon.jobs("COMPILE_OK") > before);
}

#[test]
fn each_bad_input_gets_its_log_line_and_costs_only_its_connection() {
    let workspace = Workspace::new("bad");
    let daemon = Daemon::ours(&workspace, &["--jobs", "2"]);
    let head = b"DIST00000001ARGC00000003ARGV00000003gccARGV00000002-cARGV00000003a.c";
    let with = |tail: &[u8]| [&head[..], tail].concat();
    let mut corrupt = request(Version::Lzo, &["gcc", "-c", "a.c"], &b"int x;\n".repeat(50));
    let len = corrupt.len();
    corrupt[len - 3] ^= 0x55;
    let bomb = {
        let zeros = request(Version::Lzo, &["gcc", "-c", "a.c"], &vec![b' '; 64 << 20]);
        assert!(zeros.len() < 1 << 20, "{}", zeros.len());
        zeros
    };
    for (name, bytes, close, line, answered) in [
        ("an unknown version", b"DIST00000004".to_vec(), false, "protocol version 4 does not exist", false),
        (
            "version 3 with another token",
            b"DIST00000003ARGC00000001".to_vec(),
            false,
            "expected the token CDIR",
            true,
        ),
        ("version 0", b"DIST00000000".to_vec(), false, "protocol version 0", false),
        ("another protocol", b"GET / HTTP/1.0\r\n\r\n".to_vec(), false, "expected the token DIST", false),
        ("a bad number", b"DIST00000001ARGC0000000z".to_vec(), false, "is not a number", true),
        ("no arguments", b"DIST00000001ARGC00000000DOTI00000000".to_vec(), false, "ARGC is 0", true),
        ("2^31 arguments", b"DIST00000001ARGC80000000".to_vec(), false, "ARGC asks for 2147483648", true),
        (
            "a huge argument",
            b"DIST00000001ARGC00000001ARGVffffffff".to_vec(),
            false,
            "ARGV asks for 4294967295",
            true,
        ),
        ("a NUL in an argument", b"DIST00000001ARGC00000001ARGV00000006gcc\0zz".to_vec(), false, "NUL", true),
        ("a huge body", with(b"DOTIffffffff"), false, "DOTI asks for 4294967295", true),
        ("a wrong token", with(b"BLOB00000000"), false, "expected the token DOTI", true),
        ("a truncated body", with(b"DOTI00001000int"), true, "closed before DOTI was complete", false),
        (
            "a truncated word",
            b"DIST00000001ARGC00000001ARGV00000008gc".to_vec(),
            true,
            "closed before ARGV",
            false,
        ),
        ("nothing but a start", b"DIST0000".to_vec(), true, "closed before DIST", false),
        ("a corrupt LZO stream", corrupt, false, "the body of DOTI cannot be expanded", true),
        ("64 MB in a few KB", bomb, false, "", true),
    ] {
        let before = daemon.log().len();
        let reply = exchange(daemon.port, &bytes, close).unwrap_or_else(|| panic!("{name}: not closed"));
        assert_eq!(!reply.is_empty(), answered, "{name}: {}", reply.escape_ascii());
        assert!(reply.is_empty() || reply.starts_with(b"DONE0000000"), "{name}");
        wait_until("the log has a line", || daemon.log()[before..].contains("dcc_job_summary"));
        assert!(daemon.log()[before..].contains(line), "{name}: {}", &daemon.log()[before..]);
        if line.is_empty() {
            continue;
        }
        assert!(!daemon.log()[before..].contains("COMPILE_"), "{name}: nothing may have run");
        serve(&workspace, &daemon);
    }
    workspace.assert_clean();
    daemon.stop();
}

#[test]
fn a_client_that_takes_no_answer_costs_nobody_else_anything() {
    let workspace = Workspace::new("deaf");
    let daemon = Daemon::ours(&workspace, &["--jobs", "1"]);
    let source = format!("char large[{}] = {{1}};\n", 16 << 20);
    let mut deaf = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    deaf.write_all(&request(Version::Plain, &["gcc", "-c", "a.c"], source.as_bytes())).unwrap();
    for _ in 0..3 {
        serve(&workspace, &daemon);
    }
    drop(deaf);
    daemon.wait_for_jobs("CLI_DISCONN", 1);
    workspace.assert_clean();
}
