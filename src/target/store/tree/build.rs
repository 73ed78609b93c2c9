//! A tree from keys that come in order, as a checkpoint holds them: every node is filled once.

use super::inner::Inner;
use super::leaf::{Leaf, shortest_separator};
use super::{FAN_OUT, KEY_MAX, Node, Tree};

/// Takes keys in rising order and makes a tree of them.
#[derive(Debug)]
pub(crate) struct Builder {
    leaf: Leaf,
    /// The separator before the leaf, while there is one before it.
    leaf_separator: Option<Box<[u8]>>,
    /// The node that is being filled on each level above the leaves, with the separator before it.
    levels: Vec<(Inner, Option<Box<[u8]>>)>,
    last_key: Vec<u8>,
    length: u64,
    bytes: u64,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            leaf: Leaf::new(),
            leaf_separator: None,
            levels: Vec::new(),
            last_key: Vec::new(),
            length: 0,
            bytes: 0,
        }
    }

    /// Adds a key; `false`, and nothing changed, if it does not stand behind all keys so far.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> bool {
        let in_order = self.length == 0 || self.last_key.as_slice() < key;
        if !in_order || key.len() > KEY_MAX {
            return false;
        }
        if !self.leaf.has_room(key, value) {
            let separator = shortest_separator(&self.last_key, key);
            let full = std::mem::replace(&mut self.leaf, Leaf::new());
            let before = self.leaf_separator.replace(separator);
            self.add(0, before, Node::leaf(full));
        }
        self.leaf.put(self.leaf.len(), key, value);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.length += 1;
        self.bytes += (key.len() + value.len()) as u64;
        true
    }

    /// Adds a finished node to the level above it.
    fn add(&mut self, level: usize, separator: Option<Box<[u8]>>, node: Node) {
        let Some((inner, before)) = self.levels.get_mut(level) else {
            self.levels.push((Inner::new(node), separator));
            return;
        };
        if inner.children().len() < FAN_OUT {
            // Only the first node of a level has no separator, and it made the level.
            inner.push(&separator.unwrap_or_default(), node);
            return;
        }
        let full = std::mem::replace(inner, Inner::new(node));
        let before = std::mem::replace(before, separator);
        self.add(level + 1, before, Node::inner(full));
    }

    /// The tree.
    pub(crate) fn finish(mut self) -> Tree {
        let mut node = Node::leaf(std::mem::replace(&mut self.leaf, Leaf::new()));
        let mut separator = self.leaf_separator.take();
        let mut level = 0;
        while level < self.levels.len() {
            self.add(level, separator, node);
            let (inner, before) = self.levels[level].clone();
            node = Node::inner(inner);
            separator = before;
            level += 1;
        }
        let mut tree = Tree {
            root: node,
            length: self.length,
            bytes: self.bytes,
        };
        tree.shrink();
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_tree_holds_what_was_pushed_and_can_be_changed() {
        for count in [0u64, 1, 30, 1000, 40_000] {
            let mut builder = Builder::new();
            for n in 0..count {
                assert!(builder.push(&(n * 2).to_be_bytes(), &[n as u8; 90]));
            }
            let mut tree = builder.finish();
            assert_eq!(tree.len(), count);
            for n in 0..count {
                assert_eq!(tree.get(&(n * 2).to_be_bytes()), Some(&[n as u8; 90][..]));
            }
            for n in 0..count {
                assert!(tree.insert(&(n * 2 + 1).to_be_bytes(), b"odd"));
                assert!(tree.remove(&(n * 2).to_be_bytes()));
            }
            assert_eq!(tree.iter().count() as u64, count);
        }
    }

    #[test]
    fn keys_out_of_order_are_refused() {
        let mut builder = Builder::new();
        assert!(builder.push(b"b", b""));
        assert!(!builder.push(b"b", b""));
        assert!(!builder.push(b"a", b""));
        assert_eq!(builder.finish().len(), 1);
    }
}
