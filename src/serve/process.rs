//! What this process takes of the machine, from `/proc`; the names are those of every Prometheus client.

use std::fs;
use std::time::Duration;

/// What the process takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Bytes of memory that are resident.
    pub resident: u64,
    /// Open files.
    pub open_files: u64,
}

impl Usage {
    /// As it is now; nothing where the system does not say.
    pub fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in brackets may hold anything; what follows the last one is numbers.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let pages: u64 = fields.get(21)?.parse().ok()?;
        Some(Self {
            cpu: Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1)),
            resident: pages.saturating_mul(u64::try_from(rustix::param::page_size()).ok()?),
            open_files: u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_files() {
        let usage = Usage::now().unwrap();
        assert!(usage.resident > 1024 * 1024 && usage.open_files > 2, "{usage:?}");
    }
}
