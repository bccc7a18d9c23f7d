//! Writing a profile as profile.proto.

use super::stream::SampleStream;
use super::wire::{FieldSink, WireMessage};
use super::{Function, Label, Line, Location, Mapping, Profile, Sample, StrId, ValueType};

impl Profile {
    /// Encodes the profile as raw protobuf. Ids are indices plus one, in order.
    ///
    /// Consumers expect gzip; see [`Profile::encode_gzip`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, |_| ());
        out
    }

    /// Encodes the profile as a single gzip member, as every tool expects it.
    ///
    /// The raw form is never held as a whole.
    pub fn encode_gzip(&self) -> Vec<u8> {
        SampleStream::new().finish(self)
    }

    /// Writes field by field, and lets `drain` empty the buffer after each.
    pub(super) fn write(&self, out: &mut Vec<u8>, mut drain: impl FnMut(&mut Vec<u8>)) {
        for value_type in &self.sample_types {
            out.message(1, value_type);
        }
        for sample in self.samples.iter() {
            out.message(2, &sample);
            drain(out);
        }
        for (id, mapping) in (1..).zip(&self.mappings) {
            out.message(3, &(id, mapping));
            drain(out);
        }
        for (id, location) in (1..).zip(&self.locations) {
            out.message(4, &(id, location, self.lines_of(location)));
            drain(out);
        }
        for (id, function) in (1..).zip(&self.functions) {
            out.message(5, &(id, function));
            drain(out);
        }
        for text in self.strings.iter() {
            out.text(6, text);
            drain(out);
        }
        string(out, 7, self.drop_frames);
        string(out, 8, self.keep_frames);
        out.signed(9, self.time_nanos);
        out.signed(10, self.duration_nanos);
        if let Some(period_type) = &self.period_type {
            out.message(11, period_type);
        }
        out.signed(12, self.period);
        out.packed(13, self.comments.iter().map(|id| u64::from(id.0)));
        string(out, 14, self.default_sample_type);
        string(out, 15, self.doc_url);
    }
}

fn string<S: FieldSink>(sink: &mut S, field: u32, id: StrId) {
    sink.number(field, u64::from(id.0));
}

fn flag<S: FieldSink>(sink: &mut S, field: u32, set: bool) {
    sink.number(field, u64::from(set));
}

/// Returns the id on the wire of the element at an index.
fn id(index: u32) -> u64 {
    u64::from(index) + 1
}

impl WireMessage for ValueType {
    fn write<S: FieldSink>(&self, sink: &mut S) {
        string(sink, 1, self.kind);
        string(sink, 2, self.unit);
    }
}

impl WireMessage for Sample<'_> {
    fn write<S: FieldSink>(&self, sink: &mut S) {
        sink.packed(1, self.stack.iter().map(|&index| id(index)));
        sink.packed(2, self.values.iter().map(|&value| value as u64));
        for label in self.labels {
            sink.message(3, label);
        }
    }
}

impl WireMessage for Label {
    fn write<S: FieldSink>(&self, sink: &mut S) {
        string(sink, 1, self.key);
        string(sink, 2, self.str);
        sink.signed(3, self.num);
        string(sink, 4, self.num_unit);
    }
}

impl WireMessage for (u64, &Mapping) {
    fn write<S: FieldSink>(&self, sink: &mut S) {
        let (id, mapping) = *self;
        sink.number(1, id);
        sink.number(2, mapping.start);
        sink.number(3, mapping.limit);
        sink.number(4, mapping.offset);
        string(sink, 5, mapping.filename);
        string(sink, 6, mapping.build_id);
        flag(sink, 7, mapping.has_functions);
        flag(sink, 8, mapping.has_filenames);
        flag(sink, 9, mapping.has_line_numbers);
        flag(sink, 10, mapping.has_inline_frames);
    }
}

impl WireMessage for (u64, &Location, &[Line]) {
    fn write<S: FieldSink>(&self, sink: &mut S) {
        let (number, location, lines) = *self;
        sink.number(1, number);
        sink.number(2, location.mapping.map_or(0, id));
        sink.number(3, location.address);
        for line in lines {
            sink.message(4, line);
        }
        flag(sink, 5, location.is_folded);
    }
}

impl WireMessage for Line {
    fn write<S: FieldSink>(&self, sink: &mut S) {
        sink.number(1, id(self.function));
        sink.signed(2, self.line);
        sink.signed(3, self.column);
    }
}

impl WireMessage for (u64, &Function) {
    fn write<S: FieldSink>(&self, sink: &mut S) {
        let (id, function) = *self;
        sink.number(1, id);
        string(sink, 2, function.name);
        string(sink, 3, function.system_name);
        string(sink, 4, function.filename);
        sink.signed(5, function.start_line);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use crate::profile::Builder;

    #[test]
    fn writes_the_bytes_that_profile_proto_asks_for() {
        let mut builder = Builder::new(&[("a", "b")]);
        let key = builder.number_label("k", -1, "u");
        let location = builder.location(None, 300, &[]);
        builder.sample(&[location], &[0], &[key]);
        builder.period("a", "b", 5);
        let expected = [
            b"\x0a\x04\x08\x01\x10\x02".as_slice(),
            b"\x12\x17\x0a\x01\x01\x12\x01\x00",
            b"\x1a\x0f\x08\x03\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x20\x04",
            b"\x22\x05\x08\x01\x18\xac\x02",
            b"\x32\x00\x32\x01a\x32\x01b\x32\x01k\x32\x01u",
            b"\x5a\x04\x08\x01\x10\x02\x60\x05",
        ]
        .concat();
        assert_eq!(builder.finish().encode(), expected);
    }

    #[test]
    fn gzip_holds_the_raw_form() {
        let mut builder = Builder::new(&[("samples", "count")]);
        for number in 0..20_000 {
            let location = builder.location(None, number, &[]);
            builder.sample(&[location], &[1], &[]);
        }
        let profile = builder.finish();
        let mut raw = Vec::new();
        GzDecoder::new(profile.encode_gzip().as_slice()).read_to_end(&mut raw).unwrap();
        assert!(raw.len() > super::super::stream::CHUNK);
        assert_eq!(raw, profile.encode());
    }
}
