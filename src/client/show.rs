//! `distcc`'s own options: what it says about itself and its hosts.

use std::ffi::OsString;
use std::fmt;

use super::command::CompileCommand;
use super::explain::explain;
use crate::console;
use crate::exitcode::ExitCode;
use crate::hostlist;
use crate::hosts::Host;
use crate::program::{self, Ending};
use crate::topdir::TopDir;

const HELP: &str = "\
Usage:
  distcc COMPILER [COMPILER OPTIONS] -o OBJECT -c SOURCE
  distcc [COMPILER OPTIONS] -o OBJECT -c SOURCE        (runs cc)
  gcc [COMPILER OPTIONS] ...                           (gcc being a link to distcc, early in PATH)

Compiles on other machines when that gives the same result, locally otherwise.

Options:
  --help          this text
  --version       version, protocols, default port
  --show-hosts    the hosts in use, one per line
  --doctor [HOST...]
                  test these hosts, or those in use, and say what to do
  --scan-includes COMPILER [COMPILER OPTIONS] ...
                  the files, links and directories that the compile reads, one per line
  -j              how many jobs they take together
  --explain COMPILER ARGS...
                  where that would be compiled, why, and what a server would get

Environment:
  DISTCC_HOSTS       the hosts; else $DISTCC_DIR/hosts, ~/.distcc/hosts, /etc/distcc/hosts
  DISTCC_FALLBACK    0: fail instead of compiling locally
  DISTCC_VERBOSE     1: say everything
  DISTCC_LOG         a file for the messages
  DISTCC_DIR         directory of locks and job states
  DISTCC_INCLUDE_SERVER  0: start no include server for hosts with cpp

Hosts:
  localhost[/LIMIT]               this machine, without a server
  HOST[:PORT][/LIMIT][,lzo]       a server; [IPV6] in brackets; lzo compresses
  HOST...,cpp,lzo                 it preprocesses, too (pump mode)
  [USER]@HOST[/LIMIT][:DISTCCD]   a server started through ssh (DISTCC_SSH)
  +zeroconf[/LIMIT][,lzo]         every server of the network that announces itself
  --randomize, --localslots=N, --localslots_cpp=N
";

/// Carries out an option of our own, which only the first word can be; `None` if it is a compile.
pub fn own_option(args: &[OsString]) -> Option<Ending> {
    let Some(first) = args.first() else {
        console::err(format_args!("distcc: missing option/operand\nTry 'distcc --help'.\n"));
        return Some(ExitCode::BadArguments.into());
    };
    match first.to_str()? {
        "--help" => {
            Some(program::answer("distcc", format_args!("{}{HELP}", program::version_text("distcc"))))
        }
        "--version" => Some(program::answer("distcc", format_args!("{}", program::version_text("distcc")))),
        "--explain" if args.len() > 1 => {
            let text = explain(&CompileCommand::explicit(&args[1..]));
            Some(program::answer("distcc", format_args!("{text}")))
        }
        "--explain" => {
            console::err(format_args!("distcc: --explain: missing compiler\nTry 'distcc --help'.\n"));
            Some(ExitCode::BadArguments.into())
        }
        "--doctor" => Some(super::doctor::run(&args[1..])),
        "--show-hosts" => {
            Some(show_hosts(|list| list.iter().map(|host| format!("{}\n", Shown(host))).collect()))
        }
        "-j" => Some(show_hosts(|list| format!("{}\n", list.iter().map(|host| host.slots).sum::<u32>()))),
        "--scan-includes" => Some(super::includes::scan(&args[1..])),
        "--show-principal" => {
            console::err(format_args!(
                "distcc: --show-principal: there is no authentication with GSSAPI here\n"
            ));
            Some(ExitCode::BadArguments.into())
        }
        _ => None,
    }
}

/// An entry of a host list; behind a found one what it offers, as a comment.
struct Shown<'a>(&'a Host);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.spec)?;
        self.0.offer.as_ref().map_or(Ok(()), |offer| write!(f, "  # {}", offer.summary()))
    }
}

/// Stock exits with 0 and prints nothing when there is no list; scripts read the output, so that stays.
fn show_hosts(format: impl FnOnce(&[Host]) -> String) -> Ending {
    super::config::start_logging();
    let top = TopDir::find().ok();
    match hostlist::find(top.as_ref()) {
        Ok(mut found) => {
            found.add_announced(top.as_ref());
            if let Some(lack) = &found.lack {
                log::warn!("{lack}");
            }
            for problem in &found.list.problems {
                log::warn!("host list {}, {problem}; entry left out", found.source);
            }
            if found.list.randomize {
                hostlist::shuffle(&mut found.list.hosts);
            }
            if found.list.hosts.is_empty() {
                log::warn!("the host list {} contains no hosts", found.source);
                return Ending::Code(0);
            }
            program::answer("distcc", format_args!("{}", format(&found.list.hosts)))
        }
        Err(reason) => {
            log::error!("{reason}");
            Ending::Code(0)
        }
    }
}
