use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::util::network::{Machine, Networks};
use crate::util::*;

/// Ours, on a machine of the test's networks.
fn server(workspace: &Workspace, machine: &Machine, options: &[&str]) -> Daemon {
    let mut command = workspace.command(workspace.path("bin/distccd"));
    command.args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info", "--nice", "0"]);
    command.args(["--port", "3632", "--jobs", "2", "--zeroconf"]).args(options);
    Daemon::start(workspace, &mut machine.command(&command))
}

fn wait_until_announced(server: &Daemon, links: usize) {
    wait_until("the server is announced", || server.log().matches("announced as").count() >= links);
}

fn client(workspace: &Workspace, machine: &Machine, hosts: &str, words: &[&str]) -> Command {
    machine.command(workspace.distcc(hosts).args(words))
}

/// The entries that our client finds, without what is said of them.
fn hosts(workspace: &Workspace, machine: &Machine, list: &str) -> Vec<String> {
    let output = succeed(&mut client(workspace, machine, list, &["--show-hosts"]));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// The background process that looks for servers in this workspace.
fn browsers(workspace: &Workspace) -> Vec<u32> {
    let directory = format!("distcc-zeroconf\0{}", workspace.path("top/zeroconf-").display());
    let is_ours = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it.contains(&directory))
    };
    all_processes().into_iter().map(|(pid, _)| pid).filter(is_ours).collect()
}

/// Ends it with the test.
struct EndBrowsers<'a>(&'a Workspace);

impl Drop for EndBrowsers<'_> {
    fn drop(&mut self) {
        for pid in browsers(self.0) {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

fn compile(workspace: &Workspace, machine: &Machine, list: &str, source: &str) -> std::process::Output {
    workspace.write(source, "int answer(void) { return 42; }\n");
    let object = source.replace(".c", ".o");
    let mut command = client(workspace, machine, list, &["gcc", "-c", source, "-o", &object]);
    let output = succeed(command.env("DISTCC_VERBOSE", "1"));
    assert!(workspace.work().join(object).exists());
    output
}

/// Utime and stime of a process in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Servers are found by the first job, leave, die, join; nothing costs anything in between.
#[test]
fn servers_come_and_go() {
    let Some(mut networks) = Networks::new(1) else { return };
    let workspace = Workspace::new("zeroconf");
    let _end = EndBrowsers(&workspace);
    let here = networks.machine("here", 1, &[0]);
    let machines: Vec<Machine> = (2..6).map(|n| networks.machine(&format!("box{n}"), n, &[0])).collect();
    let mut servers: Vec<Daemon> =
        machines[..3].iter().map(|machine| server(&workspace, machine, &[])).collect();
    servers.iter().for_each(|server| wait_until_announced(server, 1));
    // Nobody may be asked again within a second of having spoken (RFC 6762 section 6).
    std::thread::sleep(Duration::from_secs(1));

    let begun = Instant::now();
    let all = ["10.98.0.2:3632/2", "10.98.0.3:3632/2", "10.98.0.4:3632/2"];
    assert_eq!(hosts(&workspace, &here, "+zeroconf"), all);
    let first = begun.elapsed();
    assert!(first < Duration::from_secs(3), "{first:?}: a second, and a busy machine");
    assert_eq!(browsers(&workspace).len(), 1);
    let begun = Instant::now();
    let listed = hosts(&workspace, &here, "first/1 +zeroconf/1,lzo,cpp last");
    assert!(
        begun.elapsed() < first || begun.elapsed() < Duration::from_millis(500),
        "it does not wait again"
    );
    let with_options = all.map(|it| it.replace("/2", "/1,lzo,cpp"));
    assert_eq!(listed[0], "first/1");
    assert_eq!(listed[1..4], with_options);
    assert_eq!(listed[4..], ["last"]);

    compile(&workspace, &here, "+zeroconf,lzo", "a.c");
    servers[0].wait_for_jobs("COMPILE_OK", 1);

    // Nothing is done while nobody asks. What the job left to be done, and the browser's last questions, come a second or
    // two later, and may be what is running at the moment of a tick.
    let at_rest: Vec<u32> = servers.iter().flat_map(Daemon::processes).chain(browsers(&workspace)).collect();
    let spent = || at_rest.iter().map(|pid| ticks(*pid)).collect::<Vec<u64>>();
    let is_at_rest = (0..5).any(|_| {
        let before = spent();
        std::thread::sleep(Duration::from_millis(1500));
        before == spent()
    });
    assert!(is_at_rest, "ticks: {:?}", spent());

    // With a goodbye.
    let begun = Instant::now();
    servers.remove(1).stop();
    wait_until("it is gone", || hosts(&workspace, &here, "+zeroconf") == [all[0], all[2]]);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());

    // Without one: its children first, of which one would say it.
    for pid in servers[0].processes().into_iter().rev() {
        signal_pid(pid, libc::SIGKILL);
    }
    drop(servers.remove(0));
    assert!(
        stderr(&compile(&workspace, &here, "+zeroconf", "b.c")).contains("10.98.0.4:3632/2 completed ok")
    );
    let second = stderr(&compile(&workspace, &here, "+zeroconf", "c.c"));
    assert!(!second.contains("10.98.0.2"), "it is left alone: {second}");

    // And one more, while a build goes on that has jobs for both.
    let script = "while [ ! -e stop ]; do \"$0\" gcc -c a.c -o \"$1\"; done";
    let mut build = ["d1.o", "d2.o", "d3.o", "d4.o"].map(|object| {
        let mut shell = workspace.command("sh");
        shell.env("DISTCC_HOSTS", "+zeroconf").args(["-ec", script]);
        here.command(shell.arg(workspace.path("bin/distcc")).arg(object)).spawn().unwrap()
    });
    servers.push(server(&workspace, &machines[3], &[]));
    let has_joined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until("it gets jobs", || servers[1].jobs("COMPILE_OK") > 0);
    }));
    workspace.write("stop", "");
    assert!(build.iter_mut().all(|job| job.wait().unwrap().success()));
    assert!(has_joined.is_ok(), "{}", servers[1].log());
    assert!(hosts(&workspace, &here, "+zeroconf").contains(&"10.98.0.5:3632/2".to_owned()));

    let doctor = run(&mut client(&workspace, &here, "+zeroconf", &["--doctor"]));
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(text.contains("announces   distcc ") && text.contains("jobs 2, protocols 123"), "{text}");
    let list =
        succeed(&mut here.command(workspace.command(workspace.path("bin/lsdistcc")).arg("--zeroconf")));
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(text.contains("10.98.0.5:3632/2  # distcc@box5: distcc "), "{text}");

    // A compiler that nobody has is not sent to anybody.
    workspace.script("bin/odd-gcc", "#!/bin/sh\n[ \"$1\" = -dumpversion ] && echo 99 || exec gcc \"$@\"\n");
    let odd = workspace.path("bin/odd-gcc").display().to_string();
    let output = succeed(&mut client(&workspace, &here, "+zeroconf", &[&odd, "-c", "a.c", "-o", "odd.o"]));
    assert!(stderr(&output).contains("do not have odd-gcc 99 for"), "{}", explain(&output));
}

/// The addresses that `lsdistcc --zeroconf` prints.
fn announced(workspace: &Workspace, machine: &Machine) -> Vec<String> {
    let mut list = workspace.command(workspace.path("bin/lsdistcc"));
    let output = run(&mut machine.command(list.arg("--zeroconf")));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

/// Hosts that were found compress and preprocess like named ones; each is used for what it offers.
#[test]
fn found_hosts_take_compressed_and_preprocessing_jobs() {
    let Some(mut networks) = Networks::new(1) else { return };
    let workspace = Workspace::new("zeroconf-pump");
    let _end = EndBrowsers(&workspace);
    let (here, there) = (networks.machine("here", 1, &[0]), networks.machine("box2", 2, &[0]));
    let server = server(&workspace, &there, &[]);
    wait_until_announced(&server, 1);
    workspace.write("include/part.h", "static int part(int x) { return x / 3; }\n");
    workspace.write("a.c", "#include <stddef.h>\n#include \"part.h\"\nint f(int x) { return part(x); }\n");
    let words = ["gcc", "-O2", "-Iinclude", "-c", "a.c", "-o"];
    succeed(workspace.command(words[0]).args(&words[1..]).arg("local.o"));
    let object = |name: &str| fs::read(workspace.work().join(name)).unwrap();
    let build = |list: &str, program: &str, before: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
        let mut command = workspace.command(workspace.path("bin").join(program));
        command.env("PATH", path).env("DISTCC_HOSTS", list).env("DISTCC_VERBOSE", "1");
        command.env("DISTCC_FALLBACK", "0").args(before).args(words).arg("remote.o");
        succeed(&mut here.command(&command))
    };
    wait_until("it is found", || !hosts(&workspace, &here, "+zeroconf").is_empty());
    let kinds = [
        ("+zeroconf,lzo", "distcc", &[][..], false),
        ("+zeroconf,cpp,lzo", "pump", &["distcc"], true),
        ("+zeroconf/1,lzo,cpp", "pump", &["distcc"], true),
    ];
    for (count, (list, program, before, pumped)) in kinds.into_iter().enumerate() {
        let output = build(list, program, before);
        let said = stderr(&output);
        assert_eq!(said.contains("files and links"), pumped, "{list}: {said}");
        assert!(said.contains("10.98.0.2:3632/") && said.contains(",lzo"), "{list}: {said}");
        assert!(object("remote.o") == object("local.o"), "{list}");
        server.wait_for_jobs("COMPILE_OK", count + 1);
    }
}

/// The process in the background ends with its directory.
#[test]
fn nothing_stays_behind() {
    let Some(mut networks) = Networks::new(1) else { return };
    let workspace = Workspace::new("zeroconf-end");
    let _end = EndBrowsers(&workspace);
    let here = networks.machine("here", 1, &[0]);
    let output = run(&mut client(&workspace, &here, "+zeroconf", &["--show-hosts"]));
    assert!(stderr(&output).contains("no server announces itself here"), "{}", explain(&output));
    assert_eq!(browsers(&workspace).len(), 1);
    fs::remove_dir_all(workspace.path("top")).unwrap();
    wait_until("it has ended", || browsers(&workspace).is_empty());
}

/// The process in the background ends when no client has asked for a time, which starts anew with each that asks.
#[test]
fn nobody_searches_for_nobody() {
    let Some(mut networks) = Networks::new(1) else { return };
    let workspace = Workspace::new("zeroconf-idle");
    let _end = EndBrowsers(&workspace);
    let here = networks.machine("here", 1, &[0]);
    let directory = workspace.path("top/zeroconf-here");
    fs::create_dir(&directory).unwrap();
    let program = workspace.path("bin/distcc-zeroconf");
    symlink(OURS, &program).unwrap();
    let mut command = workspace.command(&program);
    // The ten minutes of a client's own are too long for a test.
    succeed(&mut here.command(command.arg(&directory).arg("2")));
    wait_until("it searches", || directory.join("servers").exists());
    let [process] = browsers(&workspace)[..] else { panic!("there is one") };
    // Clients tell that they are there only if nobody has for half a minute.
    let lock = fs::File::options().write(true).open(directory.join("servers.lock")).unwrap();
    lock.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();

    let asked = Instant::now();
    run(&mut client(&workspace, &here, "+zeroconf", &["--show-hosts"]));
    assert_eq!(browsers(&workspace), [process], "the client needs no other");
    wait_until("it has ended", || browsers(&workspace).is_empty());
    assert!(asked.elapsed() >= Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(!directory.join("servers").exists(), "nobody takes its list for news");
}

/// Each network sees the servers and addresses of its own, even of one that is in both; a machine in both sees all.
#[test]
fn two_networks_do_not_mix() {
    let Some(mut networks) = Networks::new(2) else { return };
    let workspace = Workspace::new("zeroconf-two");
    let _end = EndBrowsers(&workspace);
    let [left, right, both] = [("left", 1, &[0][..]), ("right", 2, &[1]), ("both", 3, &[0, 1])]
        .map(|(name, last, of)| networks.machine(name, last, of));
    let in_both = server(&workspace, &both, &[]);
    // The same name in another network is no conflict.
    let same = networks.machine("same", 4, &[0]);
    let other = Machine { name: "same".to_owned(), ..networks.machine("other", 5, &[1]) };
    let servers = [server(&workspace, &same, &[]), server(&workspace, &other, &[])];
    wait_until_announced(&in_both, 2);
    servers.iter().for_each(|server| wait_until_announced(server, 1));
    assert!(servers.iter().all(|server| server.log().contains("\"distcc@same\"")));
    let found = |machine: &Machine| announced(&workspace, machine);
    assert_eq!(found(&left), ["10.98.0.3", "10.98.0.4"]);
    assert_eq!(found(&right), ["10.98.1.3", "10.98.1.5"]);
    assert_eq!(
        found(&both),
        ["10.98.0.3", "10.98.0.4", "10.98.1.5"].map(|it| it.replace("10.98.0.3", "127.0.0.1"))
    );
    in_both.stop();

    // Only where it is wanted.
    let only = server(&workspace, &both, &["--zeroconf-interface", "eth1"]);
    wait_until_announced(&only, 1);
    assert_eq!(found(&right), ["10.98.1.3", "10.98.1.5"]);
    assert!(!announced(&workspace, &left).contains(&"10.98.0.3".to_owned()));
}

/// Avahi shows our server, beside an Avahi of its own; stock's client uses it; our client uses stock's server.
#[test]
fn avahi_and_stock_understand_us() {
    let Some(mut networks) = Networks::new(1) else { return };
    let workspace = Workspace::new("zeroconf-avahi");
    let _end = EndBrowsers(&workspace);
    let (Some(_), Some(_)) = (stock("distcc"), stock("distccd")) else { return };
    let (here, box2) = (networks.machine("here", 1, &[0]), networks.machine("box2", 2, &[0]));
    let (Some(_here_avahi), Some(box_avahi)) = (here.start_avahi(&workspace), box2.start_avahi(&workspace))
    else {
        return;
    };
    let ours = server(&workspace, &box2, &[]);
    wait_until_announced(&ours, 1);
    let browse = || {
        let mut browse = workspace.command("/usr/bin/avahi-browse");
        let output = run(&mut here.command(browse.args(["-rtp", "_distcc._tcp"])));
        String::from_utf8(output.stdout).unwrap()
    };
    let mut text = String::new();
    wait_until("Avahi shows our server", || {
        text = browse();
        text.lines().any(|line| line.starts_with("=;eth0;IPv4;distcc\\064box2;"))
    });
    let line = text.lines().find(|line| line.starts_with("=;eth0;IPv4;")).unwrap();
    let fields: Vec<&str> = line.split(';').collect();
    assert_eq!(fields[6..9], ["box2-distccd.local", "10.98.0.2", "3632"]);
    for string in ["\"txtvers=1\"", "\"jobs=2\"", "\"cc_version=", "\"cc_machine=", "\"proto=123\"", "\"ccs="]
    {
        assert!(fields[9].contains(string), "{string}: {line}");
    }
    assert!(!box_avahi.log().contains("conflict"), "{}", box_avahi.log());

    // Stock's client waits a second for its list, and has none if that was too short.
    workspace.write("a.c", "int a;\n");
    let stock_top = workspace.path("stock-top");
    fs::create_dir(&stock_top).unwrap();
    wait_until("stock's client uses our server", || {
        let mut command = workspace.client(Kind::Stock, "+zeroconf");
        command.args(["gcc", "-c", "a.c", "-o", "a.o"]).env("DISTCC_DIR", &stock_top);
        run(&mut here.command(&command));
        ours.jobs("COMPILE_OK") > 0
    });
    let _ = ours.stop();

    let mut command = workspace.command(Path::new("/usr/bin/distccd"));
    command.args(["--daemon", "--no-detach", "--log-stderr", "--log-level", "info", "--nice", "0"]);
    command.args(["--port", "3632", "--jobs", "3", "--allow", "10.98.0.0/24", "--zeroconf"]);
    let theirs = Daemon::start(&workspace, &mut box2.command(&command));
    let mut found = Vec::new();
    wait_until("our client finds stock's server", || {
        found = hosts(&workspace, &here, "+zeroconf,lzo");
        !found.is_empty()
    });
    assert_eq!(found, ["10.98.0.2:3632/3,lzo"]);
    let output = compile(&workspace, &here, "+zeroconf,lzo", "b.c");
    assert!(stderr(&output).contains("10.98.0.2:3632/3,lzo completed ok"), "{}", explain(&output));
    theirs.wait_for_jobs("COMPILE_OK", 1);
}

/// A neighbour gets an answer, a stranger none, a flood next to none, and nonsense does no harm.
#[test]
fn strangers_and_floods_get_nothing() {
    let Some(mut networks) = Networks::new(1) else { return };
    let workspace = Workspace::new("zeroconf-hostile");
    let (here, there) = (networks.machine("here", 1, &[0]), networks.machine("box2", 2, &[0]));
    let server = server(&workspace, &there, &[]);
    wait_until_announced(&server, 1);
    let processes = server.processes();
    // The same wire, another network, and a way back.
    here.ip("addr add 192.0.2.9/32 dev eth0");
    there.ip("route add 192.0.2.9/32 dev eth0");

    // "_distcc._tcp.local", PTR, as an ordinary resolver asks.
    let question = b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x07_distcc\x04_tcp\x05local\0\0\x0c\0\x01";
    let answers = |socket: &UdpSocket, patience: u64| {
        let mut buffer = [0; 9000];
        socket.set_read_timeout(Some(Duration::from_millis(patience))).unwrap();
        let mut lengths = Vec::new();
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            assert_eq!(from.to_string(), "10.98.0.2:5353");
            assert_eq!(buffer[..2], question[..2], "the question's number");
            lengths.push(len);
        }
        lengths
    };
    let group = "224.0.0.251:5353";
    let (neighbour, stranger) = (here.socket("10.98.0.1:0"), here.socket("192.0.2.9:0"));
    stranger.send_to(question, group).unwrap();
    neighbour.send_to(question, group).unwrap();
    assert_eq!(answers(&neighbour, 500).len(), 1);
    assert_eq!(answers(&stranger, 100), []);
    // Nothing listens to what is not sent to the group.
    neighbour.send_to(question, "10.98.0.2:5353").unwrap();
    assert_eq!(answers(&neighbour, 200), []);

    // What strangers send takes nothing from what is heard of neighbours.
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..20 {
        for _ in 0..50 {
            stranger.send_to(question, group).unwrap();
        }
        // There is time to throw these away before the next come.
        std::thread::sleep(Duration::from_millis(5));
    }
    neighbour.send_to(question, group).unwrap();
    assert_eq!(answers(&neighbour, 500).len(), 1);

    let begun = Instant::now();
    for number in 0..3000u32 {
        let mut nonsense = question.to_vec();
        nonsense[(number % 31) as usize] = (number / 31) as u8;
        neighbour.send_to(&nonsense, group).unwrap();
        neighbour.send_to(question, group).unwrap();
    }
    let mut buffer = [0; 9000];
    neighbour.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let bytes: usize = std::iter::from_fn(|| neighbour.recv(&mut buffer).ok()).sum();
    let allowed = (begun.elapsed().as_secs() as usize + 2) * 5 * 600;
    assert!(bytes <= allowed, "{bytes} bytes in {:?}", begun.elapsed());
    assert!(bytes < 6000 * question.len(), "fewer than were sent");

    std::thread::sleep(Duration::from_secs(1));
    neighbour.send_to(question, group).unwrap();
    assert_eq!(answers(&neighbour, 500).len(), 1);
    assert_eq!(server.processes(), processes, "{}", server.log());
}

/// Without IPv4, with addresses that mean nothing without an interface; and a server whose address changes.
#[test]
fn addresses_of_all_kinds_that_change() {
    let Some(mut networks) = Networks::new(1) else { return };
    let workspace = Workspace::new("zeroconf-addresses");
    let _end = EndBrowsers(&workspace);
    let (here, there) = (networks.machine("here", 1, &[0]), networks.machine("box2", 2, &[0]));
    for machine in [&here, &there] {
        machine.ip("-4 addr flush dev eth0");
    }
    // A tentative address cannot be used: the kernel looks for a second whether somebody else has it.
    wait_until("the addresses can be used", || {
        [&here, &there].iter().all(|machine| {
            let mut show = workspace.command("ip");
            show.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["-6", "addr", "show", "dev", "eth0"]);
            let output = run(&mut machine.command(&show));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.contains("fe80:") && !text.contains("tentative")
        })
    });
    let server = server(&workspace, &there, &[]);
    wait_until_announced(&server, 1);
    let mut found = Vec::new();
    wait_until("it is found by its IPv6 address", || {
        found = hosts(&workspace, &here, "+zeroconf");
        found.first().is_some_and(|host| host.starts_with("[fe80::") && host.ends_with("]:3632/2"))
    });
    compile(&workspace, &here, "+zeroconf", "a.c");
    server.wait_for_jobs("COMPILE_OK", 1);

    for (gone, new) in [("", "10.98.0.2"), ("10.98.0.2", "10.98.0.7")] {
        if !gone.is_empty() {
            there.ip(&format!("addr del {gone}/24 dev eth0"));
        } else {
            here.ip("addr add 10.98.0.1/24 dev eth0");
        }
        there.ip(&format!("addr add {new}/24 dev eth0"));
        let expected = format!("{new}:3632/2");
        wait_until("the new address is known", || {
            hosts(&workspace, &here, "+zeroconf").first() == Some(&expected)
        });
    }
    let output = compile(&workspace, &here, "+zeroconf", "b.c");
    assert!(stderr(&output).contains("10.98.0.7:3632/2 completed ok"), "{}", explain(&output));
}

/// Two machines of one name become two servers; what comes from outside the network makes none.
#[test]
fn names_are_claimed_and_strangers_announce_nothing() {
    use distcc::dns::{Data, Name, Record, Writer};

    let Some(mut networks) = Networks::new(1) else { return };
    let workspace = Workspace::new("zeroconf-names");
    let _end = EndBrowsers(&workspace);
    let here = networks.machine("here", 1, &[0]);
    let (box2, box3) = (networks.machine("same", 2, &[0]), networks.machine("other", 3, &[0]));
    let box3 = Machine { name: "same".to_owned(), ..box3 };
    let servers = [server(&workspace, &box2, &[]), server(&workspace, &box3, &[])];
    servers.iter().for_each(|server| wait_until_announced(server, 1));
    let both = ["10.98.0.2:3632/2", "10.98.0.3:3632/2"];
    wait_until("both are found", || hosts(&workspace, &here, "+zeroconf") == both);
    wait_until("one has another name", || {
        servers.iter().filter(|server| server.log().contains("\"distcc@same #2\"")).count() == 1
    });

    // The same announcement from a neighbour and, before it, from a stranger on the same wire.
    let faker = networks.machine("faker", 9, &[0]);
    faker.ip("addr add 192.0.2.9/32 dev eth0");
    let announcement = |last: u8| {
        let service_type = Name::new(["_distcc", "_tcp", "local"]);
        let (instance, host) = (service_type.below(&format!("fake{last}")), Name::new(["fake", "local"]));
        let record = |name: &Name, data| Record { name: name.clone(), unique: false, ttl: 120, data };
        let mut writer = Writer::response(0);
        writer.answer(&record(&service_type, Data::Ptr(instance.clone())));
        writer.answer(&record(&instance, Data::Srv { port: 1, target: host.clone() }));
        writer.answer(&record(&instance, Data::Txt(b"\x06jobs=1".to_vec())));
        writer.answer(&record(&host, Data::A([10, 98, 0, last].into())));
        writer.finish()
    };
    for (from, last) in [("192.0.2.9:5353", 200), ("10.98.0.9:1234", 201), ("10.98.0.9:5353", 202)] {
        faker.socket(from).send_to(&announcement(last), "224.0.0.251:5353").unwrap();
    }
    wait_until("the neighbour's is believed", || {
        hosts(&workspace, &here, "+zeroconf") == [both[0], both[1], "10.98.0.202:1/1"]
    });
}
