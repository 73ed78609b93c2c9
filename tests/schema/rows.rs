use crate::support::Scenario;
pub const SCENARIOS: &[Scenario] = &[];
