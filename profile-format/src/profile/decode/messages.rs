//! The messages of profile.proto, one function each.

use super::ids::{IdList, IdRefs};
use super::reader::{MessageReader, WireField};
use super::{DecodeError, FieldProblem};
use crate::profile::{
    Function, Label, Line, Location, Mapping, Profile, Samples, StrId, ValueType,
};

type Result<T> = std::result::Result<T, DecodeError>;

/// The most sample types. Tracers have twenty, and each costs a value in every sample.
const MOST_TYPES: usize = 1024;

/// The parts that have been read, with references not yet resolved.
#[derive(Default)]
pub(super) struct ProfileParts {
    /// The profile. Its stacks and lines hold references, and so do its locations' mappings.
    pub(super) profile: Profile,
    /// Entries of the string table; the first is there without being read.
    pub(super) strings_read: u64,
    pub(super) strings: StringRefs,
    pub(super) mapping_ids: IdList,
    pub(super) location_ids: IdList,
    pub(super) function_ids: IdList,
    pub(super) mapping_refs: IdRefs,
    pub(super) location_refs: IdRefs,
    pub(super) function_refs: IdRefs,
    /// The number of values that the first sample has, and its offset: the others are held to it.
    pub(super) first_sample: Option<(usize, u64)>,
}

/// The highest string index seen: if that one is in range, all are.
#[derive(Default)]
pub(super) struct StringRefs {
    highest: u32,
    field: &'static str,
    offset: u64,
}

impl StringRefs {
    fn read(&mut self, field: &WireField<'_>, name: &'static str) -> Result<StrId> {
        let number = field.number(name)?;
        self.see(number, field, name)
    }

    fn see(&mut self, index: u64, field: &WireField<'_>, name: &'static str) -> Result<StrId> {
        let Ok(short) = u32::try_from(index) else {
            return Err(field.error(name, FieldProblem::NoString { index, count: 1 << 32 }));
        };
        if short > self.highest {
            *self = StringRefs { highest: short, field: name, offset: field.offset };
        }
        Ok(StrId(short))
    }

    /// Checks the highest index against the number of strings.
    pub(super) fn check(&self, count: u64) -> Result<()> {
        let index = u64::from(self.highest);
        if index < count {
            return Ok(());
        }
        let problem = FieldProblem::NoString { index, count };
        Err(DecodeError::Field { field: self.field, offset: self.offset, problem })
    }
}

impl ProfileParts {
    /// Takes a field of the outermost message.
    pub(super) fn take(&mut self, field: &WireField<'_>) -> Result<()> {
        match field.number {
            1 if self.profile.sample_types.len() == MOST_TYPES => {
                let limit = MOST_TYPES as u64;
                return Err(DecodeError::TooLarge { what: "sample types", limit });
            }
            1 => {
                let value_type = self.value_type(field.message("sample_type")?)?;
                self.profile.sample_types.push(value_type);
            }
            2 => self.sample(field)?,
            3 => self.mapping(field)?,
            4 => self.location(field)?,
            5 => self.function(field)?,
            6 => self.string(field)?,
            7 => self.profile.drop_frames = self.strings.read(field, "drop_frames")?,
            8 => self.profile.keep_frames = self.strings.read(field, "keep_frames")?,
            9 if self.profile.time_nanos != 0 => {
                return Err(DecodeError::Concatenated { offset: field.offset });
            }
            9 => self.profile.time_nanos = field.signed("time_nanos")?,
            10 => self.profile.duration_nanos = field.signed("duration_nanos")?,
            11 => {
                let value_type = self.value_type(field.message("period_type")?)?;
                self.profile.period_type = Some(value_type);
            }
            12 => self.profile.period = field.signed("period")?,
            13 => self.comments(field)?,
            14 => {
                self.profile.default_sample_type =
                    self.strings.read(field, "default_sample_type")?;
            }
            15 => self.profile.doc_url = self.strings.read(field, "doc_url")?,
            _ => {}
        }
        Ok(())
    }

    fn value_type(&mut self, mut reader: MessageReader<'_>) -> Result<ValueType> {
        let mut value_type = ValueType::default();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => value_type.kind = self.strings.read(&field, "value_type.type")?,
                2 => value_type.unit = self.strings.read(&field, "value_type.unit")?,
                _ => {}
            }
        }
        Ok(value_type)
    }

    fn sample(&mut self, message: &WireField<'_>) -> Result<()> {
        let mut reader = message.message("sample")?;
        let Samples { stacks, stack_ends, values, labels, label_ends, .. } =
            &mut self.profile.samples;
        let values_before = values.len();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => field.each_number("sample.location_id", |id| {
                    stacks.push(self.location_refs.shorten(id));
                })?,
                2 => field.each_number("sample.value", |value| values.push(value as i64))?,
                3 => labels.push(label(&mut self.strings, field.message("sample.label")?)?),
                _ => {}
            }
        }
        let found = values.len() - values_before;
        stack_ends.push(stacks.len());
        label_ends.push(labels.len());
        self.count_values(found, message)
    }

    /// Holds a sample's number of values to that of the first one.
    pub(super) fn count_values(&mut self, found: usize, message: &WireField<'_>) -> Result<()> {
        let (expected, _) = *self.first_sample.get_or_insert((found, message.offset));
        if found != expected {
            let (found, expected) = (found as u64, expected as u64);
            return Err(message.error("sample", FieldProblem::ValueCount { found, expected }));
        }
        Ok(())
    }

    fn mapping(&mut self, message: &WireField<'_>) -> Result<()> {
        let mut reader = message.message("mapping")?;
        let strings = &mut self.strings;
        let mut mapping = Mapping::default();
        let mut id = 0;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => id = field.number("mapping.id")?,
                2 => mapping.start = field.number("mapping.memory_start")?,
                3 => mapping.limit = field.number("mapping.memory_limit")?,
                4 => mapping.offset = field.number("mapping.file_offset")?,
                5 => mapping.filename = strings.read(&field, "mapping.filename")?,
                6 => mapping.build_id = strings.read(&field, "mapping.build_id")?,
                7 => mapping.has_functions = field.flag("mapping.has_functions")?,
                8 => mapping.has_filenames = field.flag("mapping.has_filenames")?,
                9 => mapping.has_line_numbers = field.flag("mapping.has_line_numbers")?,
                10 => mapping.has_inline_frames = field.flag("mapping.has_inline_frames")?,
                _ => {}
            }
        }
        self.mapping_ids.push(nonzero(id, message, "mapping.id")?);
        self.profile.mappings.push(mapping);
        Ok(())
    }

    fn location(&mut self, message: &WireField<'_>) -> Result<()> {
        let mut reader = message.message("location")?;
        let mut location = Location::default();
        let mut id = 0;
        let start = self.profile.lines.len() as u32;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => id = field.number("location.id")?,
                2 => {
                    let mapping = field.number("location.mapping_id")?;
                    let reference = self.mapping_refs.shorten(mapping);
                    location.mapping = (mapping != 0).then_some(reference);
                }
                3 => location.address = field.number("location.address")?,
                4 => {
                    let line = self.line(&field)?;
                    self.profile.lines.push(line);
                }
                5 => location.is_folded = field.flag("location.is_folded")?,
                _ => {}
            }
        }
        self.location_ids.push(nonzero(id, message, "location.id")?);
        location.lines = start..self.profile.lines.len() as u32;
        self.profile.locations.push(location);
        Ok(())
    }

    fn line(&mut self, message: &WireField<'_>) -> Result<Line> {
        let mut reader = message.message("location.line")?;
        let mut line = Line::default();
        let mut function = 0;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => function = field.number("line.function_id")?,
                2 => line.line = field.signed("line.line")?,
                3 => line.column = field.signed("line.column")?,
                _ => {}
            }
        }
        let function = nonzero(function, message, "line.function_id")?;
        line.function = self.function_refs.shorten(function);
        Ok(line)
    }

    fn function(&mut self, message: &WireField<'_>) -> Result<()> {
        let mut reader = message.message("function")?;
        let strings = &mut self.strings;
        let mut function = Function::default();
        let mut id = 0;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => id = field.number("function.id")?,
                2 => function.name = strings.read(&field, "function.name")?,
                3 => function.system_name = strings.read(&field, "function.system_name")?,
                4 => function.filename = strings.read(&field, "function.filename")?,
                5 => function.start_line = field.signed("function.start_line")?,
                _ => {}
            }
        }
        self.function_ids.push(nonzero(id, message, "function.id")?);
        self.profile.functions.push(function);
        Ok(())
    }

    fn string(&mut self, field: &WireField<'_>) -> Result<()> {
        let bytes = field.bytes("string_table")?;
        self.strings_read += 1;
        if self.strings_read == 1 {
            return match bytes {
                [] => Ok(()),
                _ => Err(field.error("string_table", FieldProblem::FirstString)),
            };
        }
        self.profile.strings.push(&String::from_utf8_lossy(bytes));
        Ok(())
    }

    fn comments(&mut self, field: &WireField<'_>) -> Result<()> {
        let mut problem = None;
        field.each_number("comment", |index| match self.strings.see(index, field, "comment") {
            Ok(id) => self.profile.comments.push(id),
            Err(error) => problem = Some(error),
        })?;
        problem.map_or(Ok(()), Err)
    }
}

/// Reads a label.
pub(super) fn label(strings: &mut StringRefs, mut reader: MessageReader<'_>) -> Result<Label> {
    let mut label = Label::default();
    while let Some(field) = reader.next()? {
        match field.number {
            1 => label.key = strings.read(&field, "label.key")?,
            2 => label.str = strings.read(&field, "label.str")?,
            3 => label.num = field.signed("label.num")?,
            4 => label.num_unit = strings.read(&field, "label.num_unit")?,
            _ => {}
        }
    }
    Ok(label)
}

fn nonzero(id: u64, message: &WireField<'_>, name: &'static str) -> Result<u64> {
    if id == 0 { Err(message.error(name, FieldProblem::ZeroId)) } else { Ok(id) }
}
