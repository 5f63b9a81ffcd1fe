//! How much memory there is.

/// What is given without a look at what there is: smaller requests are frequent, and do no harm.
const LITTLE: u64 = 1 << 30;

/// Whether the machine has so many bytes to give. A system that promises more than it has would end some program once they
/// are written to. Where it does not tell (Linux does), the answer is yes.
pub fn may_have(bytes: u64) -> bool {
    bytes <= LITTLE || available().is_none_or(|available| bytes <= available)
}

/// Bytes that can be given without taking any from other programs.
fn available() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
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
