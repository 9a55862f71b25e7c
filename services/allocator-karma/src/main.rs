//! The allocator of the policy `karma`, as a program.

allot_allocator::program!("karma", "who left its part to others has more when it wants it");
