//! The allocator of the policy `usage`, as a program.

allot_allocator::program!("usage", "who has used less so far goes first");
