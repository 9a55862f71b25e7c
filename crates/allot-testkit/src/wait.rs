//! Waiting for something to become so, with a deadline.

use std::future::Future;
use std::time::Duration;

use allot_model::Span;
use allot_shell::clock;

/// How long tests wait for what should happen soon.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until `probe` gives something, and returns that.
///
/// # Panics
/// Where it has not after `patience`, naming what was waited for.
#[allow(clippy::panic, reason = "this is how a test fails")]
pub async fn eventually<T, F, Fut>(what: &str, patience: Duration, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let started = clock::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        let waited = clock::now().since(started);
        assert!(waited.to_std() < patience, "after {waited} still not so: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for `future`.
///
/// # Panics
/// Where it is not ready after [`PATIENCE`], naming what was waited for.
#[allow(clippy::panic, reason = "this is how a test fails")]
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("after {} still not so: {what}", Span::from_secs(PATIENCE.as_secs())),
    }
}
