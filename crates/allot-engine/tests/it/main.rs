//! The engine from outside, against worked examples, a plain reference, its laws and its protocol.
#![cfg(test)]

mod ahead;
mod conformance;
mod explain;
mod fairness;
mod goldens;
mod guarantees;
mod laws;
mod limits;
mod openb;
mod orders;
mod placing;
mod preemption;
mod protocol;
mod ranks;
mod real_logs;
mod support;
mod turns;
