//! Runs tasks as processes on one machine.
