//! The command line tool: arguments in, the library's work, text or JSON out.
//!
//! stdout is data, stderr is messages. Exit codes: 0 done, 2 usage, 3 configuration or login, 4 no
//! donor left, 5 target or applier, 6 clone needed or errant transactions, 130 interrupted, 1
//! anything else.

mod arguments;
mod attempts;
mod demo;
mod donate;
mod dump;
mod exit;
mod group;
mod inspect;
mod json;
mod plan;
mod process;
mod progress;
mod recover;
mod settings;
mod status;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// Runs the tool with the arguments of this process.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors and go to stdout; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    let result = match arguments.command {
        Command::Recover(options) => recover::run(&options),
        Command::Plan(options) => plan::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Dump(options) => dump::run(&options),
        Command::Status(options) => status::run(&options),
        Command::Donate(options) => donate::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Demo(options) => demo::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut stderr = std::io::stderr().lock();
            // With nowhere to write to, the exit code has to say it.
            let _ = writeln!(stderr, "error: {error}");
            if let Some(remedy) = error.remedy_text() {
                let _ = writeln!(stderr, "remedy: {remedy}");
            }
            ExitCode::from(exit::code(&error))
        }
    }
}
