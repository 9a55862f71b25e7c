//! The simulator as its users see it: scenarios and logs in, grants and measures out.
#![cfg(test)]

mod ends;
mod errors;
mod goldens;
mod happenings;
mod laws;
mod logs;
mod plans;
mod preemption;
mod shadows;
mod support;
mod times;
