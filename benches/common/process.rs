//! What the system says of this process. Most of it Linux only: elsewhere there is nothing to print.

use std::fs;

/// Processor time of all threads so far, ended ones included, user and system, in seconds.
#[cfg(unix)]
pub(crate) fn cpu_seconds() -> Option<f64> {
    use rustix::time::{ClockId, clock_gettime};

    let used = clock_gettime(ClockId::ProcessCPUTime);
    Some(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9)
}

#[cfg(not(unix))]
pub(crate) fn cpu_seconds() -> Option<f64> {
    None
}

/// Resident memory in KiB.
pub(crate) fn resident_kib() -> Option<f64> {
    number("/proc/self/status", "VmRSS:")
}

/// The most that was ever resident, or since [`forget_peak`], in KiB.
pub(crate) fn peak_kib() -> Option<f64> {
    number("/proc/self/status", "VmHWM:")
}

/// From now on the peak is what is resident now. Where the system refuses, it stays what it was.
pub(crate) fn forget_peak() {
    // "5" resets it (proc_pid_clear_refs(5)).
    let _ = fs::write("/proc/self/clear_refs", "5");
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
