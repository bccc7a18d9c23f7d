//! Reading the protobuf wire format: the fields of one message.

use super::{DecodeError, FieldProblem};
use crate::profile::wire::{BYTES, FIXED32, FIXED64, VARINT};

/// Reads the fields of a message.
pub(super) struct MessageReader<'a> {
    /// The message's name, for errors outside any known field.
    message: &'static str,
    rest: &'a [u8],
    /// The offset of the message's end.
    end: u64,
}

/// A field as it stands on the wire.
#[derive(Clone, Copy)]
pub(super) struct WireField<'a> {
    /// The field's number.
    pub(super) number: u64,
    /// Offset at which the field begins.
    pub(super) offset: u64,
    pub(super) value: WireValue<'a>,
    /// The offset of the field's end.
    end: u64,
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum WireValue<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Eight or four bytes: profile.proto has no such field.
    Fixed(u32),
}

impl<'a> MessageReader<'a> {
    /// Reads a message that stands at an offset.
    pub(super) fn new(message: &'static str, bytes: &'a [u8], offset: u64) -> MessageReader<'a> {
        MessageReader { message, rest: bytes, end: offset + bytes.len() as u64 }
    }

    /// Returns the number of bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Returns the number of bytes of the next field with its tag, where the tag and length can be
    /// read. The length may lead past the end.
    pub(super) fn extent(&self) -> Option<usize> {
        let mut rest = self.rest;
        let tag = varint(&mut rest).ok()?;
        if tag as u32 & 7 != BYTES {
            return None;
        }
        let length = usize::try_from(varint(&mut rest).ok()?).ok()?;
        length.checked_add(self.rest.len() - rest.len())
    }

    /// Reads the next field.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<WireField<'a>>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let offset = self.end - self.rest.len() as u64;
        // Nearly all fields are bytes, less than 128, with a number below 16.
        if let [tag @ ..0x80, length @ ..0x80, rest @ ..] = self.rest
            && u32::from(tag & 7) == BYTES
            && let Some((bytes, rest)) = rest.split_at_checked(usize::from(*length))
        {
            self.rest = rest;
            let (number, value) = (u64::from(tag >> 3), WireValue::Bytes(bytes));
            return Ok(Some(WireField {
                number,
                offset,
                value,
                end: self.end - rest.len() as u64,
            }));
        }
        match self.field(offset) {
            Ok(field) => Ok(Some(field)),
            Err(problem) => Err(DecodeError::Field { field: self.message, offset, problem }),
        }
    }

    fn field(&mut self, offset: u64) -> Result<WireField<'a>, FieldProblem> {
        let tag = varint(&mut self.rest)?;
        let value = match tag as u32 & 7 {
            VARINT => WireValue::Number(varint(&mut self.rest)?),
            BYTES => {
                let length = varint(&mut self.rest)?;
                WireValue::Bytes(self.take(length)?)
            }
            wire_type @ FIXED64 => {
                self.take(8)?;
                WireValue::Fixed(wire_type)
            }
            wire_type @ FIXED32 => {
                self.take(4)?;
                WireValue::Fixed(wire_type)
            }
            other => return Err(FieldProblem::WireType(other)),
        };
        let end = self.end - self.rest.len() as u64;
        Ok(WireField { number: tag >> 3, offset, value, end })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], FieldProblem> {
        let left = self.rest.len() as u64;
        match usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length)) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(FieldProblem::Overrun { needed: length, left }),
        }
    }
}

impl<'a> WireField<'a> {
    /// Returns the number of the field's bytes, with its tag.
    pub(super) fn size(&self) -> u64 {
        self.end - self.offset
    }

    /// Makes an error about this field, which is `name`.
    pub(super) fn error(&self, name: &'static str, problem: FieldProblem) -> DecodeError {
        DecodeError::Field { field: name, offset: self.offset, problem }
    }

    /// Reads the field as a number.
    pub(super) fn number(&self, name: &'static str) -> Result<u64, DecodeError> {
        match self.value {
            WireValue::Number(number) => Ok(number),
            _ => Err(self.wrong_type(name)),
        }
    }

    /// Reads the field as a number with a sign.
    pub(super) fn signed(&self, name: &'static str) -> Result<i64, DecodeError> {
        self.number(name).map(|number| number as i64)
    }

    /// Reads the field as a truth value.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, DecodeError> {
        self.number(name).map(|number| number != 0)
    }

    /// Returns the field as bytes.
    pub(super) fn bytes(&self, name: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.value {
            WireValue::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_type(name)),
        }
    }

    /// Returns the offset of the field's end.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Returns the field as a message.
    pub(super) fn message(&self, name: &'static str) -> Result<MessageReader<'a>, DecodeError> {
        Ok(MessageReader { message: name, rest: self.bytes(name)?, end: self.end })
    }

    /// Gives each of the field's numbers, packed or a single one.
    #[inline]
    pub(super) fn each_number(
        &self,
        name: &'static str,
        mut take: impl FnMut(u64),
    ) -> Result<(), DecodeError> {
        match self.value {
            WireValue::Number(number) => take(number),
            WireValue::Bytes(mut rest) => {
                while !rest.is_empty() {
                    take(varint(&mut rest).map_err(|problem| self.error(name, problem))?);
                }
            }
            WireValue::Fixed(_) => return Err(self.wrong_type(name)),
        }
        Ok(())
    }

    fn wrong_type(&self, name: &'static str) -> DecodeError {
        let wire_type = match self.value {
            WireValue::Number(_) => VARINT,
            WireValue::Bytes(_) => BYTES,
            WireValue::Fixed(wire_type) => wire_type,
        };
        self.error(name, FieldProblem::WireType(wire_type))
    }
}

/// Reads a varint. Bits past the 64th are dropped, as by Go and C++.
#[inline]
pub(in crate::profile) fn varint(bytes: &mut &[u8]) -> Result<u64, FieldProblem> {
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Ok(u64::from(first))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
        }
        [first, second, third, ref rest @ ..] if third < 0x80 => {
            *bytes = rest;
            Ok(u64::from(first & 0x7f) | u64::from(second & 0x7f) << 7 | u64::from(third) << 14)
        }
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &mut &[u8]) -> Result<u64, FieldProblem> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(number);
        }
    }
    Err(if bytes.len() < 10 { FieldProblem::CutShort } else { FieldProblem::TooLong })
}
