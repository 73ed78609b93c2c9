//! The embedded store from outside: real logs, crashes, and MySQL's own reader of its binary log.

mod crash;
mod readers;
mod real_logs;

#[allow(dead_code, unreachable_pub)]
#[path = "../support/sample.rs"]
mod sample;
