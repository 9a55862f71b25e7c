//! The allocator of the policy `deadline`, as a program.

allot_allocator::program!("deadline", "jobs that have to be done first go first");
