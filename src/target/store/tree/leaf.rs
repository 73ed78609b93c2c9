//! A leaf: keys and rows packed into one heap, found through a directory of slots.
//!
//! ```text
//! slots (in key order)   head u64 | offset u32 | key length u16      head = first 8 key bytes, BE
//!                            |
//! heap   +----------------+--v------------------------------------+-------
//!        | ... dead ...   | value length u32 | key | value bytes  | ...
//!        +----------------+---------------------------------------+-------
//! large  values above INLINE_MAX, in key order; their heap entries hold no value bytes
//! ```
//!
//! The head decides nearly every comparison without touching the heap. A change appends to the heap
//! and leaves dead bytes behind; they go when the heap is full, or when a shared leaf is copied.

use std::sync::Arc;

use super::page::Page;
use super::{Change, Node, Outcome, PAGE, Shape};

/// Values longer than this are kept beside the heap, so that copying a leaf stays cheap.
const INLINE_MAX: usize = 1024;
/// Bytes that an entry takes beside its key and value.
pub(super) const ENTRY_HEADER: usize = 4;
/// A leaf with fewer live bytes looks for a sibling to merge with.
const UNDERFULL: usize = PAGE / 4;
/// Most live bytes of a leaf that a merge makes.
const MERGED_MAX: usize = PAGE * 3 / 4;
/// After so many inserts in a row at its end, a leaf is taken to be filled in rising order.
const RISING: u8 = 8;

#[derive(Debug)]
pub(super) struct Leaf {
    page: Page,
    large: Vec<Arc<[u8]>>,
    /// Bytes of the heap that no slot refers to.
    dead: usize,
    /// Inserts in a row that went to the end.
    rising: u8,
}

/// Where an entry is in the heap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    head: u64,
    offset: u32,
    key_length: u16,
}

/// The first eight bytes of a key as a number whose order agrees with the keys'.
pub(super) fn head_of(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut head = [0; 8];
    head[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(head)
}

impl Leaf {
    pub(super) fn new() -> Self {
        Self {
            page: Page::empty(),
            large: Vec::new(),
            dead: 0,
            rising: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.page.slots.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.page.slots.len()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let index = self.find(key).ok()?;
        Some(self.value(index))
    }

    /// Where the key is, or where it would have to be.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let head = head_of(key);
        self.page.slots.binary_search_by(|slot| {
            slot.head
                .cmp(&head)
                .then_with(|| self.key_in(slot).cmp(key))
        })
    }

    pub(super) fn key(&self, index: usize) -> &[u8] {
        self.key_in(&self.page.slots[index])
    }

    pub(super) fn value(&self, index: usize) -> &[u8] {
        let slot = &self.page.slots[index];
        let length = self.value_length(slot);
        if length > INLINE_MAX {
            &self.large[self.large_before(index)]
        } else {
            let start = slot.offset as usize + ENTRY_HEADER + usize::from(slot.key_length);
            &self.page.heap[start..start + length]
        }
    }

    fn key_in(&self, slot: &Slot) -> &[u8] {
        let start = slot.offset as usize + ENTRY_HEADER;
        &self.page.heap[start..start + usize::from(slot.key_length)]
    }

    fn value_length(&self, slot: &Slot) -> usize {
        let start = slot.offset as usize;
        let bytes = self.page.heap[start..start + ENTRY_HEADER].first_chunk();
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
    }

    /// Heap bytes of the entry.
    fn entry_length(&self, slot: &Slot) -> usize {
        let value = self.value_length(slot);
        let inline = if value > INLINE_MAX { 0 } else { value };
        ENTRY_HEADER + usize::from(slot.key_length) + inline
    }

    /// How many large values stand before the entry.
    fn large_before(&self, index: usize) -> usize {
        if self.large.is_empty() {
            return 0;
        }
        self.page.slots[..index]
            .iter()
            .filter(|slot| self.value_length(slot) > INLINE_MAX)
            .count()
    }

    fn live(&self) -> usize {
        self.page.heap.len() - self.dead
    }

    pub(super) fn change(&mut self, key: &[u8], change: Change<'_>) -> Outcome {
        match (self.find(key), change) {
            (Err(index), Change::Insert(value)) => {
                let shape = self.insert_at(index, key, value);
                Outcome::Done {
                    old_value: 0,
                    shape,
                }
            }
            (Ok(index), Change::Replace(value)) => self.replace_at(index, key, value),
            (Ok(index), Change::Remove) => {
                let old_value = self.remove_at(index);
                let shape = if self.live() < UNDERFULL {
                    Shape::Underfull
                } else {
                    Shape::Kept
                };
                Outcome::Done { old_value, shape }
            }
            (Ok(_), Change::Insert(_)) | (Err(_), Change::Replace(_) | Change::Remove) => {
                Outcome::Refused
            }
        }
    }

    fn insert_at(&mut self, index: usize, key: &[u8], value: &[u8]) -> Shape {
        let at_end = index == self.page.slots.len();
        self.rising = if at_end {
            self.rising.saturating_add(1)
        } else {
            0
        };
        if self.make_room(key, value) {
            self.put(index, key, value);
            return Shape::Kept;
        }
        if at_end && self.rising >= RISING {
            // Rising keys: what is here will not grow any more, and may stay full.
            let separator = shortest_separator(self.key(index - 1), key);
            let mut right = Leaf::with_page();
            right.rising = self.rising;
            right.put(0, key, value);
            return Shape::Split(separator, Node::leaf(right));
        }
        let (middle, mut right) = self.split();
        if index <= middle {
            self.put(index, key, value);
        } else {
            right.put(index - middle, key, value);
        }
        let separator = shortest_separator(self.key(self.len() - 1), right.key(0));
        Shape::Split(separator, Node::leaf(right))
    }

    fn replace_at(&mut self, index: usize, key: &[u8], value: &[u8]) -> Outcome {
        let slot = self.page.slots[index];
        let old_value = self.value_length(&slot);
        if old_value == value.len() {
            if old_value > INLINE_MAX {
                let position = self.large_before(index);
                self.large[position] = Arc::from(value);
            } else {
                let start = slot.offset as usize + ENTRY_HEADER + usize::from(slot.key_length);
                self.page.heap[start..start + old_value].copy_from_slice(value);
            }
            return Outcome::Done {
                old_value,
                shape: Shape::Kept,
            };
        }
        let rising = self.rising;
        self.remove_at(index);
        let shape = self.insert_at(index, key, value);
        self.rising = rising;
        Outcome::Done { old_value, shape }
    }

    /// Takes the entry out; the length of its value.
    fn remove_at(&mut self, index: usize) -> usize {
        let slot = self.page.slots[index];
        let length = self.value_length(&slot);
        if length > INLINE_MAX {
            let position = self.large_before(index);
            self.large.remove(position);
        }
        self.dead += self.entry_length(&slot);
        self.page.slots.remove(index);
        length
    }

    /// Whether the entry can be put here, after the dead bytes have gone if need be.
    fn make_room(&mut self, key: &[u8], value: &[u8]) -> bool {
        let inline = if value.len() > INLINE_MAX {
            0
        } else {
            value.len()
        };
        let needed = ENTRY_HEADER + key.len() + inline;
        if self.page.heap.len() + needed <= PAGE {
            return true;
        }
        // A leaf of one entry takes a second one of any size: a split needs two.
        let fits = self.live() + needed <= PAGE || self.page.slots.len() < 2;
        if fits && self.dead > 0 {
            *self = self.clone();
        }
        fits
    }

    /// An empty leaf with memory for a page.
    fn with_page() -> Self {
        Self {
            page: Page::with_room(PAGE),
            ..Self::new()
        }
    }

    /// Puts an entry in, whether or not it fits the page.
    pub(super) fn put(&mut self, index: usize, key: &[u8], value: &[u8]) {
        if self.page.heap.capacity() == 0 {
            self.page = Page::with_room(PAGE);
        }
        let slot = Slot {
            head: head_of(key),
            offset: self.page.heap.len() as u32,
            key_length: key.len() as u16,
        };
        self.page
            .heap
            .extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.page.heap.extend_from_slice(key);
        if value.len() > INLINE_MAX {
            let position = self.large_before(index);
            self.large.insert(position, Arc::from(value));
        } else {
            self.page.heap.extend_from_slice(value);
        }
        self.page.slots.insert(index, slot);
    }

    /// Whether `put` at the end would keep to the page; for building in order.
    pub(super) fn has_room(&self, key: &[u8], value: &[u8]) -> bool {
        let inline = if value.len() > INLINE_MAX {
            0
        } else {
            value.len()
        };
        self.page.heap.len() + ENTRY_HEADER + key.len() + inline <= PAGE
            || self.page.slots.is_empty()
    }

    /// Cuts the leaf at about half its bytes; the index of the first entry that went.
    fn split(&mut self) -> (usize, Leaf) {
        let half = self.live() / 2;
        let mut middle = 0;
        let mut bytes = 0;
        for slot in &self.page.slots {
            if middle > 0 && bytes >= half {
                break;
            }
            bytes += self.entry_length(slot);
            middle += 1;
        }
        let middle = middle.min(self.page.slots.len() - 1);
        let right = self.copy_of(middle, self.page.slots.len());
        *self = self.copy_of(0, middle);
        (middle, right)
    }

    /// The entries `from..to` as a leaf without dead bytes.
    fn copy_of(&self, from: usize, to: usize) -> Leaf {
        let mut copy = Leaf {
            page: Page::with_room(PAGE.max(self.live())),
            large: Vec::new(),
            dead: 0,
            rising: self.rising,
        };
        copy.append(self, from, to);
        copy
    }

    /// Appends the entries `from..to` of another leaf, whose keys all stand behind ours.
    fn append(&mut self, other: &Leaf, from: usize, to: usize) {
        for slot in &other.page.slots[from..to] {
            let start = slot.offset as usize;
            let entry = &other.page.heap[start..start + other.entry_length(slot)];
            self.page.slots.push(Slot {
                offset: self.page.heap.len() as u32,
                ..*slot
            });
            self.page.heap.extend_from_slice(entry);
        }
        let large = other.large_before(from)..other.large_before(to);
        self.large.extend_from_slice(&other.large[large]);
    }

    /// The entries of both leaves in one, if they fit; the keys of `right` stand behind ours.
    pub(super) fn merged(&self, right: &Leaf) -> Option<Leaf> {
        if self.live() + right.live() > MERGED_MAX {
            return None;
        }
        let mut merged = self.copy_of(0, self.len());
        merged.append(right, 0, right.len());
        merged.rising = right.rising;
        Some(merged)
    }
}

impl Clone for Leaf {
    /// A copy without the dead bytes, with room for a whole page.
    fn clone(&self) -> Self {
        if self.dead > 0 {
            return self.copy_of(0, self.page.slots.len());
        }
        let mut page = Page::with_room(PAGE.max(self.page.heap.len()));
        page.slots.extend_from_slice(&self.page.slots);
        page.heap.extend_from_slice(&self.page.heap);
        Self {
            page,
            large: self.large.clone(),
            dead: 0,
            rising: self.rising,
        }
    }
}

/// The shortest byte string above `left` and not above `right`, a prefix of `right`.
pub(super) fn shortest_separator(left: &[u8], right: &[u8]) -> Box<[u8]> {
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    Box::from(&right[..(common + 1).min(right.len())])
}
