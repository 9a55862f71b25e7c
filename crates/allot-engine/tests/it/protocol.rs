//! The protocol around the decisions.
