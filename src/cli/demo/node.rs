//! A member of the demo's group: a store, its donor on loopback, and the engine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::donor::{Account, Donor, DonorOptions, MemberLog, SourceIdentity};
use crate::engine::{Events, Member};
use crate::group::local::{LocalGroup, LocalMemberOptions, MemberSets};
use crate::gtid::Uuid;
use crate::net::{ConnectOptions, Endpoint};
use crate::recovery::Settings;
use crate::target::store::{Reader, Store, StoreOptions};

/// How long a group goes on with a member that is gone.
const UNNOTICED: Duration = Duration::from_millis(300);
/// Binary logs are kept short, so that they can be purged while somebody watches.
const SEGMENT_BYTES: u64 = 1 << 20;
const KEEP_BYTES: u64 = 16 << 20;
/// Of the group's transactions, a member that recovers holds no more in memory: the rest overflows to
/// its relay log.
const CACHE_BYTES: usize = 64 << 10;
const USER: &str = "recovery";
const PASSWORD: &str = "demo";

/// How joiners log in at each member: with TLS, as everywhere.
pub(super) fn login() -> ConnectOptions {
    ConnectOptions::new(USER, PASSWORD)
}

pub(super) struct Node {
    pub(super) name: String,
    pub(super) uuid: Uuid,
    pub(super) port: u16,
    pub(super) reader: Reader,
    pub(super) member: Member,
    pub(super) events: Events,
    donor: Arc<Donor>,
}

impl Node {
    /// Starts member number `number`, which has its store under `directory` and serves joiners with
    /// so many bytes a second; it begins to join at once.
    pub(super) fn start(
        group: &LocalGroup,
        number: u8,
        directory: &Path,
        max_rate: u64,
    ) -> Result<Self> {
        let name = format!("db{number}");
        let mut options = StoreOptions::default();
        options.journal.segment_bytes = SEGMENT_BYTES;
        options.journal.keep_bytes = Some(KEEP_BYTES);
        // As soon as the log has grown by what the tables hold.
        options.checkpoint_log_bytes = 1;
        let store = Store::open_with(directory.join(&name), options)?;
        let uuid = Uuid([number; 16]);
        let identity = SourceIdentity {
            server_id: number.into(),
            server_uuid: uuid,
        };
        let log = Arc::new(MemberLog::of(&store, identity));
        let mut options = DonorOptions::new(vec![Account::new(USER, PASSWORD.as_bytes())]);
        options.max_rate = Some(max_rate);
        let donor = Arc::new(Donor::start("127.0.0.1:0", log, options)?);
        let port = donor.local_addr().port();
        let (reader, serving) = (store.reader(), Arc::clone(&donor));
        let executed = reader.clone();
        let sets = move || MemberSets {
            executed: executed.snapshot().gtid_executed().clone(),
            purged: serving.gtid_purged().unwrap_or_default(),
        };
        let endpoint = Endpoint::new("127.0.0.1", port);
        let seat = group.member(LocalMemberOptions::new(uuid, endpoint, sets));
        let settings = Settings {
            // A minute would be most of the demo.
            recovery_reconnect_interval: Duration::from_secs(1),
            ..Settings::default()
        };
        let builder = Member::builder(seat, store)
            .uuid(uuid)
            .server_id(number.into())
            .cache_bytes(CACHE_BYTES)
            .settings(settings);
        let events = builder.events();
        Ok(Self {
            name,
            uuid,
            port,
            reader,
            member: builder.start()?,
            events,
            donor,
        })
    }

    /// Whether it has purged the oldest of its binary logs.
    pub(super) fn has_purged(&self) -> bool {
        self.donor
            .gtid_purged()
            .is_ok_and(|purged| !purged.is_empty())
    }

    /// The number it was started with.
    pub(super) fn number(&self) -> u8 {
        self.uuid.0[0]
    }

    /// Its process dies: connections break in mid-transfer, and the group misses it.
    pub(super) fn kill(self, group: &LocalGroup) {
        self.donor.stop();
        std::thread::sleep(UNNOTICED);
        group.expel(&self.uuid);
    }
}
