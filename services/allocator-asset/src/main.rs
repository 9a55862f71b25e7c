//! The allocator of the policy `asset`, as a program.

allot_allocator::program!("asset", "queues share the sum of all resources fairly, by weight");
