//! One of our nodes as the test sees it: a process in a namespace that can be killed, frozen and started
//! again.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Child, ChildStdin, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Instant,
};

use crossbeam_channel::Receiver;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tmp2p_line::command_in;

use crate::{DEADLINE, child, clock::Clock, go};

/// A node of ours, running or not.
pub(crate) struct Ours {
    namespace: String,
    pub(crate) settings: child::Settings,
    running: Option<Running>,
    /// If it can be set.
    pub(crate) clock: Option<Clock>,
    /// A process of this node has panicked.
    panicked: Arc<AtomicBool>,
}

struct Running {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Value>,
    /// What it had when it had no peers.
    before: Value,
    is_frozen: bool,
}

impl Ours {
    pub(crate) fn new(namespace: &str, settings: child::Settings) -> Self {
        let panicked = Arc::default();
        Self { namespace: namespace.to_owned(), settings, running: None, clock: None, panicked }
    }

    pub(crate) fn id(&self) -> String {
        self.settings.key().id().to_string()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_frozen)
    }

    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.load(SeqCst)
    }

    pub(crate) fn start(&mut self) {
        assert!(self.running.is_none());
        // Another session is another number.
        self.settings.dice = self.settings.dice.wrapping_add(1000);
        let (name, value) = self.settings.environment();
        let program = std::env::current_exe().unwrap();
        let mut command = command_in(&self.namespace, program);
        command
            .args([child::NAME, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(name, value);
        if let Some(clock) = &self.clock {
            clock.prepare(&mut command);
        }
        let (name, panicked) = (self.settings.laddr, Arc::clone(&self.panicked));
        // The test harness says something, too.
        let is_answer = |line: &str| line.starts_with('{');
        let (child, input, lines) = go::talk(&mut command, is_answer, move |line| {
            if line.contains("panicked at") {
                panicked.store(true, SeqCst);
            }
            eprintln!("{name}: {line}");
        });
        let running = Running { child, input, lines, before: Value::Null, is_frozen: false };
        self.running = Some(running);
        let started = self.line("started");
        self.running.as_mut().unwrap().before = started["resources"].clone();
    }

    /// What it had open and running before it had a peer.
    pub(crate) fn before(&self) -> &Value {
        &self.running.as_ref().unwrap().before
    }

    pub(crate) fn tell(&mut self, command: &str) {
        let running = self.running.as_mut().unwrap();
        writeln!(running.input, "{command}").unwrap();
    }

    #[track_caller]
    pub(crate) fn report(&mut self) -> Value {
        self.tell("report");
        self.line("report")
    }

    /// The process is gone in an instant.
    pub(crate) fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// It stops in order, and has found no fault.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.tell("stop");
        let stopped = self.line("stopped");
        assert_eq!(stopped["faults"], serde_json::json!([]), "{}", self.settings.laddr);
        let mut running = self.running.take().unwrap();
        assert!(running.child.wait().unwrap().success(), "{}", self.settings.laddr);
    }

    /// It stands still, and goes on.
    pub(crate) fn freeze(&mut self, is_frozen: bool) {
        let running = self.running.as_mut().unwrap();
        let pid = Pid::from_child(&running.child);
        kill_process(pid, if is_frozen { Signal::STOP } else { Signal::CONT }).unwrap();
        running.is_frozen = is_frozen;
    }

    #[track_caller]
    fn line(&mut self, event: &str) -> Value {
        let deadline = Instant::now() + DEADLINE;
        let running = self.running.as_mut().unwrap();
        loop {
            match running.lines.recv_deadline(deadline) {
                Ok(line) if line["event"] == event => return line,
                Ok(_) => {}
                Err(error) => panic!("{}: no {event}: {error}", self.settings.laddr),
            }
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// A folder that is a disk of its own, which can be full.
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Of so many bytes.
    pub(crate) fn mount(folder: PathBuf, bytes: u64) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let size = format!("size={bytes}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(&folder).output();
        let mount = mount.unwrap();
        assert!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
        Self { folder }
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.folder.join("ballast")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    }

    /// Frees it.
    pub(crate) fn free(&self) {
        match fs::remove_file(self.folder.join("ballast")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).output();
    }
}
