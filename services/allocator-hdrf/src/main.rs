//! The allocator of the policy `hdrf`, as a program.

allot_allocator::program!("hdrf", "queues share dominant resources fairly, level by level of their tree");
