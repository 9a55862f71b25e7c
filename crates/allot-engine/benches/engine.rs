//! How fast the engine fills a cluster, and how soon a freed task is granted again.

fn main() {}
