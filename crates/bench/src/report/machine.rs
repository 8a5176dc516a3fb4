//! Where a run ran.

use serde::Serialize;
use std::fmt;

/// The machine and its kernel.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The architecture.
    pub architecture: String,
    /// What the kernel calls the processors, if it tells.
    pub cpu: Option<String>,
    /// CPUs this process may use.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
}

impl Machine {
    pub(super) fn this() -> Machine {
        let system = rustix::system::uname();
        let memory = rustix::system::sysinfo();
        let text = |field: &std::ffi::CStr| field.to_string_lossy().into_owned();
        Machine {
            kernel: text(system.release()),
            architecture: text(system.machine()),
            cpu: model(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory.totalram.saturating_mul(memory.mem_unit.into()),
        }
    }
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    let (_, name) = line.split_once(':')?;
    Some(name.trim().to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu = self.cpu.as_deref().unwrap_or(&self.architecture);
        let gigabytes = self.memory as f64 / f64::from(1 << 30);
        let Machine { kernel, cpus, .. } = self;
        write!(
            out,
            "Linux {kernel}, {cpus} CPUs ({cpu}), {gigabytes:.0} GiB"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_what_the_kernel_calls_it() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t: a\n";
        assert_eq!(model(text).as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!(model("Features : fp\n"), None);
    }
}
