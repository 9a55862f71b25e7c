//! The allocator of the policy `drf`, as a program.

allot_allocator::program!("drf", "queues share dominant resources fairly, by weight");
