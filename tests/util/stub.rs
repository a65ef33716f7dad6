//! Stub compilers: static programs that take no time, from `stub.c`.

use std::path::Path;

use super::{Workspace, explain};

/// Builds the stub as `path`. It makes a copy of `object`; without one, a copy of its source.
pub fn build(workspace: &Workspace, path: &Path, object: Option<&Path>) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/util/stub.c");
    let mut compile = workspace.command("gcc");
    compile.args(["-O2", "-static", "-nostdlib", "-fno-stack-protector", "-fno-pic", "-no-pie"]);
    compile.args(object.map(|object| format!("-DOBJECT=\"{}\"", object.display())));
    let output = compile.arg(source).arg("-o").arg(path).output().unwrap();
    assert!(output.status.success(), "{compile:?}: {}", explain(&output));
}
