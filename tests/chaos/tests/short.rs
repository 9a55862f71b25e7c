//! Half a minute of it, with a seed that is always the same and one that is new each time.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use allot_chaos::{Options, run};
use allot_model::Span;

async fn keeps_every_promise(seed: u64) {
    let found = run(Options { seed, span: Span::from_secs(15), agents: 3, instances: 2 }).await.unwrap();
    println!("{found}");
    let again = format!("cargo xtask chaos --seconds 15 --seed {seed} --agents 3");
    assert!(found.broken.is_empty(), "seed {seed}: {found}again: {again}");
    assert!(found.jobs > 10 && found.attempts > 10, "seed {seed}: hardly anything ran: {found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_is_kept_while_everything_breaks() {
    keeps_every_promise(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_is_kept_while_everything_breaks_as_never_before() {
    keeps_every_promise(allot_shell::clock::now().as_micros() % 1_000_000).await;
}
