//! Whole clusters, each service a process of its own over a real nats-server, seen from outside only.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

mod allocator_python;
mod allocators;
mod cluster;
mod faults;
mod jobs;
mod messages;
mod offers;
mod operators;
mod plans;
mod preemption;
mod processes;
mod rejections;
mod scenarios;
mod shadows;
mod submissions;
mod versions;
