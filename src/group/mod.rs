//! What a group is to us: members, views, and the feed of its transactions.

mod view;

pub use view::{Address, Cut, GroupMember, MemberState, ServerVersion, View};
