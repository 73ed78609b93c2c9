//! The memory of nodes.
//!
//! Behind every published snapshot the applier copies the nodes that it changes, and soon afterwards
//! lets the old ones go: thousands of buffers of the same sizes come and go in every group commit.
//! General allocators are slow at just that, so a thread that makes such buffers keeps some of those
//! that it frees. Old nodes are often let go by another thread than makes the new ones: what one has too
//! many of, and what one leaves behind when it ends, others take.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use parking_lot::Mutex;

use super::leaf::Slot;
use super::{FAN_OUT, Node, PAGE};

/// Buffers that go from one thread to another at once.
const CHUNK: usize = 128;
/// Such chunks that wait for whoever needs them; 32 MiB of pages.
const CHUNKS_KEPT: usize = 64;
/// Slots of a new page; it grows where rows are small.
const SLOTS: usize = 24;

/// The memory of a leaf.
type PageBuffers = (Vec<u8>, Vec<Slot>);

/// Buffers that any thread may take.
type Shared<T> = Mutex<Vec<Vec<T>>>;

static SHARED_PAGES: Shared<PageBuffers> = Mutex::new(Vec::new());
static SHARED_CHILDREN: Shared<Vec<Node>> = Mutex::new(Vec::new());

/// Buffers of one thread.
struct Free<T: 'static> {
    /// `None` on threads that never made one: a reader that frees some has no use for them.
    own: Option<Vec<T>>,
    shared: &'static Shared<T>,
}

thread_local! {
    static PAGES: RefCell<Free<PageBuffers>> = const { Free::new(&SHARED_PAGES) };
    static CHILDREN: RefCell<Free<Vec<Node>>> = const { Free::new(&SHARED_CHILDREN) };
}

impl<T> Free<T> {
    const fn new(shared: &'static Shared<T>) -> RefCell<Self> {
        RefCell::new(Self { own: None, shared })
    }

    fn share(&self, chunk: Vec<T>) {
        let mut shared = self.shared.lock();
        if shared.len() < CHUNKS_KEPT {
            shared.push(chunk);
        }
    }
}

impl<T> Drop for Free<T> {
    fn drop(&mut self) {
        match self.own.take() {
            Some(own) if !own.is_empty() => self.share(own),
            _ => {}
        }
    }
}

/// A buffer, if there is one; from now on the thread keeps such buffers.
fn take<T>(free: &RefCell<Free<T>>) -> Option<T> {
    let free = &mut *free.borrow_mut();
    let own = free.own.get_or_insert_default();
    if own.is_empty()
        && let Some(chunk) = free.shared.lock().pop()
    {
        *own = chunk;
    }
    own.pop()
}

/// Keeps a buffer, or frees it.
fn keep<T>(free: &RefCell<Free<T>>, buffer: T) {
    let free = &mut *free.borrow_mut();
    let Some(own) = &mut free.own else {
        return;
    };
    own.push(buffer);
    if own.len() >= 2 * CHUNK {
        let chunk = own.split_off(CHUNK);
        free.share(chunk);
    }
}

/// The heap and the slots of a leaf.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) heap: Vec<u8>,
    pub(super) slots: Vec<Slot>,
}

impl Page {
    /// A page without memory.
    pub(super) fn empty() -> Self {
        Self {
            heap: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// An empty page with room for so many bytes in its heap.
    pub(super) fn with_room(bytes: usize) -> Self {
        // While a thread ends it has no such list any more.
        let kept = PAGES.try_with(take).ok().flatten();
        let (mut heap, slots) =
            kept.unwrap_or_else(|| (Vec::with_capacity(PAGE), Vec::with_capacity(SLOTS)));
        heap.reserve_exact(bytes);
        Self { heap, slots }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Larger ones held unusual rows.
        if self.heap.capacity() == PAGE {
            self.heap.clear();
            self.slots.clear();
            let buffers = (
                std::mem::take(&mut self.heap),
                std::mem::take(&mut self.slots),
            );
            let _ = PAGES.try_with(|free| keep(free, buffers));
        }
    }
}

/// The children of an inner node.
#[derive(Debug)]
pub(super) struct Children(Vec<Node>);

impl Children {
    /// No children, with room for as many as there can be while one is split.
    pub(super) fn new() -> Self {
        let kept = CHILDREN.try_with(take).ok().flatten();
        Self(kept.unwrap_or_else(|| Vec::with_capacity(FAN_OUT + 1)))
    }

    /// Takes the children from `at` on out.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self::new();
        rest.extend(self.drain(at..));
        rest
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        // Nodes that go with it come back here: the list must not be borrowed meanwhile.
        self.0.clear();
        let buffer = std::mem::take(&mut self.0);
        let _ = CHILDREN.try_with(|free| keep(free, buffer));
    }
}

impl Clone for Children {
    fn clone(&self) -> Self {
        let mut copy = Self::new();
        copy.extend_from_slice(self);
        copy
    }
}

impl FromIterator<Node> for Children {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        let mut children = Self::new();
        children.extend(nodes);
        children
    }
}

impl Deref for Children {
    type Target = Vec<Node>;

    fn deref(&self) -> &Vec<Node> {
        &self.0
    }
}

impl DerefMut for Children {
    fn deref_mut(&mut self) -> &mut Vec<Node> {
        &mut self.0
    }
}
