//! distcc in Rust: one package, one binary, many names.
//!
//! A job is a value that flows one way. The modules, from the top down; each may use only what stands below
//! it:
//!
//! ```text
//! multicall                                              name of the program → personality
//! client  daemon  include_server  pump  monitor  lsdistcc  symlinks
//!                                                        the roles; no role knows another
//! hostlist  zeroconf                                     servers: named, or found
//! compiler  slots  backoff  state  scratch  output       tools that touch the world
//! include                                                the files that a compile reads
//! topdir  logging  console  waiting  background  program  environment  closure
//! wire  args  hosts  exitcode  dns  sorted_map  decimal          knowledge: values in, values out
//! sys                                                    the kernel; all `unsafe` is here
//! ```

pub mod args;
pub mod background;
pub mod backoff;
pub mod client;
pub mod closure;
pub mod compiler;
pub mod console;
pub mod daemon;
pub mod decimal;
#[cfg(feature = "zeroconf")]
pub mod dns;
pub mod environment;
pub mod exitcode;
pub mod facts;
pub mod hostlist;
pub mod hosts;
pub mod include;
pub mod include_server;
pub mod logging;
pub mod lsdistcc;
pub mod monitor;
pub mod multicall;
pub mod object;
pub mod output;
pub mod program;
pub mod pump;
pub mod scratch;
pub mod slots;
pub mod sorted_map;
pub mod state;
pub mod symlinks;
#[allow(unsafe_code)]
pub mod sys;
pub mod topdir;
pub mod waiting;
pub mod wire;
#[cfg(feature = "zeroconf")]
pub mod zeroconf;
