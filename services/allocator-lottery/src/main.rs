//! The allocator of the policy `lottery`, as a program.

allot_allocator::program!("lottery", "queues are drawn by lot, by weight");
