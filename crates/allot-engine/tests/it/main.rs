//! The engine from outside, against worked examples, a plain reference, its laws and its protocol.
#![cfg(test)]

mod explain;
mod goldens;
mod laws;
mod limits;
mod protocol;
mod support;
mod turns;
