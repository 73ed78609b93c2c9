//! A host server with a group communication of its own: its communication thread delivers what the
//! group orders, and the member that lives in the same process follows.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rejoin::binlog::{
    ChecksumAlgorithm, Event, EventHeader, EventType, FormatDescription, GtidEvent, QueryEvent,
};
use rejoin::engine::Member;
use rejoin::group::{Cut, Feed, Group, GroupMember, Joined, MemberState, NotDelivered, View};
use rejoin::gtid::{Gtid, GtidSet, Tag, Tsid, Uuid};
use rejoin::net::{ConnectOptions, Endpoint};
use rejoin::target::store::Store;
use rejoin::transaction::{Assembler, Batch};
use rejoin::{Error, ErrorKind, Limits};

/// What reaches the communication thread, in the order that is the same for all members.
enum Message {
    /// The events of one transaction, as a server writes them to its binary log.
    Transaction(Vec<Vec<u8>>),
    /// The members have changed.
    View(View),
    /// Here in the order the member joins.
    Join(Feed, Sender<Joined>),
    /// The member asks how things stand.
    Read(Sender<(View, GtidSet)>),
    Leave,
}

/// The communication thread. It never waits for the member: to deliver is to put into a queue.
fn communicate(format_description: &[u8], messages: &Receiver<Message>) -> Result<(), Error> {
    let mut view = View::default();
    let mut executed = GtidSet::new();
    let mut joined: Option<Feed> = None;
    // What found the member's cache full.
    let mut late: VecDeque<Batch> = VecDeque::new();
    let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
    assembler.push(format_description)?;
    for message in messages {
        match message {
            Message::Transaction(events) => {
                for event in &events {
                    assembler.push(event)?;
                }
                let batch = assembler.take(Batch::new());
                executed.extend(&batch.gtids());
                late.push_back(batch);
            }
            Message::View(new) => {
                if let Some(feed) = &joined {
                    feed.view_changed(new.clone());
                }
                view = new;
            }
            Message::Join(feed, answer) => {
                joined = Some(feed);
                // Everything that is not in the cut will be delivered; what is in it, the member
                // fetches from a donor if it lacks it.
                let (view, cut) = (view.clone(), Cut::Gtids(executed.clone()));
                let _ = answer.send(Joined { view, cut });
            }
            Message::Read(answer) => {
                let _ = answer.send((view.clone(), executed.clone()));
            }
            Message::Leave => joined = None,
        }
        let Some(feed) = &joined else {
            late.clear();
            continue;
        };
        while let Some(batch) = late.pop_front() {
            if let Err((batch, NotDelivered::Full)) = feed.deliver(batch) {
                late.push_front(batch);
                break;
            }
        }
    }
    Ok(())
}

/// The group as the member uses it: it asks the communication thread.
struct Host(Sender<Message>);

impl Host {
    fn ask<T>(&self, message: impl FnOnce(Sender<T>) -> Message) -> Result<T, Error> {
        let (answer, answered) = channel();
        let _ = self.0.send(message(answer));
        answered
            .recv()
            .map_err(|_| Error::new(ErrorKind::GroupUnavailable, "the communication has ended"))
    }
}

impl Group for Host {
    fn join(&self, feed: Feed) -> Result<Joined, Error> {
        self.ask(|answer| Message::Join(feed, answer))
    }

    fn read(&self) -> Result<View, Error> {
        self.ask(Message::Read).map(|(view, _)| view)
    }

    fn executed(&self) -> Result<GtidSet, Error> {
        self.ask(Message::Read).map(|(_, executed)| executed)
    }

    fn donor_options(&self, _donor: &GroupMember) -> ConnectOptions {
        ConnectOptions::new("recovery", "secret")
    }

    fn leave(&self) {
        let _ = self.0.send(Message::Leave);
    }
}

fn main() -> Result<(), Error> {
    // The format description event begins every binary log and says how its events are read.
    let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::None)?;
    let mut format_description = Vec::new();
    format.encode(0, 1, false, &mut format_description);

    let (network, messages) = channel();
    let communication = thread::spawn(move || communicate(&format_description, &messages));
    let _ = network.send(Message::View(view(MemberState::Online)));

    let directory = std::env::temp_dir().join(format!("rejoin-host-{}", std::process::id()));
    let store = Store::open(&directory)?;
    let reader = store.reader();
    let member = Member::builder(Host(network.clone()), store).start()?;
    member.wait_online(Duration::from_secs(60))?;

    // What the network brings from now on.
    let _ = network.send(Message::View(view(MemberState::Unreachable)));
    for number in 1..=3 {
        let sql = format!("CREATE DATABASE shop{number}");
        let _ = network.send(Message::Transaction(statement(&format, number, &sql)));
    }
    let all = "00000000-0000-0000-0000-0000000000aa:1-3"
        .parse()
        .expect("a GTID set");
    let snapshot = reader.wait_for(&all, Duration::from_secs(60));
    assert!(snapshot.is_some(), "it follows");

    member.stop();
    member.join()?;
    drop(network);
    communication.join().expect("no panic")?;
    let _ = std::fs::remove_dir_all(&directory);
    Ok(())
}

/// One other member.
fn view(state: MemberState) -> View {
    let address = Endpoint::new("db1", 3306);
    View {
        members: vec![GroupMember {
            uuid: Uuid([0xd1; 16]),
            recovery_endpoints: vec![address.clone()],
            address,
            state,
            primary: true,
            version: None,
            executed: None,
            purged: None,
        }],
    }
}

/// A transaction of one statement: a GTID event and the statement.
fn statement(format: &FormatDescription, number: u64, sql: &str) -> Vec<Vec<u8>> {
    let mut uuid = Uuid([0; 16]);
    uuid.0[15] = 0xaa;
    let tag = Tag::NONE;
    let mut gtid = GtidEvent::new(Gtid {
        tsid: Tsid { uuid, tag },
        gno: number,
    });
    (gtid.last_committed, gtid.sequence_number) = (number as i64 - 1, number as i64);
    let query = QueryEvent {
        thread_id: 1,
        execution_time: 0,
        error_code: 0,
        status_bytes: &[],
        database: b"",
        statement: sql.as_bytes(),
    };
    let header = |event_type| EventHeader {
        timestamp: 0,
        event_type,
        server_id: 1,
        length: 0,
        end_log_pos: 0,
        flags: 0,
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    Event::Query(query).encode(format, &header(EventType::QUERY), &mut second);
    gtid.set_transaction_length(second.len() as u64, 0);
    Event::Gtid(Box::new(gtid)).encode(format, &header(EventType::GTID), &mut first);
    vec![first, second]
}
