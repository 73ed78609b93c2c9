//! A group to play with by hand, for as long as the standard input lasts.

use std::io::Read;

use crate::support::group::{self, GROUP_NAME, Group};
use crate::support::{prefix, server, workload};

/// `count` members with `content`: `empty`, `mixed` or `small`.
pub fn run(count: Option<&String>, content: Option<&String>) {
    if let Err(reason) = prefix::mysql() {
        eprintln!("error: {reason}");
        std::process::exit(1);
    }
    let count = count.and_then(|count| count.parse().ok()).unwrap_or(3);
    let template = match content.map(String::as_str) {
        Some("empty") => server::initialised(),
        Some("small") => workload::SMALL.template(),
        _ => workload::MIXED.template(),
    };
    let group = Group::from_template(count, &template, GROUP_NAME);
    for member in group.members() {
        let client = member.client(&[]);
        let arguments: Vec<_> = client
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect();
        println!("member {} in {}", member.port, member.data().display());
        println!(
            "  {} {}",
            client.get_program().to_string_lossy(),
            arguments.join(" ")
        );
    }
    println!("rejoin recover --group '{}' --store DIR", group.url());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop(group);
    group::stop_shared();
}
