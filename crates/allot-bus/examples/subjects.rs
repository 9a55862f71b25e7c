//! Prints `docs/subjects.md`; `cargo xtask docs` writes it to its place.

fn main() {
    print!("{}", allot_bus::page::subjects());
}
