//! The heart: distributed recovery as a pure state machine.
//!
//! [`Machine`] takes facts and the time in ([`Input`]) and gives actions out ([`Action`]); it holds
//! no thread, socket or clock, and its only randomness is a generator seeded by its owner. The
//! [engine](crate::engine) does what it says and tells it what came of it; every decision about
//! plan, donor, attempt, sleep, failover, phase and ONLINE is taken here.
//!
//! ```text
//! ReadOwn -> Join -> (ReadGroup) -> plan -> Connect -> ... cut reached -> StartCatchUp -> DeclareOnline
//!                                            ^    |
//!                                            |    v failure: StopDonor, Failover
//!                                          Sleep (only when every donor was tried)
//! ```
//!
//! The behaviour is that of MySQL 9.7's plugin (manual, "Distributed Recovery"; read in its source
//! and measured on 9.7.4) unless a setting asks for something better.

mod attempt;
mod donor_list;
mod machine;
mod plan;
mod settings;
#[cfg(test)]
mod testing;

pub use attempt::{AttemptEnd, AttemptRecord};
pub use machine::{Action, Input, Machine, Phase};
pub use plan::{Method, Plan};
pub use settings::{OnlineRule, Settings};
