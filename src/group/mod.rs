//! What a group is to us: members, views, and the feed of its transactions.

mod feed;
pub mod local;
pub mod mysql;
mod view;

pub(crate) use feed::News;
pub use feed::{Feed, Group, Joined, NotDelivered};
pub use local::LocalGroup;
pub use mysql::{GroupKeys, MySqlGroup};
pub use view::{Cut, GroupMember, MemberState, View};
