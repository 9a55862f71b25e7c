//! What must hold for everything that comes from outside, one function a fuzz target: it is read or refused, never more,
//! and what was read is written so that it is read as the same.

mod text;
mod wire;

pub use text::{
    constraint, ids, job_file, journal, openb, resources, scenario, span, subject, submission, swf, task_set,
};
pub use wire::wire;

/// Settings from a file's worth of assignments, one a line.
#[cfg(feature = "shell")]
pub fn config(data: &[u8]) {
    use allot_shell::NatsConfig;
    use allot_shell::config::{Layers, load};
    let Ok(text) = std::str::from_utf8(data) else { return };
    let set = text.lines().map(str::to_owned).collect();
    let layers = Layers { file: None, environment: Vec::new(), set };
    if let Ok(loaded) = load::<NatsConfig>("fuzz", &layers) {
        let _ = allot_shell::config::describe(&loaded);
    }
}
