//! Reading a tree in key order.

use super::Node;
use super::inner::Inner;
use super::leaf::Leaf;

/// Keys and values in order, from a first key on.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    /// The way down: each inner node with the index of the child that comes next.
    path: Vec<(&'a Inner, usize)>,
    leaf: Option<&'a Leaf>,
    index: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(root: &'a Node, from: &[u8]) -> Self {
        let mut cursor = Self {
            path: Vec::with_capacity(8),
            leaf: None,
            index: 0,
        };
        let mut node = root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let index = inner.child_index(from);
                    cursor.path.push((inner, index + 1));
                    let Some(child) = inner.children().get(index) else {
                        return cursor;
                    };
                    node = child;
                }
                Node::Leaf(leaf) => {
                    cursor.leaf = Some(leaf);
                    cursor.index = leaf.find(from).unwrap_or_else(|index| index);
                    return cursor;
                }
            }
        }
    }

    /// The leaf behind the current one.
    fn next_leaf(&mut self) -> Option<&'a Leaf> {
        loop {
            let (inner, index) = self.path.last_mut()?;
            let inner: &'a Inner = inner;
            let Some(child) = inner.children().get(*index) else {
                self.path.pop();
                continue;
            };
            *index += 1;
            match child {
                Node::Inner(inner) => self.path.push((inner, 0)),
                Node::Leaf(leaf) => return Some(leaf),
            }
        }
    }
}

impl<'a> Iterator for Cursor<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let leaf = self.leaf?;
            if self.index < leaf.len() {
                let item = (leaf.key(self.index), leaf.value(self.index));
                self.index += 1;
                return Some(item);
            }
            self.leaf = self.next_leaf();
            self.index = 0;
        }
    }
}
