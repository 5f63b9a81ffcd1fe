//! Figures as a person reads them.

/// A size: `640 B`, `20.4 kB`, `1.07 MB`.
pub fn bytes(n: u64) -> String {
    match n {
        0..=9_999 => format!("{n} B"),
        10_000..=999_999 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.2} MB", n as f64 / 1e6),
    }
}

/// A whole number in groups of three: `266,610`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A large number, rounded: `19.2 k`, `4.10 M`.
pub fn rounded(n: u64) -> String {
    match n {
        0..=9_999 => n.to_string(),
        10_000..=999_999 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..=999_999_999 => format!("{:.2} M", n as f64 / 1e6),
        _ => format!("{:.2} G", n as f64 / 1e9),
    }
}

/// A short time: `0.62 µs`, `31.4 ms`.
pub fn short(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 1.0 => format!("{} µs", three_digits(ms * 1e3)),
        ms if ms < 1e3 => format!("{} ms", three_digits(ms)),
        ms => format!("{} s", three_digits(ms / 1e3)),
    }
}

/// A long time: `4.2 s`, `48 s`, `3 min 20 s`.
pub fn long(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 119.5 => format!("{s:.0} s"),
        s => format!("{} min {} s", s.round() as u64 / 60, s.round() as u64 % 60),
    }
}

/// An energy: `0.042 µJ`, `31.4 µJ`.
pub fn energy(picojoules: f64) -> String {
    match picojoules / 1e6 {
        uj if uj < 0.0995 => format!("{uj:.3} µJ"),
        uj if uj < 9.95 => format!("{uj:.2} µJ"),
        uj => format!("{uj:.1} µJ"),
    }
}

/// A share of 100: `1.62 %`.
pub fn percent(value: f64) -> String {
    format!("{value:.2} %")
}

fn three_digits(x: f64) -> String {
    match x {
        x if x < 9.995 => format!("{x:.2}"),
        x if x < 99.95 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_and_three_digits() {
        assert_eq!(bytes(8602), "8602 B");
        assert_eq!(bytes(1_066_440), "1.07 MB");
        assert_eq!(count(266_610), "266,610");
        assert_eq!([count(0), count(999), count(1000)], ["0", "999", "1,000"]);
        assert_eq!(rounded(19_200), "19.2 k");
        assert_eq!([short(0.0006), short(0.01234)], ["0.60 µs", "12.3 µs"]);
        assert_eq!([short(31.4159), short(2500.0)], ["31.4 ms", "2.50 s"]);
        assert_eq!([energy(41_900.0), energy(31.4e6)], ["0.042 µJ", "31.4 µJ"]);
        assert_eq!([long(4.21), long(200.0)], ["4.2 s", "3 min 20 s"]);
    }
}
