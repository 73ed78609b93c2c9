//! The heart: distributed recovery as a pure state machine.
//!
//! [`Machine`] takes facts and the time in ([`Input`]) and gives actions out ([`Action`]); it holds
//! no thread, socket or clock, and its only randomness is a generator seeded by its owner. The
//! [engine](crate::engine) does what it says and tells it what came of it; every decision about
//! plan, donor, attempt, sleep, failover, phase and ONLINE is taken here.
//!
//! ```text
//! ReadOwn -> (ApplyRelayLog) -> Join -> (ReadGroup) -> plan -> (Clone) -> Connect -> ... cut reached
//!   -> StopDonor -> StartCatchUp, ReadGroupExecuted -> ... queue short, all applied -> DeclareOnline
//!
//! in phase 1:  Connect <- next donor <- Failover, StopDonor <- failure, donor left
//!                 ^-- Sleep <- every donor was tried
//! ```
//!
//! The behaviour is that of MySQL 9.7's plugin (manual, "Distributed Recovery"; read in its source
//! and measured on 9.7.4). Settings can ask for something better; where the machine does differently
//! without being asked, the outcome is one that MySQL's own course could have had:
//!
//! - When nothing is missing no donor is asked; MySQL counts an attempt without connecting.
//! - When a donor fails although the end of phase 1 is already applied, recovery goes on; MySQL
//!   makes another attempt to find that out.
//! - A broken connection is tried once more at once. Applied transactions earn it another such try;
//!   for MySQL any event does, so that a donor which sends only the head of its log could hold
//!   it for ever.
//! - Behind a clone, phase 1 ends at what the group has executed by then where a view change would end
//!   it, which the clone may hold already; MySQL restarts, joins again and waits for another one.
//! - Errors of the target and of the configuration end recovery at once: no donor could help.
//! - ONLINE waits until everything is applied that the group had executed when phase 2 began. A
//!   member of the group itself has received all of that by then; from outside it must be asked.
//!   What all members have and nobody sends for a minute or two ends recovery with an error that
//!   names it; where a view change ends phase 1, MySQL would never know that a donor left it out.

mod attempt;
mod channel;
mod donor_list;
mod machine;
mod plan;
mod policy;
mod protocol;
mod reaction;
#[cfg(test)]
mod scenarios;
mod settings;
#[cfg(test)]
mod testing;

pub use attempt::{AttemptEnd, AttemptRecord};
pub use channel::ChannelSettings;
pub use donor_list::may_serve;
pub use machine::Machine;
pub use plan::{Method, Plan, can_be_cloned};
pub use policy::{DonorPolicy, Selector};
pub use protocol::{Action, End, Input, Phase};
pub use reaction::{FailureClass, Reaction, Reactions, SlowDonor};
pub use settings::{ExitStateAction, OnlineRule, Settings};
