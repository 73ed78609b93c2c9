//! The server's side of the protocol: what a donor reads from its clients and answers.
//!
//! ```text
//! login::Login             greeting out, answers in, verdict
//! command::Command::parse  one command of a client
//! statement::parse         the few statements of replicas and their tools
//! answer                   OK, ERR, EOF and rows, as payloads
//! ```

pub mod answer;
pub mod command;
pub mod login;
pub mod statement;
