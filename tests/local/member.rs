//! A member of a group in this process: store, donor, engine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rejoin::donor::{Account, Donor, DonorOptions, MemberLog, SourceIdentity};
use rejoin::engine::{Events, Member};
use rejoin::group::local::{LocalGroup, LocalMemberOptions, MemberSets};
use rejoin::gtid::{GtidSet, Uuid};
use rejoin::net::{ConnectOptions, Endpoint};
use rejoin::recovery::Settings;
use rejoin::target::store::{Reader, Snapshot, Store, StoreOptions};

pub const WAIT: Duration = Duration::from_secs(300);

pub fn group() -> LocalGroup {
    LocalGroup::new(Uuid([0xaa; 16]), ConnectOptions::new("recovery", "secret")).unwrap()
}

pub fn uuid(number: u8) -> Uuid {
    Uuid([number; 16])
}

pub struct Node {
    pub uuid: Uuid,
    pub reader: Reader,
    pub donor: Arc<Donor>,
    pub member: Member,
    pub events: Events,
}

/// How a member is set up.
pub struct NodeOptions {
    pub store: StoreOptions,
    pub settings: Settings,
    /// Where joiners are told to find its donor, if elsewhere.
    pub advertised_port: Option<u16>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        let mut store = StoreOptions::default();
        // Crashes of the machine are not what is tested here.
        store.journal.sync = false;
        store.journal.segment_bytes = 256 << 10;
        let settings = Settings {
            recovery_retry_count: 1000,
            recovery_reconnect_interval: Duration::from_millis(50),
            ..Settings::default()
        };
        Self {
            store,
            settings,
            advertised_port: None,
        }
    }
}

impl Node {
    /// Joins `group` with the store in `directory`.
    pub fn join(group: &LocalGroup, number: u8, directory: PathBuf) -> Self {
        Self::join_with(group, number, directory, NodeOptions::default())
    }

    pub fn join_with(
        group: &LocalGroup,
        number: u8,
        directory: PathBuf,
        options: NodeOptions,
    ) -> Self {
        let uuid = uuid(number);
        let store = Store::open_with(directory, options.store).unwrap();
        let reader = store.reader();
        let identity = SourceIdentity {
            server_id: number.into(),
            server_uuid: uuid,
        };
        let log = MemberLog::of(&store, identity);
        let accounts = vec![Account::new("recovery", b"secret")];
        let donor = Donor::start("127.0.0.1:0", Arc::new(log), DonorOptions::new(accounts));
        let donor = Arc::new(donor.unwrap());
        let port = options.advertised_port;
        let endpoint = Endpoint::new(
            "127.0.0.1",
            port.unwrap_or_else(|| donor.local_addr().port()),
        );
        let (executed, serving) = (reader.clone(), Arc::clone(&donor));
        let sets = move || MemberSets {
            executed: executed.snapshot().gtid_executed().clone(),
            purged: serving.gtid_purged().unwrap(),
        };
        let seat = group.member(LocalMemberOptions::new(uuid, endpoint, sets));
        let builder = Member::builder(seat, store)
            .uuid(uuid)
            .server_id(number.into())
            .settings(options.settings);
        let events = builder.events();
        Self {
            uuid,
            reader,
            donor,
            member: builder.start().unwrap(),
            events,
        }
    }

    pub fn online(self) -> Self {
        self.member.wait_online(WAIT).unwrap();
        self
    }

    /// All tables and rows, when `executed` is applied.
    pub fn rows(&self, executed: &GtidSet) -> String {
        let snapshot = self.reader.wait_for(executed, WAIT);
        let snapshot = snapshot.unwrap_or_else(|| {
            panic!("{} lacks {executed}: {:?}", self.uuid, self.member.status())
        });
        assert_eq!(snapshot.gtid_executed(), executed);
        rows(&snapshot)
    }

    /// The process dies: nobody says good-bye, and the group notices a moment later.
    pub fn crash(self, group: &LocalGroup) {
        self.donor.stop();
        group.expel(&self.uuid);
        drop(self.member);
    }

    /// It leaves and shuts down.
    pub fn leave(self) {
        self.member.stop();
        self.member.join().unwrap();
        self.donor.stop();
    }
}

pub fn rows(snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    for table in snapshot.tables() {
        out.extend_from_slice(format!("-- {table}\n").as_bytes());
        snapshot.dump(table, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}
