//! Tests against real MySQL servers: the test bed itself, and recovery from real groups.
//!
//! ```text
//! cargo test --test servers [FILTER]                 the tests (see `tests/support`)
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
mod hold;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments
        .get(1)
        .is_some_and(|argument| argument == "--hold")
    {
        return hold::run(arguments.get(2), arguments.get(3));
    }
    support::run(&[bed::SCENARIOS].concat());
}
