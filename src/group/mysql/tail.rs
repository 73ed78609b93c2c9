//! The feed: the tail of an ONLINE member's binary log behind the cut.

use std::time::Duration;

use log::{debug, info, warn};
use rand::seq::IndexedRandom;

use super::Inner;
use crate::group::{Feed, GroupMember, NotDelivered};
use crate::gtid::{GtidSet, Uuid};
use crate::net::{BinlogStream, DumpRequest};
use crate::transaction::{Assembler, Batch};
use crate::{Error, ErrorKind, Result};

/// Largest batch that is delivered at once.
const BATCH_TRANSACTIONS: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(10);
/// The feed's own `server_id`: it must differ from every member's.
const SERVER_ID: u32 = 0x7E_7016;
/// Until it is looked whether there is room for the next part of a transaction.
const FULL_PAUSE: Duration = Duration::from_millis(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a source is no longer read.
enum Ended {
    /// It became the donor, and others can serve the feed.
    IsDonor,
    /// The cache is full.
    Full,
    /// Nobody takes deliveries any more.
    Closed,
}

impl From<NotDelivered> for Ended {
    fn from(reason: NotDelivered) -> Self {
        match reason {
            NotDelivered::Full => Self::Full,
            NotDelivered::Closed => Self::Closed,
        }
    }
}

/// Delivers until the group is left or the cache is gone.
pub(super) fn run(inner: &Inner, feed: &Feed, mut delivered: GtidSet) {
    // A donor cuts off an older dump of the same replica UUID, so that the feed has one of its own.
    let replica_uuid = Uuid::from_random(rand::random());
    let mut pause = FIRST_PAUSE;
    let mut last_failure = None;
    while !inner.has_left() {
        let Some(source) = choose(inner) else {
            debug!("no ONLINE member to read the group's transactions from");
            inner.pause(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            continue;
        };
        let before = delivered.clone();
        let ended = tail(inner, feed, &source, replica_uuid, &mut delivered)
            .map_err(|error| error.at_donor(source.address.to_string()));
        // The next source sends from its beginning what this one did not finish.
        feed.abandon_parts();
        if delivered != before {
            pause = FIRST_PAUSE;
            last_failure = None;
        }
        match ended {
            Ok(Ended::IsDonor) => {
                info!(
                    "{} is the donor now, the feed moves to another member",
                    source.address
                );
            }
            Ok(Ended::Full) => {
                info!("the cache is full, the feed pauses");
                while !feed.is_roomy() && !inner.has_left() {
                    inner.pause(FIRST_PAUSE);
                }
            }
            Ok(Ended::Closed) => return,
            Err(error) if inner.has_left() => debug!("the feed ends: {error}"),
            Err(error) => {
                // What goes on failing in the same way is told once.
                if last_failure.replace(error.kind()) == Some(error.kind()) {
                    debug!("the feed moves to another member: {error}");
                } else {
                    warn!("the feed moves to another member: {error}");
                }
                inner.pause(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Any ONLINE member, but the donor only if there is no other.
fn choose(inner: &Inner) -> Option<GroupMember> {
    let state = inner.state.lock();
    let online: Vec<&GroupMember> = state.view.online().collect();
    let others: Vec<&GroupMember> = online
        .iter()
        .filter(|member| Some(member.uuid) != state.donor)
        .copied()
        .collect();
    let from = if others.is_empty() { &online } else { &others };
    from.choose(&mut rand::rng())
        .map(|member| (*member).clone())
}

fn tail(
    inner: &Inner,
    feed: &Feed,
    source: &GroupMember,
    replica_uuid: Uuid,
    delivered: &mut GtidSet,
) -> Result<Ended> {
    let (connection, _tracking) = inner.connect_as(&source.address, &inner.donor_options)?;
    let mut request = DumpRequest::new(SERVER_ID, replica_uuid, delivered.clone());
    request.heartbeat_period = HEARTBEAT_PERIOD;
    let mut stream = BinlogStream::open(connection, &request)?;
    let mut assembler = Assembler::new(inner.limits.clone(), stream.initial_checksum());
    info!("the group's transactions are read from {}", source.address);
    loop {
        let Some(event) = stream.next_event()? else {
            return Err(Error::new(
                ErrorKind::Stopped,
                "the member ended the stream",
            ));
        };
        assembler.push(event)?;
        if assembler.ready().is_empty()
            && (assembler.open_bytes() >= large_bytes(&assembler, feed)
                || assembler.has_last_part())
            && let Some(part) = assembler.take_part(Vec::new())
        {
            let (gtid, is_last) = (part.gtid, part.end.is_some());
            // What is full writes to the disk. To come back later would be to begin the transaction anew,
            // and never to get to its end.
            let wait = || {
                inner.pause(FULL_PAUSE);
                !inner.has_left()
            };
            if let Err(reason) = feed.deliver_part(part, wait) {
                return Ok(reason.into());
            }
            if is_last {
                delivered.insert(&gtid);
            }
            continue;
        }
        let ready = assembler.ready();
        let full = ready.len() >= BATCH_TRANSACTIONS || assembler.byte_size() >= BATCH_BYTES;
        if ready.is_empty() || (!full && stream.has_buffered_event()) {
            continue;
        }
        let batch = assembler.take(Batch::default());
        let gtids = batch.gtids();
        match feed.deliver(batch) {
            Ok(()) => {}
            Err((_, reason)) => return Ok(reason.into()),
        }
        delivered.extend(&gtids);
        if is_avoidable(inner, source) {
            return Ok(Ended::IsDonor);
        }
    }
}

/// How much there has to be of the transaction that is being put together, for a part of it.
fn large_bytes(assembler: &Assembler, feed: &Feed) -> usize {
    if assembler.is_in_parts() {
        BATCH_BYTES.min(feed.large_bytes)
    } else {
        feed.large_bytes
    }
}

/// Whether the source is the donor and another ONLINE member could take its place.
fn is_avoidable(inner: &Inner, source: &GroupMember) -> bool {
    let state = inner.state.lock();
    state.donor == Some(source.uuid) && state.view.online().any(|member| member.uuid != source.uuid)
}
