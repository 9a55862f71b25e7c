//! How the parts of a message are read: each function takes the field's name, for the error.

use std::str::FromStr;

use allot_model::{InvalidId, TaskRange};

use crate::WireError;

/// An identifier.
pub(super) fn id<T: FromStr<Err = InvalidId>>(text: &str, field: &str) -> Result<T, WireError> {
    text.parse().map_err(|error| WireError::field(field, error))
}

/// A field that has to be there.
pub(super) fn required<T>(value: Option<T>, field: &str) -> Result<T, WireError> {
    value.ok_or_else(|| WireError::missing(field))
}

/// A message within a message, which has to be there.
pub(super) fn part<M, T>(message: Option<M>, field: &str) -> Result<T, WireError>
where
    T: TryFrom<M, Error = WireError>,
{
    required(message, field)?.try_into().map_err(|error: WireError| error.within(field))
}

/// Messages within a message.
pub(super) fn parts<M, T>(messages: Vec<M>, field: &str) -> Result<Vec<T>, WireError>
where
    T: TryFrom<M, Error = WireError>,
{
    let read = |(i, message): (usize, M)| {
        message.try_into().map_err(|error: WireError| error.within(format_args!("{field}[{i}]")))
    };
    messages.into_iter().enumerate().map(read).collect()
}

/// How many slots a run of tasks has, where that is not one for each.
pub(super) fn fewer_slots(slots: u64, tasks: TaskRange) -> Option<u64> {
    (slots != tasks.count()).then_some(slots)
}

/// How many slots a run of tasks has: one for each unless it says otherwise.
pub(super) fn slots(slots: Option<u64>, tasks: TaskRange) -> u64 {
    slots.unwrap_or_else(|| tasks.count())
}

/// A word of an enum, which has to be specified.
pub(super) fn word<T: Word>(number: i32, field: &str) -> Result<T, WireError> {
    optional_word(number, field)?.ok_or_else(|| WireError::missing(field))
}

/// A word of an enum, if it is specified.
pub(super) fn optional_word<T: Word>(number: i32, field: &str) -> Result<Option<T>, WireError> {
    T::from_number(number).ok_or_else(|| WireError::field(field, format!("{number} has no meaning")))
}

/// An enum of the model that has the same words on the wire, where `Unspecified` stands for none of them.
pub(super) trait Word: Copy {
    /// Its number on the wire.
    fn number(self) -> i32;

    /// The word of that number, the inner `None` for unspecified; the outer `None` where the number has no meaning.
    fn from_number(number: i32) -> Option<Option<Self>>;
}

/// The number of a word, or of none.
pub(super) fn number_or_unspecified(word: Option<impl Word>) -> i32 {
    word.map_or(0, Word::number)
}

macro_rules! words {
    ($name:ident: $($word:ident),*) => {
        impl $crate::convert::read::Word for allot_model::$name {
            fn number(self) -> i32 {
                match self {
                    $(Self::$word => $crate::v1::$name::$word.into()),*
                }
            }

            fn from_number(number: i32) -> Option<Option<Self>> {
                Some(match $crate::v1::$name::try_from(number).ok()? {
                    $crate::v1::$name::Unspecified => None,
                    $($crate::v1::$name::$word => Some(Self::$word)),*
                })
            }
        }
    };
}

pub(super) use words;
