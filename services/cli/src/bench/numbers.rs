//! Numbers as people read them.

/// Three figures and a unit: `0µs`, `87µs`, `1.25ms`, `320ms`, `12.5s`.
#[allow(clippy::cast_precision_loss, reason = "three figures are printed")]
pub(super) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}ms", three_figures(micros as f64 / 1e3)),
        _ => format!("{}s", three_figures(micros as f64 / 1e6)),
    }
}

/// Three figures and a unit: `512B`, `1.25KiB`, `34.1MiB`.
#[allow(clippy::cast_precision_loss, reason = "three figures are printed")]
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..0x400 => format!("{bytes}B"),
        0x400..0x10_0000 => format!("{}KiB", three_figures(bytes as f64 / 1_024.0)),
        0x10_0000..0x4000_0000 => format!("{}MiB", three_figures(bytes as f64 / 1_048_576.0)),
        _ => format!("{}GiB", three_figures(bytes as f64 / 1_073_741_824.0)),
    }
}

/// Three figures, all of those before the point: `0.04`, `1.25`, `34.1`, `98039`.
pub(super) fn three_figures(number: f64) -> String {
    let decimals = match number.abs() {
        x if x >= 99.95 => 0,
        x if x >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.decimals$}")
}

/// One number divided by another, 0 where that cannot be done.
#[allow(clippy::cast_precision_loss, reason = "a ratio for people to read")]
pub(super) fn per(number: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { number as f64 / of as f64 }
}

/// `1 job`, `2 jobs`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures_and_a_unit() {
        let times: Vec<String> = [0, 999, 1_000, 1_254, 99_960, 12_500_000].map(micros).into();
        assert_eq!(times, ["0µs", "999µs", "1.00ms", "1.25ms", "100ms", "12.5s"]);
        let sizes: Vec<String> = [0, 1_023, 1_280, 35_757_867, 3 << 30].map(bytes).into();
        assert_eq!(sizes, ["0B", "1023B", "1.25KiB", "34.1MiB", "3.00GiB"]);
        assert_eq!(three_figures(98_039.2), "98039");
        assert_eq!([counted(1, "job"), counted(2, "job")], ["1 job", "2 jobs"]);
        assert_eq!((per(1, 4), per(1, 0)), (0.25, 0.0));
    }
}
