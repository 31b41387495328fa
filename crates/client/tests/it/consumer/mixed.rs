//! Java's consumer and ours in one group.
