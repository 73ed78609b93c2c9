//! One connection of the recovery channel: a donor's bytes, whatever happens to them on the way, and
//! the product's own framing, packet parser and intake at the end.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::RngExt;

use super::history::{LARGEST_TRANSACTION, events};
use super::plants::Plant;
use super::world::{SECOND, World, number};
use crate::binlog::ChecksumAlgorithm;
use crate::engine::intake::Intake;
use crate::engine::receiver::{Receiver, ended};
use crate::engine::shared::{BATCH_BYTES, Fact, Received};
use crate::gtid::GtidSet;
use crate::transaction::Piece;
use crate::wire::dump::{self, DumpPacket};
use crate::wire::packet::{PacketReader, write_packet};
use crate::{Error, ErrorKind, Limits, Result};

const MILLI: u64 = 1_000_000;
/// `replica_net_timeout`.
const READ_TIMEOUT: u64 = 60 * SECOND;
const HEARTBEAT: u64 = 30 * SECOND;
/// Less than the silence that ends a connection.
const LONG_DELAY: u64 = 40 * SECOND;

/// What becomes of a connection, drawn when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Refuse,
    Silent,
    Login,
    Serve,
}

pub(super) struct Connection {
    receiver: Receiver,
    donor: usize,
    fate: Fate,
    /// When it does its next step.
    pub(super) due: u64,
    is_open: bool,
    intake: Intake,
    reader: PacketReader,
    sequence: u8,
    /// Bytes on their way.
    wire: Vec<u8>,
    sent: usize,
    /// Bytes that arrive before the connection breaks, before a bit flips, before silence.
    cut_at: Option<usize>,
    flip_at: Option<usize>,
    stall_at: Option<usize>,
    end_at: Option<usize>,
    /// Bytes sent before another replica with our identity connects: the donor drops the older one.
    twin_at: Option<usize>,
    /// Chances in 1000 that what comes next takes long.
    delay: u32,
    has: GtidSet,
    /// The place of the next transaction that the donor looks at.
    next: usize,
    replays: bool,
    withholds: Option<usize>,
    /// The place of which it sends more than anybody may.
    oversized: Option<usize>,
    /// How many transactions are in a file of its binary log.
    file_length: usize,
    heard: u64,
    /// What the applier has no room for yet.
    waiting: VecDeque<Piece>,
    pub(super) is_over: bool,
}

impl Connection {
    pub(super) fn new(receiver: Receiver, world: &mut World, now: u64) -> Self {
        let faults = world.faults.clone();
        let donor = number(&receiver.donor);
        let fate = if world.chance(faults.refuse) || !world.members[donor].is_in {
            Fate::Refuse
        } else if world.chance(faults.silent) {
            Fate::Silent
        } else if world.chance(faults.login) {
            Fate::Login
        } else {
            Fate::Serve
        };
        let mut place = |chances: u32| {
            let most = [500, 5_000, 50_000][world.random.random_range(0..3)];
            let at = world.random.random_range(0..most);
            world.chance(chances).then_some(at)
        };
        let cut_at = place(faults.cut);
        let flip_at = place(faults.flip);
        let stall_at = place(faults.stall);
        let end_at = place(faults.end);
        let twin_at = place(faults.twin);
        let length = world.history.len();
        let withheld = world.random.random_range(0..=length);
        let oversized = world.random.random_range(0..=length);
        let file_length = [1, 7, 50, usize::MAX][world.random.random_range(0..4)];
        let shared = Arc::clone(&receiver.shared);
        let intake = Intake::new(
            receiver.limits.clone(),
            ChecksumAlgorithm::Crc32,
            shared,
            receiver.recycled.clone(),
            receiver.large_bytes,
        );
        // The command that asked for the stream was packet 0.
        let mut reader = PacketReader::new(4096, Limits::default().packet_bytes);
        reader.set_sequence(1);
        Self {
            has: receiver.request.gtid_set.clone(),
            receiver,
            donor,
            fate,
            due: now + world.random.random_range(0..50 * MILLI),
            is_open: false,
            intake,
            reader,
            sequence: 1,
            wire: Vec::new(),
            sent: 0,
            cut_at,
            flip_at,
            stall_at,
            end_at,
            twin_at,
            delay: if world.chance(faults.delay) { 100 } else { 0 },
            next: 0,
            replays: world.chance(faults.replay),
            withholds: world.chance(faults.withhold).then_some(withheld),
            oversized: world.chance(faults.oversize).then_some(oversized),
            file_length,
            heard: now,
            waiting: VecDeque::new(),
            is_over: false,
        }
    }

    /// The donor process is gone, or has been told to serve nobody.
    pub(super) fn lose(&mut self, donor: usize) {
        if self.donor == donor {
            self.cut_at = Some(0);
        }
    }

    /// Whatever was planted is taken out; a donor that holds something back starts anew.
    pub(super) fn heal(&mut self, now: u64) {
        let is_bad = self.withholds.is_some() || self.oversized.is_some();
        if is_bad || self.stall_at.is_some() || self.fate != Fate::Serve {
            self.cut_at = Some(0);
            self.fate = Fate::Serve;
            self.stall_at = None;
            self.due = now;
        }
        self.flip_at = None;
        self.twin_at = None;
        self.delay = 0;
    }

    pub(super) fn byte_size(&self) -> usize {
        self.intake.byte_size() + self.waiting.iter().map(Piece::byte_size).sum::<usize>()
    }

    pub(super) fn step(&mut self, world: &mut World, now: u64) {
        if let Err(error) = self.try_step(world, now) {
            self.is_over = true;
            self.tell(Fact::ReceiverFailed {
                attempt: self.receiver.attempt,
                error: error.at_donor(self.receiver.endpoint.to_string()),
            });
        }
    }

    fn tell(&self, fact: Fact) {
        let _ = self.receiver.facts.send(fact);
    }

    fn try_step(&mut self, world: &mut World, now: u64) -> Result<()> {
        if !self.is_open {
            return self.open(world, now);
        }
        if !self.pass_on() {
            // The applier has no room: the receiver does not read.
            self.due = now + 50 * MILLI;
            return Ok(());
        }
        self.send(world, now);
        let chunk = match world.random.random_range(0..10) {
            0 => 1,
            1..4 => world.random.random_range(1..100),
            _ => world.random.random_range(100..20_000),
        };
        let most = if world.chance(self.delay) {
            LONG_DELAY
        } else {
            30 * MILLI
        };
        self.due = now + world.random.random_range(0..most);
        self.arrive(chunk, world, now)
    }

    fn open(&mut self, world: &World, now: u64) -> Result<()> {
        match self.fate {
            Fate::Refuse => return Err(Error::new(ErrorKind::Network, "connection refused")),
            Fate::Login => return Err(Error::new(ErrorKind::Authentication, "access denied")),
            Fate::Silent => {
                self.fate = Fate::Refuse;
                self.due = now + 10 * SECOND;
                return Ok(());
            }
            Fate::Serve => {}
        }
        self.is_open = true;
        self.heard = now;
        self.due = now;
        self.tell(Fact::Connected {
            attempt: self.receiver.attempt,
        });
        let donor = &world.members[self.donor];
        let purged = world.history.executed(donor.purged);
        if !purged.is_subset(&self.has) {
            self.refuse(b"Cannot replicate because the source purged required binary logs.");
            return Ok(());
        }
        for event in events(&world.history.preamble(b"binlog.000001")) {
            self.put_event(event);
        }
        Ok(())
    }

    fn put(&mut self, payload: &[u8]) {
        self.sequence = write_packet(self.sequence, payload, &mut self.wire);
    }

    /// Sends an ERR packet, behind which nothing comes.
    fn refuse(&mut self, message: &[u8]) {
        let mut packet = b"\xff\xd4\x04#HY000".to_vec();
        packet.extend_from_slice(message);
        self.put(&packet);
        self.next = usize::MAX;
    }

    fn put_event(&mut self, event: &[u8]) {
        let mut payload = Vec::with_capacity(event.len() + 1);
        payload.push(0);
        payload.extend_from_slice(event);
        self.put(&payload);
    }

    /// The donor puts on the wire what it has, as far as the wire takes it.
    fn send(&mut self, world: &mut World, now: u64) {
        let donor = &world.members[self.donor];
        if self.stall_at.is_some_and(|at| self.sent >= at) {
            return;
        }
        let mut has_sent = false;
        while self.next < donor.executed && self.wire.len() < 20_000 {
            let place = self.next;
            self.next += 1;
            let transaction = world.history.get(place);
            let is_known = self.has.contains(&transaction.gtid);
            if (is_known && !self.replays) || self.withholds == Some(place) {
                if !is_known {
                    world.withheld.insert(place);
                }
                continue;
            }
            if place.is_multiple_of(self.file_length) {
                for event in events(&world.history.rotation(place as u64)) {
                    self.put_event(event);
                }
            }
            if self.oversized == Some(place) {
                for event in events(&world.history.oversized(place)) {
                    self.put_event(event);
                }
            }
            if world.plant == Some(Plant::Alters) && !is_known {
                for event in events(&world.history.altered(place)) {
                    self.put_event(event);
                }
            } else if donor.diverged.is_some_and(|from| place >= from) && !is_known {
                let bytes = world.history.conflicting(place);
                for event in events(&bytes) {
                    self.put_event(event);
                }
            } else {
                for event in events(&world.history.get(place).bytes) {
                    self.put_event(event);
                }
            }
            has_sent = true;
        }
        if self.next == usize::MAX {
            // The stream has ended: not even a heartbeat follows.
        } else if self.twin_at.is_some_and(|at| self.sent >= at) {
            self.refuse(
                b"A replica with the same server_uuid/server_id as this replica has connected to \
                  the source",
            );
        } else if self.end_at.is_some_and(|at| self.sent >= at) {
            self.put(b"\xfe\0\0\0\0");
            self.next = usize::MAX;
        } else if !has_sent && self.wire.is_empty() && now >= self.heard + HEARTBEAT {
            let heartbeat = world.history.heartbeat(b"binlog.000001");
            self.put_event(&heartbeat);
        }
    }

    /// The next bytes arrive, unless something is in their way.
    fn arrive(&mut self, chunk: usize, world: &mut World, now: u64) -> Result<()> {
        let mut count = chunk.min(self.wire.len());
        if let Some(at) = self.cut_at {
            count = count.min(at.saturating_sub(self.sent));
        }
        if let Some(at) = self.stall_at {
            count = count.min(at.saturating_sub(self.sent));
        }
        if let Some(at) = self.flip_at
            && (self.sent..self.sent + count).contains(&at)
        {
            self.wire[at - self.sent] ^= 1 << world.random.random_range(0..8);
        }
        if count > 0 {
            self.heard = now;
        } else if now >= self.heard + READ_TIMEOUT {
            return Err(Error::new(ErrorKind::TimedOut, "nothing came for 60 s"));
        } else {
            // Nothing until something is there: a heartbeat, new transactions, the end of patience.
            let is_cut = self.cut_at.is_some_and(|at| self.sent >= at);
            self.due = now + if is_cut { 0 } else { SECOND };
            if is_cut {
                return Err(Error::new(ErrorKind::Network, "connection lost"));
            }
        }
        let bytes: Vec<u8> = self.wire.drain(..count).collect();
        self.sent += count;
        self.receive(&bytes)
    }

    /// As the receiver thread: packets, events, batches.
    fn receive(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let space = self.reader.space();
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.reader.received(count);
            bytes = &bytes[count..];
            while self.reader.advance()? {
                match dump::parse(self.reader.packet())? {
                    DumpPacket::Event(event) => self.intake.push(event)?,
                    DumpPacket::End => return Err(ended()),
                }
                while let Some(piece) = self.intake.take(|| self.reader.has_packet()) {
                    self.waiting.push_back(piece);
                    self.pass_on();
                }
            }
            if let Some((length, body)) = self.reader.incomplete() {
                dump::check_incomplete(length, body)?;
            }
        }
        Ok(())
    }

    /// `false` if the applier has no room for what waits.
    fn pass_on(&mut self) -> bool {
        while let Some(piece) = self.waiting.pop_front() {
            let received = Received {
                connection: self.receiver.connection,
                piece,
            };
            if let Err(error) = self.receiver.received.try_send(received) {
                self.waiting.push_front(error.into_inner().piece);
                let shared = &self.receiver.shared;
                shared
                    .held_back
                    .store(true, std::sync::atomic::Ordering::Relaxed);
                return false;
            }
        }
        true
    }

    /// The most that a connection may hold.
    pub(super) const LIMIT: usize = 2 * (BATCH_BYTES + LARGEST_TRANSACTION);
}
