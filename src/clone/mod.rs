//! The donor's side of a clone as the joiner sees it: snapshots of another server's data.
//!
//! [`mysql`] copies a MySQL server by SQL: a consistent logical snapshot of all tables of users, read
//! by several sessions. What is done with it is the target's: see [`crate::target::CloneRecipient`].

pub(crate) mod mysql;
