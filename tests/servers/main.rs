//! Tests against real MySQL servers: the test bed itself, and recovery from real groups.
//!
//! ```text
//! cargo test --test servers [FILTER]                 the tests (see `tests/support`)
//! cargo test --test servers -- --demo                the main job as a story (tests/demo)
//! cargo test --test servers -- --hold [N] [CONTENT]  a group to play with (tests/mysql/group)
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "../support/mod.rs"]
mod support;

mod bed;
mod chain;
mod channel;
mod clone;
mod connection;
mod demo;
mod donor;
mod donors;
mod failures;
mod hold;
mod keys;
mod large;
mod member;
mod plan;
mod recover;
mod speed;
mod stall;
mod verify;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("--demo") => return demo::run(),
        Some("--hold") => return hold::run(arguments.get(2), arguments.get(3)),
        _ => {}
    }
    // Those that share a group stand together.
    let scenarios = [
        // First, because they measure this process's memory, of which the others leave much in use.
        stall::SCENARIOS,
        large::SCENARIOS,
        connection::SCENARIOS,
        speed::SCENARIOS,
        failures::SCENARIOS,
        donors::SCENARIOS,
        bed::SCENARIOS,
        channel::SCENARIOS,
        chain::SCENARIOS,
        clone::SCENARIOS,
        donor::SCENARIOS,
        keys::SCENARIOS,
        member::SCENARIOS,
        plan::SCENARIOS,
        recover::SCENARIOS,
        verify::SCENARIOS,
    ]
    .concat();
    support::run(&scenarios, || {
        failures::stop_bed();
        donors::stop_bed();
        support::group::stop_shared();
    });
}
