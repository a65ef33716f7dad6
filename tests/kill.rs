//! SIGKILL for a worker, the supervisor, a compiler or the client, in each phase of a job: what is left of it, and what
//! becomes of the others.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use distcc::wire::Version;

use crate::util::peer::{exchange, request};
use crate::util::*;

/// Where a job is when somebody is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Half of the source has come.
    Receiving,
    /// Complete, while others have all slots.
    Queued,
    /// The compiler runs.
    Compiling,
    /// The client does not take the answer.
    Replying,
}

const PHASES: [Phase; 4] = [Phase::Receiving, Phase::Queued, Phase::Compiling, Phase::Replying];

/// Compile slots; one worker more would make them no more.
const SLOTS: usize = 2;

/// A daemon with statistics, a compiler `gate` that waits for a file, and a compiler `large` with a large object.
struct Rig {
    workspace: Workspace,
    daemon: Daemon,
    stats_port: u16,
}

/// A job on its way, and the worker that has it.
struct Job {
    stream: TcpStream,
    worker: u32,
}

impl Rig {
    fn new(name: &str) -> Rig {
        let workspace = Workspace::new(name);
        for name in ["gate", "large"] {
            workspace.script(&format!("masquerade/{name}"), "");
        }
        let output = "while [ \"$1\" != -o ]; do shift; done";
        let open = workspace.path("open");
        // The compiler's own child must go as well, so it is the child that waits.
        workspace.script(
            "servers/gate",
            &format!(
                "#!/bin/sh\n(while [ ! -e '{}' ]; do sleep 0.01; done) & wait\n{output}; printf OBJ > \"$2\"\n",
                open.display()
            ),
        );
        workspace.script("servers/large", &format!("#!/bin/sh\n{output}; head -c 64M /dev/zero > \"$2\"\n"));
        let mut command = workspace.distccd_with_servers();
        // Else the kernel keeps who connects and says nothing for a second.
        command.env("DISTCC_TCP_DEFER_ACCEPT", "0");
        command.args(["--stats", "--stats-port", "0"]);
        command.args(["--jobs", &SLOTS.to_string(), "--masquerade-dir"]).arg(workspace.path("masquerade"));
        let daemon = Daemon::start(&workspace, &mut command);
        wait_until("there are workers", || children(daemon.pid()).len() == SLOTS);
        let line =
            || Some(daemon.log().lines().find(|line| line.contains("stats server listening"))?.to_owned());
        wait_until("the statistics are served", || line().is_some());
        let stats_port = line().unwrap().rsplit(':').next().unwrap().trim().parse().unwrap();
        Rig { workspace, daemon, stats_port }
    }

    fn metric(&self, name: &str) -> u64 {
        let page = exchange(self.stats_port, b"GET /metrics HTTP/1.0\r\n\r\n", false).unwrap();
        let page = String::from_utf8(page).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in {page}")).parse().unwrap()
    }

    /// A connection that `worker` has accepted, because the others cannot.
    fn connect(&self, worker: u32) -> Job {
        let others: Vec<u32> =
            children(self.daemon.pid()).into_iter().filter(|other| *other != worker).collect();
        others.iter().for_each(|other| signal_pid(*other, libc::SIGSTOP));
        let stream = TcpStream::connect(("127.0.0.1", self.daemon.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let line = format!("distccd[{worker}] connection from {}", stream.local_addr().unwrap());
        wait_until("the worker accepts", || self.daemon.log().lines().any(|it| it.starts_with(&line)));
        others.iter().for_each(|other| signal_pid(*other, libc::SIGCONT));
        Job { stream, worker }
    }

    /// A job of `compiler` in this worker.
    fn send(&self, worker: u32, compiler: &str) -> Job {
        let mut job = self.connect(worker);
        job.stream.write_all(&request(Version::Plain, &[compiler, "-c", "a.c"], b"int x;\n")).unwrap();
        job
    }

    /// The jobs' compilers, each with its children.
    fn compilers(&self) -> Vec<String> {
        let is_daemon = |line: &&String| line.contains("distccd --daemon");
        processes_of(&self.workspace).into_iter().filter(|line| !is_daemon(&line)).collect()
    }

    /// A job of `worker` that is in this phase, and as many of `other` as that takes, or one.
    fn job_in(&self, phase: Phase, worker: u32, other: u32) -> (Job, Vec<Job>) {
        wait_until("no job runs", || self.metric("distccd_slots_in_use") == 0);
        self.close_gate();
        let count = if phase == Phase::Queued { SLOTS } else { 1 };
        let others: Vec<Job> = (0..count).map(|_| self.send(other, "gate")).collect();
        wait_until("the other jobs run, and no more", || self.metric("distccd_slots_in_use") == count as u64);
        let job = match phase {
            Phase::Receiving => {
                let mut job = self.connect(worker);
                let bytes = request(Version::Plain, &["gate", "-c", "a.c"], &b"int x;\n".repeat(100_000));
                job.stream.write_all(&bytes[..bytes.len() / 2]).unwrap();
                wait_until("it has its directory", || {
                    let prefix = format!("distccd_{worker}_");
                    self.workspace.leftovers().iter().any(|path| path.to_string_lossy().contains(&prefix))
                });
                job
            }
            Phase::Queued => {
                let job = self.send(worker, "gate");
                wait_until("it waits", || self.metric("distccd_jobs_waiting") == 1);
                job
            }
            Phase::Compiling => {
                let job = self.send(worker, "gate");
                wait_until("it runs", || self.metric("distccd_slots_in_use") == count as u64 + 1);
                wait_until("with children", || self.compilers().len() >= 2 * (count + 1));
                job
            }
            Phase::Replying => {
                let job = self.send(worker, "large");
                job.stream.peek(&mut [0]).unwrap();
                wait_until("the slot is free again", || self.metric("distccd_slots_in_use") == count as u64);
                job
            }
        };
        (job, others)
    }

    fn gate(&self) -> PathBuf {
        self.workspace.path("open")
    }

    fn open_gate(&self) {
        fs::write(self.gate(), "").unwrap();
    }

    fn close_gate(&self) {
        let _ = fs::remove_file(self.gate());
    }

    /// Lets the others finish, who must know nothing of it all.
    fn finish(&self, others: Vec<Job>) {
        self.open_gate();
        for mut other in others {
            let mut reply = Vec::new();
            other.stream.read_to_end(&mut reply).unwrap();
            assert!(reply.ends_with(b"DOTO00000003OBJ"), "{}", reply.escape_ascii());
        }
    }

    /// No job has left anything, and all slots can be had at the same time.
    #[track_caller]
    fn assert_as_new(&self) {
        wait_until("no compiler is left", || self.compilers().is_empty());
        self.workspace.assert_clean();
        wait_until("all workers are there", || children(self.daemon.pid()).len() == SLOTS);
        assert_eq!(self.metric("distccd_slots_in_use"), 0);
        assert_eq!(self.metric("distccd_jobs_waiting"), 0);
        assert_eq!(self.metric("distccd_slots"), SLOTS as u64);
        self.close_gate();
        let workers = children(self.daemon.pid());
        let jobs: Vec<Job> = workers.iter().map(|worker| self.send(*worker, "gate")).collect();
        wait_until("all slots are taken", || self.metric("distccd_slots_in_use") == SLOTS as u64);
        self.finish(jobs);
        wait_until("they are free again", || self.metric("distccd_slots_in_use") == 0);
        self.workspace.assert_clean();
    }
}

/// What is left of an answer that somebody's death has cut off.
fn rest_of(mut stream: TcpStream) -> usize {
    let mut reply = Vec::new();
    if let Err(e) = stream.read_to_end(&mut reply) {
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "the connection is still open");
    }
    reply.len()
}

#[test]
fn a_killed_worker_takes_only_its_own_jobs_along() {
    let rig = Rig::new("kill-worker");
    for phase in PHASES {
        let workers = children(rig.daemon.pid());
        let (job, others) = rig.job_in(phase, workers[0], workers[1]);
        signal_pid(job.worker, libc::SIGKILL);
        assert!(rest_of(job.stream) < 64 << 20, "{phase:?}");
        let prefix = format!("distccd_{}_", job.worker);
        wait_until("its compiler and files have gone", || {
            let of_worker = |path: &PathBuf| path.to_string_lossy().contains(&prefix);
            !rig.workspace.leftovers().iter().any(of_worker) && rig.compilers().len() <= 3 * others.len()
        });
        rig.finish(others);
        wait_until("all workers are there", || children(rig.daemon.pid()).len() == SLOTS);
    }
    rig.assert_as_new();
    assert_eq!(rig.metric("distccd_worker_restarts_total"), PHASES.len() as u64);
    rig.daemon.stop();
}

#[test]
fn a_killed_supervisor_leaves_nothing() {
    for phase in PHASES {
        let rig = Rig::new("kill-supervisor");
        let workers = children(rig.daemon.pid());
        let (job, others) = rig.job_in(phase, workers[0], workers[1]);
        rig.daemon.signal(libc::SIGKILL);
        for job in others.into_iter().chain([job]) {
            assert!(rest_of(job.stream) < 64 << 20, "{phase:?}");
        }
        let daemon = format!("{}:", rig.daemon.pid());
        wait_until("no process is left", || {
            processes_of(&rig.workspace).iter().all(|line| line.starts_with(&daemon))
        });
        rig.workspace.assert_clean();
        assert!(TcpStream::connect(("127.0.0.1", rig.daemon.port)).is_err(), "{phase:?}");
    }
}

/// The compilers go with it, and what they have started. Nobody can clean up then; the next daemon does.
#[test]
fn what_a_daemon_leaves_that_is_killed_whole_the_next_one_removes() {
    let rig = Rig::new("kill-all");
    let workers = children(rig.daemon.pid());
    let (_job, _others) = rig.job_in(Phase::Compiling, workers[0], workers[1]);
    // Stopped first, so that none sees another's end.
    let all = rig.daemon.processes();
    all.iter().for_each(|pid| signal_pid(*pid, libc::SIGSTOP));
    all.iter().for_each(|pid| signal_pid(*pid, libc::SIGKILL));
    wait_until("the workers have gone", || workers.iter().all(|pid| field(*pid, "status", "PPid:") == 0));
    assert_eq!(rig.workspace.leftovers().len(), 2);
    wait_until("the compilers have gone", || {
        !processes_of(&rig.workspace).iter().any(|line| line.contains("servers/gate"))
    });
    let next = Daemon::ours(&rig.workspace, &[]);
    rig.workspace.assert_clean();
    // Before it watches for signals, they end it as they do any program.
    wait_until("it has started", || !children(next.pid()).is_empty());
    next.stop();
}

#[test]
fn a_killed_compiler_is_an_answer() {
    let rig = Rig::new("kill-compiler");
    let workers = children(rig.daemon.pid());
    let (mut job, others) = rig.job_in(Phase::Compiling, workers[0], workers[1]);
    let compiler = children(job.worker)[0];
    signal_pid(compiler, libc::SIGKILL);
    let mut reply = Vec::new();
    job.stream.read_to_end(&mut reply).unwrap();
    assert_eq!(
        reply.escape_ascii().to_string(),
        "DONE00000001STAT00000009SERR00000000SOUT00000000DOTO00000000"
    );
    rig.finish(others);
    rig.assert_as_new();
    rig.daemon.stop();
}

#[test]
fn a_client_that_goes_takes_its_job_along_at_once() {
    let rig = Rig::new("kill-client");
    let workers = children(rig.daemon.pid());
    let mut times = Vec::new();
    for phase in PHASES.into_iter().chain([Phase::Compiling; 4]) {
        let (job, others) = rig.job_in(phase, workers[0], workers[1]);
        let compilers = children(job.worker);
        assert_eq!(compilers.len(), usize::from(phase == Phase::Compiling), "{phase:?}");
        let start = Instant::now();
        drop(job.stream);
        while compilers.iter().any(|pid| fs::exists(format!("/proc/{pid}/exe")).unwrap()) {
            assert!(start.elapsed() < Duration::from_secs(20), "the compiler runs on");
            std::thread::sleep(Duration::from_millis(1));
        }
        if phase == Phase::Compiling {
            times.push(start.elapsed());
        }
        rig.finish(others);
    }
    rig.assert_as_new();
    assert_eq!(children(rig.daemon.pid()), workers);
    // The middle one, because the machine has other work.
    times.sort();
    eprintln!("compilers ended after {times:?}");
    assert!(times[times.len() / 2] < Duration::from_millis(100), "{times:?}");
    rig.daemon.stop();
}

/// A real one, whose own files go, too.
#[test]
fn a_killed_client_process_ends_its_compiler() {
    let rig = Rig::new("kill-real-client");
    rig.workspace.write("a.c", "int x;\n");
    let gcc = rig.workspace.path("servers/gcc");
    fs::copy(rig.workspace.path("servers/gate"), gcc).unwrap();
    let mut client = rig.workspace.distcc(&rig.daemon.host());
    let mut client = client.args(["gcc", "-c", "a.c"]).spawn().unwrap();
    wait_until("the compiler runs", || rig.metric("distccd_slots_in_use") == 1);
    client.kill().unwrap();
    client.wait().unwrap();
    wait_until("the compiler has gone", || rig.compilers().is_empty());
    wait_until("the job's directory has gone", || {
        !rig.workspace.leftovers().iter().any(|path| path.to_string_lossy().contains("/distccd_"))
    });
    assert_eq!(rig.metric("distccd_slots_in_use"), 0);
    rig.daemon.stop();
}
