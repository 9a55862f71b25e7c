//! The allocator of the policy `fifo`, as a program.

allot_allocator::program!("fifo", "jobs of all queues in the order of their submission");
