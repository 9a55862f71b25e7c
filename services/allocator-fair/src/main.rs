//! The allocator of the policy `fair`, as a program.

allot_allocator::program!("fair", "queues share one resource fairly, by weight");
