//! The allocator of the policy `shortest`, as a program.

allot_allocator::program!("shortest", "jobs that are expected to run for the shortest time go first");
