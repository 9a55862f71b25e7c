//! One seed, with all that happens.

use std::io::{BufWriter, Write};

use allot_cluster_sim::{Options, run_told};

/// True where nothing is broken.
pub(crate) fn tell(seed: u64) -> bool {
    let options = Options::drawn(seed);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let _ = writeln!(out, "{options}");
    let outcome = run_told(options, &mut |line| {
        // Whoever reads may have had enough of it.
        let _ = writeln!(out, "{line}");
        let _ = out.flush();
    });
    let _ = writeln!(
        out,
        "{} events in {}, {} appends, {} submissions, digest {:016x}",
        outcome.steps, outcome.passed, outcome.appends, outcome.jobs, outcome.digest
    );
    if let Some(broken) = &outcome.broken {
        let _ = writeln!(out, "{broken}");
    }
    outcome.broken.is_none()
}
