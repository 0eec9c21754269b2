//! Network namespaces, by the system's own program.

use std::{
    ffi::OsStr,
    io,
    process::{Command, Stdio},
};

/// A network namespace with a name; it goes when this does, or with the last process in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn add(name: String) -> io::Result<Self> {
        ip(&["netns", "add", &name])?;
        Ok(Self { name })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nobody is left who could do anything about it.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Runs a program in a namespace. The process that is started becomes the program.
pub fn command_in(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Runs `ip`; what it complains of is the error.
pub(crate) fn ip(args: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("ip {}: {}", args.join(" "), why.trim())))
}
