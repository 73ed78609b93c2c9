//! Whole transactions, and how events become them.

/// Whole transactions on their way from a receiver to a target.
#[derive(Debug, Default)]
pub struct Batch {}
