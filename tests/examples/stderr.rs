//! What a program says on standard error, and how it is started for that.

use std::{
    io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tmp2p::crossbeam_channel::{Receiver, unbounded};

use crate::program::DEADLINE;

/// The lines of a program's log, as they come.
pub(crate) struct Log {
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Log {
    /// What this says.
    pub(crate) fn of(source: impl Read + Send + 'static) -> Self {
        let (sender, lines) = unbounded();
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines() {
                let Ok(()) = sender.send(line.unwrap()) else { return };
            }
        });
        Self { lines, seen: Vec::new() }
    }

    /// What this command will say.
    pub(crate) fn of_command(command: &mut Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        command.stderr(writer);
        Self::of(reader)
    }

    /// The first line with this in it, from the beginning.
    #[track_caller]
    pub(crate) fn line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            match self.lines.recv_deadline(deadline) {
                Ok(line) => self.seen.push(line),
                Err(why) => panic!("no line with {part:?}: {why}; there were {:#?}", self.seen),
            }
        }
    }

    /// All lines of a program that has ended.
    pub(crate) fn all(mut self) -> Vec<String> {
        self.seen.extend(self.lines.iter());
        self.seen
    }
}

/// A pipe that is full, and stays so as long as its reader, who does not read, is there.
pub(crate) fn nobody_reads() -> (PipeReader, Stdio) {
    let (reader, writer) = std::io::pipe().unwrap();
    let (filling, mut filler): (_, PipeWriter) = (unbounded(), writer.try_clone().unwrap());
    let (sender, receiver) = filling;
    std::thread::spawn(move || {
        // Ends with the reader.
        while filler.write_all(&[b'.'; 4096]).is_ok() {
            let _ = sender.send(());
        }
    });
    // Nothing more is taken: it is full. If this machine is so slow that it is not, it soon is.
    while receiver.recv_timeout(Duration::from_millis(500)).is_ok() {}
    (reader, writer.into())
}

/// The same command, run by a shell that first does something else.
pub(crate) fn in_shell(before: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(Stdio::null());
    shell
}
