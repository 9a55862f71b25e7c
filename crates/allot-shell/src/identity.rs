//! Who this process is.

use std::hash::{BuildHasher, Hasher, RandomState};

use allot_model::InstanceId;

/// The longest part of a host's name that goes into an instance id, so that the whole stays a valid one.
const HOST_CHARS: usize = 40;

/// The name of this machine or container.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// A new id for one running service: host, process, and something random, so that no two are ever the same.
#[must_use]
pub fn instance_id() -> InstanceId {
    let random = RandomState::new().build_hasher().finish() & 0xffff_ffff;
    let text = format!("{}-{}-{random:08x}", token(&host_name()), std::process::id());
    InstanceId::new(&text).expect("at most 60 characters, each of them allowed in an id")
}

/// The text with every character that cannot stand in an id replaced by `-`.
fn token(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    text.chars().take(HOST_CHARS).map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_has_an_id_of_its_own() {
        assert_ne!(instance_id(), instance_id());
    }

    #[test]
    fn any_host_name_can_stand_in_an_id() {
        let name = token("node-1.example.org/ä ".repeat(9).as_str());
        assert!(InstanceId::new(&format!("{name}-4294967295-ffffffff")).is_ok(), "{name}");
    }
}
