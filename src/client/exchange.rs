//! One request and its reply, whatever the request is made of.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::config::Config;
use super::desk::Desk;
use super::remote::{Connection, Failure, HostFailure};
use super::reply::{Reply, Target};
use super::toolchain::Toolchain;
use super::words::Quoted;
use crate::backoff::Blame;
use crate::hosts::Host;
use crate::state::Phase;
use crate::wire::Version;

/// What one job sends to whatever server does it.
pub trait Request {
    /// The protocol in which it is sent and answered.
    fn version(&self) -> Version;

    /// The server's command; with the machine in the compiler's name if `cross`.
    fn command(&self, toolchain: &Toolchain, cross: bool) -> Vec<OsString>;

    /// Where the object goes as it arrives, if nobody has to see all of it before.
    fn target(&self) -> Option<Target>;

    /// Sends `argv` and what belongs to it.
    fn send(&self, connection: &mut Connection, argv: &[Vec<u8>]) -> Result<(), Failure>;
}

/// One exchange; two if the server knows the compiler by its plain name only.
pub fn exchange(
    request: &dyn Request,
    connection: Result<Connection, Failure>,
    (host, config): (&Host, &Config),
    desk: &mut Desk,
    toolchain: &mut Toolchain,
) -> Result<Reply, Failure> {
    let mut connection = connection?;
    connection.finish()?;
    toolchain.learn_names()?;
    let argv = |cross| -> Vec<Vec<u8>> {
        let command = request.command(toolchain, cross);
        command.iter().map(|word| word.as_bytes().to_vec()).collect()
    };
    let locks = desk.locks().unwrap_or_else(|_| PathBuf::new());
    let period = config.backoff_period;
    if !toolchain.has_cross_name(host, &locks, period) {
        return once(request, connection, host, desk, &argv(false));
    }
    match once(request, connection, host, desk, &argv(true)) {
        Err(Failure::Host(failure))
            if failure.blame() == Blame::Compiler || matches!(failure, HostFailure::NoAnswer) =>
        {
            log::info!("{}: {failure}; trying the compiler's plain name", host.spec);
            let mut connection = Connection::start(host, config.io_timeout)?;
            connection.finish()?;
            let reply = once(request, connection, host, desk, &argv(false))?;
            toolchain.dislike_cross_name(host, &locks, period);
            Ok(reply)
        }
        result => result,
    }
}

fn once(
    request: &dyn Request,
    mut connection: Connection,
    host: &Host,
    desk: &mut Desk,
    argv: &[Vec<u8>],
) -> Result<Reply, Failure> {
    desk.set_phase(Phase::Send);
    log::info!("exec on {}: {}", host.spec, Quoted(argv));
    let sent = request.send(&mut connection, argv);
    if let Err(Failure::Interrupted(interrupted)) = sent {
        return Err(interrupted.into());
    }
    desk.set_phase(Phase::Compile);
    let received = connection.receive(request.version(), request.target(), || desk.set_phase(Phase::Receive));
    // When the server answered before it had read everything, the answer counts; otherwise the first thing
    // that broke.
    match (sent, received) {
        (_, Ok(reply)) => reply.refusal().map_or(Ok(reply), |refusal| Err(refusal.into())),
        (Err(sending), Err(Failure::Host(_))) => Err(sending),
        (_, Err(receiving)) => Err(receiving),
    }
}
