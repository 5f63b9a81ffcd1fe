//! How much memory there is.

/// What is given without a look at what there is: smaller requests are frequent, and do no harm.
const LITTLE: u64 = 1 << 30;

/// Whether the machine has so many bytes to give. A system that promises more than it has would end some program once they
/// are written to. Where it does not tell (Linux does), the answer is yes.
pub fn may_have(bytes: u64) -> bool {
    bytes <= LITTLE || available().is_none_or(|available| bytes <= available)
}

/// Bytes that can be given without taking any from other programs: of the machine's memory and swap, and of what a
/// container may have.
fn available() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = |what: &str| -> Option<u64> {
        let line = told.lines().find_map(|line| line.strip_prefix(what))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let machine = (kibibytes("MemAvailable:")? + kibibytes("SwapFree:").unwrap_or(0)) << 10;
    let of_group = |file: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?;
        text.trim().parse().ok()
    };
    let container = of_group("memory.max")
        .map(|most| most.saturating_sub(of_group("memory.current").unwrap_or(0)));
    Some(container.map_or(machine, |container| machine.min(container)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_machine_has_an_exbibyte() {
        assert!(may_have(LITTLE));
        if let Some(there) = available() {
            assert!(there > 0 && !may_have(1 << 60));
        }
    }
}
