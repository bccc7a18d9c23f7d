//! Writing the protobuf wire format: varints, packed numbers and nested messages.
//!
//! A message describes itself once, to a [`FieldSink`]: one sink counts its bytes, the other writes
//! them. So a nested message's length is known before it is written, and no message has a buffer of
//! its own.

/// A message that writes its fields.
pub(super) trait WireMessage {
    /// Writes every field into the sink.
    fn write<S: FieldSink>(&self, sink: &mut S);
}

/// Takes the fields of a message.
pub(super) trait FieldSink: Sized {
    /// Takes a bare varint.
    fn varint(&mut self, value: u64);

    /// Takes bare bytes.
    fn bytes(&mut self, bytes: &[u8]);

    /// Takes a field of the varint type; zero, the default, is left out.
    fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint(tag(field, VARINT));
            self.varint(value);
        }
    }

    /// Takes a field of the varint type, negative values as ten bytes.
    fn signed(&mut self, field: u32, value: i64) {
        self.number(field, value as u64);
    }

    /// Takes a text, also where it is empty: the string table counts on it.
    fn text(&mut self, field: u32, text: &str) {
        self.blob(field, text.as_bytes());
    }

    /// Takes bytes, also where there are none.
    fn blob(&mut self, field: u32, bytes: &[u8]) {
        self.varint(tag(field, BYTES));
        self.varint(bytes.len() as u64);
        self.bytes(bytes);
    }

    /// Takes a nested message of fields that are written already; what is empty is left out.
    fn blobs<const N: usize>(&mut self, field: u32, fields: [(u32, &[u8]); N]) {
        let filled = fields.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        let len = |(field, bytes): (u32, &[u8])| {
            let head = varint_len(tag(field, BYTES)) + varint_len(bytes.len() as u64);
            head + bytes.len() as u64
        };
        self.varint(tag(field, BYTES));
        self.varint(filled.clone().map(len).sum());
        filled.for_each(|(field, bytes)| self.blob(field, bytes));
    }

    /// Takes a nested message.
    fn message<M: WireMessage>(&mut self, field: u32, message: &M) {
        self.varint(tag(field, BYTES));
        self.varint(measure(message));
        message.write(self);
    }

    /// Takes a packed list of numbers, zeros included; an empty list is left out.
    fn packed<I: Iterator<Item = u64> + Clone>(&mut self, field: u32, values: I) {
        let len: u64 = values.clone().map(varint_len).sum();
        if len != 0 {
            self.varint(tag(field, BYTES));
            self.varint(len);
            values.for_each(|value| self.varint(value));
        }
    }
}

/// The wire type of numbers.
pub(super) const VARINT: u32 = 0;
/// The wire type of eight bytes.
pub(super) const FIXED64: u32 = 1;
/// The wire type of texts, messages and packed lists.
pub(super) const BYTES: u32 = 2;
/// The wire type of four bytes.
pub(super) const FIXED32: u32 = 5;

fn tag(field: u32, wire_type: u32) -> u64 {
    u64::from(field << 3 | wire_type)
}

/// Returns the number of bytes of a message, without its tag and length.
fn measure<M: WireMessage>(message: &M) -> u64 {
    let mut count = ByteCount(0);
    message.write(&mut count);
    count.0
}

/// Returns the number of bytes of a varint: one for every seven bits, at least one.
fn varint_len(value: u64) -> u64 {
    let highest = u64::from((value | 1).ilog2());
    (highest * 9 + 73) / 64
}

/// Counts bytes.
struct ByteCount(u64);

impl FieldSink for ByteCount {
    fn varint(&mut self, value: u64) {
        self.0 += varint_len(value);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}

impl FieldSink for Vec<u8> {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_as_long_as_counted() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for value in edges.chain([u64::MAX]) {
            let mut out = Vec::new();
            out.varint(value);
            assert_eq!(out.len() as u64, varint_len(value), "{value}");
        }
    }

    #[test]
    fn writes_as_the_protobuf_documentation_says() {
        let mut out = Vec::new();
        out.number(1, 150);
        assert_eq!(out, [0x08, 0x96, 0x01]);
        out.clear();
        out.text(2, "testing");
        assert_eq!(out, b"\x12\x07testing");
        out.clear();
        out.packed(6, [3, 270, 86942].into_iter());
        assert_eq!(out, [0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05]);
    }
}
