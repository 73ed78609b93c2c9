//! An inner node: children, and the separators between them.
//!
//! Child `i` holds the keys from separator `i − 1` on and below separator `i`. The separators of a
//! node change only when a child splits or goes; they are shared by all versions of the node until
//! then, so that copying a node is a reference for each child and one for the separators.
//!
//! ```text
//! Inner        heads     u64 u64 u64 ...      first 8 bytes of each separator, BE, zero padded
//!              children  node 0 | node 1 | node 2 | ...
//! Separators   ends      u32 u32 u32 ...      where each one ends in `bytes`
//!              bytes     | sep 0 | sep 1 | sep 2 | ...
//! ```
//!
//! The heads stand in the node itself: finding a child mostly touches nothing else.

use std::sync::Arc;

use super::leaf::head_of;
use super::page::Children;
use super::{Change, FAN_OUT, Node, Outcome, Shape};

/// A node with fewer children looks for a sibling to merge with.
const UNDERFULL: usize = FAN_OUT / 4;
/// Most children of a node that a merge makes.
const MERGED_MAX: usize = FAN_OUT * 3 / 4;

#[derive(Debug, Clone)]
pub(super) struct Inner {
    /// One less than there are children; what stands behind these means nothing.
    heads: [u64; FAN_OUT],
    separators: Arc<Separators>,
    children: Children,
}

#[derive(Debug, Clone, Default)]
struct Separators {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Separators {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        &self.bytes[start..self.ends[index] as usize]
    }

    fn push(&mut self, separator: &[u8]) {
        self.bytes.extend_from_slice(separator);
        self.ends.push(self.bytes.len() as u32);
    }

    fn slice(&self, from: usize, to: usize) -> Separators {
        let mut slice = Separators::default();
        for index in from..to {
            slice.push(self.get(index));
        }
        slice
    }

    fn inserted(&self, at: usize, separator: &[u8]) -> Separators {
        let mut all = self.slice(0, at);
        all.push(separator);
        for index in at..self.len() {
            all.push(self.get(index));
        }
        all
    }

    fn removed(&self, at: usize) -> Separators {
        let mut rest = Separators::default();
        for index in (0..self.len()).filter(|index| *index != at) {
            rest.push(self.get(index));
        }
        rest
    }
}

impl Inner {
    /// A node of these separators and children.
    fn of(separators: Separators, children: Children) -> Self {
        debug_assert_eq!(separators.len() + 1, children.len());
        let mut node = Self {
            heads: [0; FAN_OUT],
            separators: Arc::new(Separators::default()),
            children,
        };
        node.set_separators(separators);
        node
    }

    fn set_separators(&mut self, separators: Separators) {
        for (index, head) in self.heads.iter_mut().enumerate().take(separators.len()) {
            *head = head_of(separators.get(index));
        }
        self.separators = Arc::new(separators);
    }

    /// A node of two children.
    pub(super) fn pair(left: Node, separator: &[u8], right: Node) -> Self {
        let mut node = Self::new(left);
        node.push(separator, right);
        node
    }

    /// A node of one child, to which more are pushed.
    pub(super) fn new(first: Node) -> Self {
        Self::of(Separators::default(), [first].into_iter().collect())
    }

    /// Appends a child for the keys from `separator` on; there must be room for it.
    pub(super) fn push(&mut self, separator: &[u8], child: Node) {
        self.heads[self.separators.len()] = head_of(separator);
        Arc::make_mut(&mut self.separators).push(separator);
        self.children.push(child);
    }

    pub(super) fn children(&self) -> &[Node] {
        &self.children
    }

    /// Which child holds the key: as many separators are at or below it.
    pub(super) fn child_index(&self, key: &[u8]) -> usize {
        let head = head_of(key);
        let heads = &self.heads[..self.separators_len()];
        let mut index = heads.partition_point(|separator| *separator < head);
        // Separators that begin as the key does have to be looked at.
        while heads.get(index) == Some(&head) && self.separators.get(index) <= key {
            index += 1;
        }
        index
    }

    fn separators_len(&self) -> usize {
        self.children.len().saturating_sub(1)
    }

    pub(super) fn child_for(&self, key: &[u8]) -> &Node {
        &self.children[self.child_index(key)]
    }

    pub(super) fn change(&mut self, key: &[u8], change: Change<'_>) -> Outcome {
        let index = self.child_index(key);
        let mut outcome = self.children[index].change(key, change);
        if let Outcome::Done { shape, .. } = &mut outcome {
            *shape = match std::mem::replace(shape, Shape::Kept) {
                Shape::Kept => Shape::Kept,
                Shape::Split(separator, right) => self.child_split(index, &separator, right),
                Shape::Underfull => self.child_underfull(index),
            };
        }
        outcome
    }

    /// Takes in the upper part of the child at `index`.
    fn child_split(&mut self, index: usize, separator: &[u8], right: Node) -> Shape {
        let separators = self.separators.inserted(index, separator);
        self.children.insert(index + 1, right);
        if self.children.len() <= FAN_OUT {
            self.set_separators(separators);
            return Shape::Kept;
        }
        // Rising keys split the last child again and again: leave the left node full then.
        let keep = if index + 2 == self.children.len() {
            self.children.len() - 2
        } else {
            self.children.len() / 2
        };
        let separator = Box::from(separators.get(keep - 1));
        let right = Inner::of(
            separators.slice(keep, separators.len()),
            self.children.split_off(keep),
        );
        self.set_separators(separators.slice(0, keep - 1));
        Shape::Split(separator, Node::inner(right))
    }

    /// Merges the child at `index` with a neighbour where both fit into one node.
    fn child_underfull(&mut self, index: usize) -> Shape {
        if self.children[index].is_empty() {
            self.remove_child(index);
        } else {
            let neighbours = [index.checked_sub(1), Some(index)];
            for left in neighbours.into_iter().flatten() {
                if self.merge_with_next(left) {
                    break;
                }
            }
        }
        if self.children.len() < UNDERFULL.max(2) {
            Shape::Underfull
        } else {
            Shape::Kept
        }
    }

    /// Makes one node of the children at `left` and behind it; whether that could be done.
    fn merge_with_next(&mut self, left: usize) -> bool {
        let Some(right) = self.children.get(left + 1) else {
            return false;
        };
        let separator = self.separators.get(left);
        let merged = match (&self.children[left], right) {
            (Node::Leaf(a), Node::Leaf(b)) => a.merged(b).map(Node::leaf),
            (Node::Inner(a), Node::Inner(b)) => a.merged(separator, b).map(Node::inner),
            _ => None,
        };
        let Some(merged) = merged else {
            return false;
        };
        self.children[left] = merged;
        self.children.remove(left + 1);
        self.set_separators(self.separators.removed(left));
        true
    }

    fn merged(&self, separator: &[u8], right: &Inner) -> Option<Inner> {
        if self.children.len() + right.children.len() > MERGED_MAX {
            return None;
        }
        let mut separators = (*self.separators).clone();
        separators.push(separator);
        for index in 0..right.separators.len() {
            separators.push(right.separators.get(index));
        }
        let children = self.children.iter().chain(right.children.iter());
        Some(Inner::of(separators, children.cloned().collect()))
    }

    /// Takes an empty child out.
    fn remove_child(&mut self, index: usize) {
        self.children.remove(index);
        if self.separators.len() > 0 {
            // The first child has no separator before it: its neighbour takes over its keys.
            self.set_separators(self.separators.removed(index.saturating_sub(1)));
        }
    }
}
