//! Documents that can be changed: only what lies on the way to a change is taken apart, the rest
//! stays a slice of the old document. Written back in the server's binary form.

use super::{JsonContainer, JsonDocument, JsonValue, malformed, tag};
use crate::{Error, ErrorKind, Limits, Result};

/// A value in a document that is being changed.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// As it stands in the document, not looked into.
    Whole(JsonValue<'a>),
    Array(Vec<Node<'a>>),
    /// Sorted by length of the key, then by its bytes.
    Object(Vec<(Vec<u8>, Node<'a>)>),
}

/// Longest key: its length is kept in 16 bits.
const KEY_LENGTH: usize = 0xffff;

impl<'a> Node<'a> {
    pub(super) fn of(document: &JsonDocument<'a>) -> Result<Self> {
        document.root().map(Node::Whole)
    }

    /// Takes an untouched array or object apart, one level deep.
    fn open(&mut self) -> Result<()> {
        let whole = match self {
            Self::Whole(whole) => *whole,
            _ => return Ok(()),
        };
        match whole {
            JsonValue::Array(array) => {
                let mut nodes = Vec::new();
                for index in 0..array.len() {
                    nodes.push(Node::Whole(array.value(index)?));
                }
                *self = Self::Array(nodes);
            }
            JsonValue::Object(object) => {
                let mut members = Vec::new();
                for index in 0..object.len() {
                    let key = object.key(index)?.to_vec();
                    members.push((key, Node::Whole(object.value(index)?)));
                }
                *self = Self::Object(members);
            }
            _ => {}
        }
        Ok(())
    }

    /// The member with this key; `None` where there is none or this is no object.
    pub(super) fn member(&mut self, key: &[u8]) -> Result<Option<&mut Node<'a>>> {
        self.open()?;
        Ok(match self {
            Self::Object(members) => match place(members, key) {
                Ok(index) => members.get_mut(index).map(|(_, node)| node),
                Err(_) => None,
            },
            _ => None,
        })
    }

    /// The element at this place; `None` where there is none or this is no array.
    pub(super) fn element(&mut self, index: usize) -> Result<Option<&mut Node<'a>>> {
        self.open()?;
        Ok(match self {
            Self::Array(nodes) => nodes.get_mut(index),
            _ => None,
        })
    }

    /// Adds a member; false where its key is there already or this is no object.
    pub(super) fn insert_member(&mut self, key: Vec<u8>, node: Node<'a>) -> Result<bool> {
        self.open()?;
        Ok(match self {
            Self::Object(members) => match place(members, &key) {
                Ok(_) => false,
                Err(index) => {
                    members.insert(index, (key, node));
                    true
                }
            },
            _ => false,
        })
    }

    /// Adds an element in front of the one at `index`, or as the last one; false where this is no
    /// array.
    pub(super) fn insert_element(&mut self, index: usize, node: Node<'a>) -> Result<bool> {
        self.open()?;
        Ok(match self {
            Self::Array(nodes) => {
                nodes.insert(index.min(nodes.len()), node);
                true
            }
            _ => false,
        })
    }

    /// Takes a member out; false where there is none.
    pub(super) fn remove_member(&mut self, key: &[u8]) -> Result<bool> {
        self.open()?;
        Ok(match self {
            Self::Object(members) => match place(members, key) {
                Ok(index) => {
                    members.remove(index);
                    true
                }
                Err(_) => false,
            },
            _ => false,
        })
    }

    /// Takes an element out; false where there is none.
    pub(super) fn remove_element(&mut self, index: usize) -> Result<bool> {
        self.open()?;
        Ok(match self {
            Self::Array(nodes) if index < nodes.len() => {
                nodes.remove(index);
                true
            }
            _ => false,
        })
    }

    /// Appends the document: type byte and value.
    pub(super) fn write(&self, limits: &Limits, out: &mut Vec<u8>) -> Result<()> {
        let at = out.len();
        out.push(0);
        let tag_byte = self.write_value(limits.json_depth, out)?;
        if let Some(place) = out.get_mut(at) {
            *place = tag_byte;
        }
        Ok(())
    }

    /// Appends the value without its type byte, which is returned.
    fn write_value(&self, depth: usize, out: &mut Vec<u8>) -> Result<u8> {
        match self {
            Self::Whole(value) => write_whole(value, out),
            Self::Array(nodes) => {
                let members = nodes.iter().map(|node| (&[][..], node));
                write_container(members, nodes.len(), false, depth, out)
            }
            Self::Object(members) => {
                let members_of = members.iter().map(|(key, node)| (key.as_slice(), node));
                write_container(members_of, members.len(), true, depth, out)
            }
        }
    }

    /// The value where an entry of a container has room for it, as `(type, bits)`.
    fn inlined(&self, is_large: bool) -> Option<(u8, u32)> {
        let Self::Whole(value) = self else {
            return None;
        };
        match *value {
            JsonValue::Null => Some((tag::LITERAL, 0)),
            JsonValue::Bool(true) => Some((tag::LITERAL, 1)),
            JsonValue::Bool(false) => Some((tag::LITERAL, 2)),
            JsonValue::Int(number) => match (i16::try_from(number), i32::try_from(number)) {
                (Ok(number), _) => Some((tag::INT16, u32::from(number as u16))),
                (_, Ok(number)) if is_large => Some((tag::INT32, number as u32)),
                _ => None,
            },
            JsonValue::UnsignedInt(number) => {
                match (u16::try_from(number), u32::try_from(number)) {
                    (Ok(number), _) => Some((tag::UINT16, u32::from(number))),
                    (_, Ok(number)) if is_large => Some((tag::UINT32, number)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn place<'a>(members: &[(Vec<u8>, Node<'a>)], key: &[u8]) -> std::result::Result<usize, usize> {
    members.binary_search_by(|(here, _)| here.len().cmp(&key.len()).then_with(|| here[..].cmp(key)))
}

fn write_whole(value: &JsonValue<'_>, out: &mut Vec<u8>) -> Result<u8> {
    Ok(match *value {
        JsonValue::Null => {
            out.push(0);
            tag::LITERAL
        }
        JsonValue::Bool(value) => {
            out.push(if value { 1 } else { 2 });
            tag::LITERAL
        }
        JsonValue::Int(number) => {
            if let Ok(number) = i16::try_from(number) {
                out.extend_from_slice(&number.to_le_bytes());
                tag::INT16
            } else if let Ok(number) = i32::try_from(number) {
                out.extend_from_slice(&number.to_le_bytes());
                tag::INT32
            } else {
                out.extend_from_slice(&number.to_le_bytes());
                tag::INT64
            }
        }
        JsonValue::UnsignedInt(number) => {
            if let Ok(number) = u16::try_from(number) {
                out.extend_from_slice(&number.to_le_bytes());
                tag::UINT16
            } else if let Ok(number) = u32::try_from(number) {
                out.extend_from_slice(&number.to_le_bytes());
                tag::UINT32
            } else {
                out.extend_from_slice(&number.to_le_bytes());
                tag::UINT64
            }
        }
        JsonValue::Double(number) => {
            out.extend_from_slice(&number.to_le_bytes());
            tag::DOUBLE
        }
        JsonValue::String(text) => {
            put_counted(text, out);
            tag::STRING
        }
        JsonValue::Opaque { type_number, data } => {
            out.push(type_number);
            put_counted(data, out);
            tag::OPAQUE
        }
        JsonValue::Array(container) | JsonValue::Object(container) => {
            // Offsets count from the container's own start: it can stand anywhere.
            out.extend_from_slice(container.bytes());
            container.tag()
        }
    })
}

fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    let mut length = bytes.len();
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// Writes the small form, or the large one where that does not do.
fn write_container<'n, 'a: 'n>(
    members: impl Iterator<Item = (&'n [u8], &'n Node<'a>)> + Clone,
    count: usize,
    is_object: bool,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<u8> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Error::new(
            ErrorKind::Limit,
            "JSON document nested too deep (limit json_depth)",
        ));
    };
    let start = out.len();
    for is_large in [false, true] {
        out.truncate(start);
        let form = Form {
            is_large,
            is_object,
            count,
            start,
        };
        if form.write(members.clone(), depth, out)? {
            let container_tag = match (is_object, is_large) {
                (true, false) => tag::SMALL_OBJECT,
                (true, true) => tag::LARGE_OBJECT,
                (false, false) => tag::SMALL_ARRAY,
                (false, true) => tag::LARGE_ARRAY,
            };
            return Ok(container_tag);
        }
    }
    Err(malformed("document of more than 4 GiB"))
}

/// A container that is being written at `start`.
struct Form {
    is_large: bool,
    is_object: bool,
    count: usize,
    start: usize,
}

impl Form {
    fn width(&self) -> usize {
        if self.is_large { 4 } else { 2 }
    }

    /// Puts a number of this form's width at `at`, counted from the container's start; false where
    /// it does not fit.
    fn put(&self, at: usize, number: usize, out: &mut [u8]) -> bool {
        let Ok(number) = u32::try_from(number) else {
            return false;
        };
        let bytes = number.to_le_bytes();
        let (value, rest) = bytes.split_at(self.width());
        let at = self.start + at;
        if rest.iter().any(|byte| *byte != 0) {
            return false;
        }
        match out.get_mut(at..at + value.len()) {
            Some(place) => {
                place.copy_from_slice(value);
                true
            }
            None => false,
        }
    }

    /// False where the container is too large for this form.
    fn write<'n, 'a: 'n>(
        &self,
        members: impl Iterator<Item = (&'n [u8], &'n Node<'a>)> + Clone,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool> {
        let width = self.width();
        let key_entry = if self.is_object { width + 2 } else { 0 };
        let values_at = 2 * width + self.count * key_entry;
        let head = values_at + self.count * (1 + width);
        if !self.is_large && head > 0xffff {
            return Ok(false);
        }
        out.resize(self.start + head, 0);
        if !self.put(0, self.count, out) {
            return Ok(false);
        }
        if self.is_object {
            for (index, (key, _)) in members.clone().enumerate() {
                let at = 2 * width + index * key_entry;
                if key.len() > KEY_LENGTH {
                    return Err(malformed(format_args!("key of {} bytes", key.len())));
                }
                let length = (key.len() as u16).to_le_bytes();
                let offset = out.len() - self.start;
                out.extend_from_slice(key);
                let length_at = self.start + at + width;
                if let Some(place) = out.get_mut(length_at..length_at + 2) {
                    place.copy_from_slice(&length);
                }
                if !self.put(at, offset, out) {
                    return Ok(false);
                }
            }
        }
        for (index, (_, node)) in members.enumerate() {
            let at = values_at + index * (1 + width);
            let (tag_byte, bits) = match node.inlined(self.is_large) {
                Some((tag_byte, bits)) => (tag_byte, bits as usize),
                None => {
                    let offset = out.len() - self.start;
                    (node.write_value(depth, out)?, offset)
                }
            };
            if let Some(place) = out.get_mut(self.start + at) {
                *place = tag_byte;
            }
            if !self.put(at + 1, bits, out) {
                return Ok(false);
            }
        }
        let size = out.len() - self.start;
        Ok(self.put(width, size, out))
    }
}

impl<'a> JsonContainer<'a> {
    fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn tag(&self) -> u8 {
        match (self.is_object, self.is_large) {
            (true, false) => tag::SMALL_OBJECT,
            (true, true) => tag::LARGE_OBJECT,
            (false, false) => tag::SMALL_ARRAY,
            (false, true) => tag::LARGE_ARRAY,
        }
    }
}
