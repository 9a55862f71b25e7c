//! The allocator of the policy `priority`, as a program.

allot_allocator::program!(
    "priority",
    "jobs of all queues by priority, then in the order of their submission"
);
