//! Reading Chrome trace events one at a time, from either form: an object that has them under
//! `traceEvents`, or the bare array.
//!
//! Values of a type that nobody expects are as good as missing: writers differ in what they take
//! for a number.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A trace event.
#[derive(Debug, Default)]
pub(super) struct ChromeEvent<'a> {
    pub(super) phase: Cow<'a, str>,
    pub(super) category: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    pub(super) thread: u64,
    /// Time at which it begins, in microseconds, as is `duration`.
    pub(super) at: f64,
    pub(super) duration: f64,
    pub(super) arguments: ObjectFields<'a>,
}

/// The scalar fields of an object: of an event's arguments, of a group of tasks, or of `otherData`.
#[derive(Debug, Default)]
pub(super) struct ObjectFields<'a> {
    texts: Vec<(Cow<'a, str>, ScalarValue<'a>)>,
}

/// Number of an object's fields that are kept.
const FIELDS: usize = 16;

impl ObjectFields<'_> {
    pub(super) fn text(&self, name: &str) -> &str {
        match self.find(name) {
            Some(ScalarValue::Text(text)) => text,
            _ => "",
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.find(name).and_then(ScalarValue::number)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.find(name), Some(ScalarValue::Flag(true)))
    }

    /// Returns the fields that are numbers, or texts of numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = f64> {
        self.texts.iter().filter_map(|(_, value)| value.number())
    }

    fn find(&self, name: &str) -> Option<&ScalarValue<'_>> {
        self.texts.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// Receiver of the events and facts of a trace, as they are read.
pub(super) trait EventSink {
    /// Takes an event. An error ends the reading.
    fn take_event(&mut self, event: &ChromeEvent<'_>) -> Result<(), String>;
    /// Takes a field of `otherData`.
    fn take_facts(&mut self, facts: &ObjectFields<'_>);
    /// Takes a group of tasks in `otherData`.
    fn take_group(&mut self, group: &ObjectFields<'_>);
}

/// Reads a trace. On an error everything before it was given to the sink.
pub(super) fn read(bytes: &[u8], sink: &mut impl EventSink) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    WholeTrace(sink).deserialize(&mut reader)?;
    reader.end()
}

struct WholeTrace<'s, S>(&'s mut S);

impl<'de, S: EventSink> DeserializeSeed<'de> for WholeTrace<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: EventSink> Visitor<'de> for WholeTrace<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("trace events")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<TextSeed<'de>>()? {
            match &*key.0 {
                "traceEvents" => map.next_value_seed(EventList(self.0))?,
                "otherData" => map.next_value_seed(OtherData(self.0))?,
                _ => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        EventList(self.0).visit_seq(seq)
    }
}

struct EventList<'s, S>(&'s mut S);

impl<'de, S: EventSink> DeserializeSeed<'de> for EventList<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S: EventSink> Visitor<'de> for EventList<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(event) = seq.next_element::<ChromeEvent<'de>>()? {
            self.0.take_event(&event).map_err(de::Error::custom)?;
        }
        Ok(())
    }
}

struct OtherData<'s, S>(&'s mut S);

impl<'de, S: EventSink> DeserializeSeed<'de> for OtherData<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: EventSink> Visitor<'de> for OtherData<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut facts = ObjectFields::default();
        while let Some(key) = map.next_key::<TextSeed<'de>>()? {
            if key.0 == "tasks" {
                map.next_value_seed(TaskGroups(self.0))?;
            } else {
                let value = map.next_value::<ScalarValue<'de>>()?;
                facts.push(key.0, value);
            }
        }
        self.0.take_facts(&facts);
        Ok(())
    }
}

struct TaskGroups<'s, S>(&'s mut S);

impl<'de, S: EventSink> DeserializeSeed<'de> for TaskGroups<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S: EventSink> Visitor<'de> for TaskGroups<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of groups of tasks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(group) = seq.next_element::<ObjectFields<'de>>()? {
            self.0.take_group(&group);
        }
        Ok(())
    }
}

/// A text that is borrowed where nothing in it is escaped.
struct TextSeed<'a>(Cow<'a, str>);

impl<'de> de::Deserialize<'de> for TextSeed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextSeed<'de>, D::Error> {
        Ok(TextSeed(match ScalarValue::deserialize(deserializer)? {
            ScalarValue::Text(text) => text,
            _ => Cow::Borrowed(""),
        }))
    }
}

/// A JSON value that is no array and no object; those are skipped, and count as `None`.
#[derive(Debug)]
enum ScalarValue<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Flag(bool),
    None,
}

/// The largest number that is taken as it is: of microseconds, thirty thousand years.
const LARGEST: f64 = 1e18;

impl ScalarValue<'_> {
    /// Returns the number that the value is, or that its text is.
    fn number(&self) -> Option<f64> {
        let number = match self {
            ScalarValue::Number(number) => *number,
            ScalarValue::Text(text) => text.parse().ok()?,
            ScalarValue::Flag(_) | ScalarValue::None => return None,
        };
        // A sum of any of them is a number still.
        number.is_finite().then(|| number.clamp(-LARGEST, LARGEST))
    }
}

impl<'de> de::Deserialize<'de> for ScalarValue<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ScalarValue<'de>, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = ScalarValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<ScalarValue<'de>, E> {
        Ok(ScalarValue::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<ScalarValue<'de>, E> {
        Ok(ScalarValue::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<ScalarValue<'de>, E> {
        Ok(ScalarValue::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<ScalarValue<'de>, E> {
        Ok(ScalarValue::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<ScalarValue<'de>, E> {
        Ok(ScalarValue::Number(number as f64))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<ScalarValue<'de>, E> {
        Ok(ScalarValue::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<ScalarValue<'de>, E> {
        Ok(ScalarValue::None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ScalarValue<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(ScalarValue::None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ScalarValue<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ScalarValue::None)
    }
}

impl<'a> ObjectFields<'a> {
    fn push(&mut self, name: Cow<'a, str>, value: ScalarValue<'a>) {
        if self.texts.len() < FIELDS {
            self.texts.push((name, value));
        }
    }
}

impl<'de> de::Deserialize<'de> for ObjectFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ObjectFields<'de>, D::Error> {
        deserializer.deserialize_any(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = ObjectFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ObjectFields<'de>, A::Error> {
        let mut fields = ObjectFields::default();
        while let Some((name, value)) = map.next_entry::<TextSeed<'de>, ScalarValue<'de>>()? {
            fields.push(name.0, value);
        }
        Ok(fields)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ObjectFields<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ObjectFields::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<ObjectFields<'de>, E> {
        Ok(ObjectFields::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<ObjectFields<'de>, E> {
        Ok(ObjectFields::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<ObjectFields<'de>, E> {
        Ok(ObjectFields::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<ObjectFields<'de>, E> {
        Ok(ObjectFields::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<ObjectFields<'de>, E> {
        Ok(ObjectFields::default())
    }

    fn visit_unit<E>(self) -> Result<ObjectFields<'de>, E> {
        Ok(ObjectFields::default())
    }
}

impl<'de> de::Deserialize<'de> for ChromeEvent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ChromeEvent<'de>, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = ChromeEvent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ChromeEvent<'de>, A::Error> {
        let mut event = ChromeEvent::default();
        while let Some(key) = map.next_key::<TextSeed<'de>>()? {
            let text = |scalar| match scalar {
                ScalarValue::Text(text) => text,
                _ => Cow::Borrowed(""),
            };
            let number = |scalar: ScalarValue<'_>| scalar.number().unwrap_or(0.0);
            match &*key.0 {
                "ph" => event.phase = text(map.next_value()?),
                "cat" => event.category = text(map.next_value()?),
                "name" => event.name = text(map.next_value()?),
                "tid" => event.thread = number(map.next_value()?) as u64,
                "ts" => event.at = number(map.next_value()?),
                "dur" => event.duration = number(map.next_value()?),
                "args" => event.arguments = map.next_value()?,
                _ => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(event)
    }
}
