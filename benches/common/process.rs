//! What the system says of this process. Linux only: elsewhere there is nothing to print.

use std::fs;

/// Clock ticks a second in `/proc`: 100 on every Linux, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of all threads so far, ended ones included, user and system, in seconds. Comes
/// in steps of 10 ms.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets and may hold blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    // Fields 14 and 15 (proc_pid_stat(5)); the first one here is the third.
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

/// Resident memory in KiB.
pub(crate) fn resident_kib() -> Option<f64> {
    number("/proc/self/status", "VmRSS:")
}

/// How many descriptors this process and its children may have open.
pub(crate) fn descriptor_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = after(&limits, "Max open files")?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// A processor that this process may run on.
pub(crate) fn allowed_cpu() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = after(&status, "Cpus_allowed_list:")?;
    list.split([',', '-']).next()?.parse().ok()
}

fn number(file: &str, key: &str) -> Option<f64> {
    after(&fs::read_to_string(file).ok()?, key)?.parse().ok()
}

/// The word behind `key`.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()
}
