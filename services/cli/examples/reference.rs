//! Prints `docs/cli.md`; `cargo xtask docs` writes it to its place.

fn main() {
    print!("{}", allot::reference::page());
}
