//! A table's rows: a copy-on-write B+tree from key bytes to row bytes.
//!
//! Nodes are reference counted. A tree that is the only owner of a node changes it in place; a node
//! that a clone of the tree (a published snapshot) shares is copied first, and the copy takes its
//! place on the path to the root. So a clone costs one reference count, never changes, and needs no
//! lock to be read, while the original goes on.
//!
//! ```text
//!            Inner  separators | child 0 | child 1 | ... | child n      up to FAN_OUT children
//!                                  |         |
//!                                Leaf      Leaf                         about PAGE bytes each
//! ```
//!
//! What the sizes are weighed for: the first change of a leaf behind a snapshot copies the leaf and
//! takes one reference for every child of the node above it, and that again when the old node goes.
//! Small inner nodes keep the second part near the first.
//!
//! - [`leaf`]: the packed page of keys and rows;
//! - [`page`]: the memory of nodes, used again and again;
//! - [`inner`]: separators and children;
//! - [`cursor`]: reading in key order;
//! - [`build`]: a tree from rows that come in order;
//! - [`rows`]: a tree as the rows of a table.

mod build;
mod cursor;
mod inner;
mod leaf;
mod page;
mod rows;

use std::sync::Arc;

pub(crate) use build::Builder;
pub(crate) use cursor::Cursor;

use inner::Inner;
use leaf::Leaf;

use crate::target::tables::KEY_MAX;

/// Bytes of keys and rows in a leaf before it is split.
const PAGE: usize = 4000;
/// Most children of an inner node.
const FAN_OUT: usize = 32;

/// An ordered map from keys (compared as bytes) to values, cloned in constant time.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: Node,
    length: u64,
    bytes: u64,
}

/// A node, shared with all trees that were cloned since it was made.
#[derive(Debug, Clone)]
enum Node {
    Leaf(Arc<Leaf>),
    Inner(Arc<Inner>),
}

/// What is to happen to one key.
#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Insert(&'a [u8]),
    Replace(&'a [u8]),
    Remove,
}

/// What became of a node when a change below it was made.
#[derive(Debug)]
enum Outcome {
    /// The key was there (insert) or was not (replace, remove): nothing changed.
    Refused,
    Done {
        /// Length of the value that was replaced or removed.
        old_value: usize,
        shape: Shape,
    },
}

/// What the parent has to do.
#[derive(Debug)]
enum Shape {
    Kept,
    /// The node's upper part became a node of its own, for keys from the separator on.
    Split(Box<[u8]>, Node),
    /// The node is small enough to look for a sibling to merge with.
    Underfull,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            root: Node::leaf(Leaf::new()),
            length: 0,
            bytes: 0,
        }
    }

    /// How many keys it holds.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(inner) => node = inner.child_for(key),
                Node::Leaf(leaf) => return leaf.get(key),
            }
        }
    }

    /// Adds a key; `false`, and nothing changed, if it is there already.
    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) -> bool {
        debug_assert!(key.len() <= KEY_MAX);
        let done = self.change(key, Change::Insert(value)).is_some();
        if done {
            self.length += 1;
            self.bytes += (key.len() + value.len()) as u64;
        }
        done
    }

    /// Gives a key another value; `false`, and nothing changed, if it is not there.
    pub(crate) fn replace(&mut self, key: &[u8], value: &[u8]) -> bool {
        let old = self.change(key, Change::Replace(value));
        if let Some(old) = old {
            self.bytes = self.bytes + value.len() as u64 - old as u64;
        }
        old.is_some()
    }

    /// Takes a key out; `false` if it is not there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let old = self.change(key, Change::Remove);
        if let Some(old) = old {
            self.length -= 1;
            self.bytes -= (key.len() + old) as u64;
        }
        old.is_some()
    }

    /// All keys from `from` on, in order.
    pub(crate) fn range(&self, from: &[u8]) -> Cursor<'_> {
        Cursor::new(&self.root, from)
    }

    /// All keys in order.
    pub(crate) fn iter(&self) -> Cursor<'_> {
        self.range(&[])
    }

    /// Makes the change and mends the root; the length of the old value, or `None` if refused.
    fn change(&mut self, key: &[u8], change: Change<'_>) -> Option<usize> {
        match self.root.change(key, change) {
            Outcome::Refused => None,
            Outcome::Done { old_value, shape } => {
                match shape {
                    Shape::Kept => {}
                    Shape::Split(separator, right) => {
                        let left = self.root.clone();
                        self.root = Node::inner(Inner::pair(left, &separator, right));
                    }
                    Shape::Underfull => self.shrink(),
                }
                Some(old_value)
            }
        }
    }

    /// Takes away roots that hold a single child, or none.
    fn shrink(&mut self) {
        while let Node::Inner(inner) = &self.root {
            let next = match inner.children() {
                [] => Node::leaf(Leaf::new()),
                [only] => only.clone(),
                _ => return,
            };
            self.root = next;
        }
    }
}

impl Node {
    fn leaf(leaf: Leaf) -> Self {
        Self::Leaf(Arc::new(leaf))
    }

    fn inner(inner: Inner) -> Self {
        Self::Inner(Arc::new(inner))
    }

    /// Makes a change, on a copy of the node if it is shared.
    fn change(&mut self, key: &[u8], change: Change<'_>) -> Outcome {
        match self {
            Self::Leaf(leaf) => Arc::make_mut(leaf).change(key, change),
            Self::Inner(inner) => Arc::make_mut(inner).change(key, change),
        }
    }

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.is_empty(),
            Self::Inner(inner) => inner.children().is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(Vec<u8>, Vec<u8>),
        Replace(Vec<u8>, Vec<u8>),
        Remove(Vec<u8>),
        Snapshot,
        Forget,
    }

    fn any_key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => (0u16..600).prop_map(|n| u64::from(n).to_be_bytes().to_vec()),
            2 => prop::collection::vec(0u8..3, 0..12),
            1 => (0u8..6, 1000usize..9000).prop_map(|(byte, length)| vec![byte; length]),
        ]
    }

    fn any_value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => (any::<u8>(), 0usize..400).prop_map(|(byte, length)| vec![byte; length]),
            1 => (any::<u8>(), 900usize..5000).prop_map(|(byte, length)| vec![byte; length]),
        ]
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (any_key(), any_value()).prop_map(|(k, v)| Step::Insert(k, v)),
            3 => (any_key(), any_value()).prop_map(|(k, v)| Step::Replace(k, v)),
            4 => any_key().prop_map(Step::Remove),
            1 => Just(Step::Snapshot),
            1 => Just(Step::Forget),
        ]
    }

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn assert_same(tree: &Tree, model: &Model) {
        assert_eq!(tree.len(), model.len() as u64);
        let bytes: usize = model.iter().map(|(k, v)| k.len() + v.len()).sum();
        assert_eq!(tree.bytes(), bytes as u64);
        let ours: Vec<_> = tree.iter().collect();
        let theirs: Vec<_> = model
            .iter()
            .map(|(k, v)| (k.as_slice(), v.as_slice()))
            .collect();
        assert_eq!(ours, theirs);
    }

    proptest! {
        #[test]
        fn a_tree_behaves_as_an_ordered_map_and_snapshots_never_change(
            steps in prop::collection::vec(any_step(), 1..700),
            from in any_key(),
        ) {
            let mut tree = Tree::new();
            let mut model = Model::new();
            let mut snapshots: Vec<(Tree, Model)> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        prop_assert_eq!(tree.insert(&key, &value), !model.contains_key(&key));
                        model.entry(key.clone()).or_insert(value);
                        prop_assert_eq!(tree.get(&key), model.get(&key).map(Vec::as_slice));
                    }
                    Step::Replace(key, value) => {
                        prop_assert_eq!(tree.replace(&key, &value), model.contains_key(&key));
                        if let Some(old) = model.get_mut(&key) {
                            *old = value;
                        }
                        prop_assert_eq!(tree.get(&key), model.get(&key).map(Vec::as_slice));
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(tree.remove(&key), model.remove(&key).is_some());
                        prop_assert_eq!(tree.get(&key), None);
                    }
                    Step::Snapshot => snapshots.push((tree.clone(), model.clone())),
                    Step::Forget => {
                        snapshots.pop();
                    }
                }
            }
            assert_same(&tree, &model);
            for (tree, model) in &snapshots {
                assert_same(tree, model);
            }
            let ours: Vec<_> = tree.range(&from).map(|(key, _)| key.to_vec()).collect();
            let theirs: Vec<_> = model.range(from..).map(|(key, _)| key.clone()).collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    /// Key `n` of a scattered order.
    fn scattered(n: u64) -> [u8; 8] {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
    }

    #[test]
    fn many_keys_come_and_go_in_any_order() {
        let mut tree = Tree::new();
        for n in 0..20_000 {
            assert!(tree.insert(&scattered(n), &[n as u8; 100]));
        }
        let full = tree.clone();
        for n in 0..20_000 {
            assert!(tree.remove(&scattered(n)), "{n}");
        }
        assert_eq!(tree.len(), 0);
        assert_eq!(tree.bytes(), 0);
        assert!(tree.iter().next().is_none());
        assert!(
            matches!(&tree.root, Node::Leaf(_)),
            "an empty tree is one leaf"
        );
        assert_eq!(full.iter().count(), 20_000);
    }

    #[test]
    fn keys_in_rising_order_fill_their_leaves() {
        let mut tree = Tree::new();
        for n in 0..10_000u64 {
            assert!(tree.insert(&n.to_be_bytes(), &[1; 92]));
        }
        let leaves = tree.leaf_count();
        let entry = 8 + 92 + leaf::ENTRY_HEADER;
        let least = 10_000 * entry / PAGE;
        assert!(leaves <= least * 21 / 20, "{leaves} leaves for {least}");
    }

    impl Tree {
        fn leaf_count(&self) -> usize {
            fn count(node: &Node) -> usize {
                match node {
                    Node::Leaf(_) => 1,
                    Node::Inner(inner) => inner.children().iter().map(count).sum(),
                }
            }
            count(&self.root)
        }
    }
}
