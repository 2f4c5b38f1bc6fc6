//! The standard layout of SPEC §3 on top of `wincode`, reading field by field so that an error names the field.

use alloc::vec::Vec;

use wincode::{
    ReadError, SchemaRead, SchemaWrite,
    config::{Configuration, PREALLOCATION_SIZE_LIMIT_DISABLED},
    int_encoding::{LittleEndian, VarInt},
    io::Reader,
    len::BincodeLen,
};

use crate::error::{DecodeError, Problem};

/// Most memory that the elements of one list may take, whatever length it announces: 10,000 series definitions, the
/// largest list of the protocol, take 800 KB. The memory is reserved before the elements are read, so a hostile length
/// costs at most this much address space for the time of one call, and a larger one fails at once.
const LIST_BYTES_MAX: usize = 1024 * 1024;

/// For reading: integers as varint, tags as u32, lists bounded.
pub(crate) type Bounded = Configuration<true, LIST_BYTES_MAX, BincodeLen, LittleEndian, VarInt, u32>;
/// For writing: the same layout without the bound, so that encoding cannot fail.
pub(crate) type Unbounded =
    Configuration<true, PREALLOCATION_SIZE_LIMIT_DISABLED, BincodeLen, LittleEndian, VarInt, u32>;

pub(crate) fn field<'a, T>(reader: &mut &'a [u8], message: &'static str, name: &'static str) -> Result<T, DecodeError>
where
    T: SchemaRead<'a, Bounded, Dst = T>,
{
    T::get(reader.by_ref()).map_err(|error| DecodeError::new(message, name, problem(&error)))
}

pub(crate) fn put<T>(value: &T, out: &mut Vec<u8>)
where
    T: SchemaWrite<Unbounded, Src = T>,
{
    // The only errors of `wincode` here are a full writer, which a Vec never is, and a length that does not fit u64.
    let written = T::write(out, value);
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
}

fn problem(error: &ReadError) -> Problem {
    match error {
        ReadError::Io(_) => Problem::Truncated,
        ReadError::InvalidUtf8Encoding(_) | ReadError::InvalidUtf8Code(_) | ReadError::InvalidCharLead(_) => {
            Problem::InvalidUtf8
        }
        ReadError::PreallocationSizeLimit { .. }
        | ReadError::LengthEncodingOverflow(_)
        | ReadError::PointerSizedReadError => Problem::LengthTooLarge,
        ReadError::InvalidBoolEncoding(_) => Problem::InvalidBool,
        _ => Problem::InvalidTag,
    }
}

/// The longest beginning of `text` that fits `bytes_max` and ends between characters.
pub fn clip_text(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// `Err` unless `ok`, for the checks of `validate`.
pub(crate) fn ensure(
    ok: bool,
    message: &'static str,
    field: &'static str,
    allowed: &'static str,
) -> Result<(), DecodeError> {
    if ok { Ok(()) } else { Err(DecodeError::new(message, field, Problem::NotAllowed(allowed))) }
}

/// `Err` if a payload has more bytes than its message may.
pub(crate) fn ensure_size(bytes: usize, bytes_max: usize, message: &'static str) -> Result<(), DecodeError> {
    if bytes <= bytes_max { Ok(()) } else { Err(DecodeError::new(message, "payload", Problem::LengthTooLarge)) }
}

/// Declares a message of the standard layout: the struct, and its codec. `validate` is left to the module.
///
/// `at most N` bounds the whole payload in bytes. What `appended { field: type = default }` lists came later than the
/// message: a payload that ends before such a field means its default. SPEC §3.
macro_rules! payload {
    (
        $(#[$meta:meta])* $name:ident = $wire:literal $(, at most $bytes_max:path)?
        { $($(#[$field_meta:meta])* $field:ident: $type:ty,)+ }
        $(appended { $($(#[$later_meta:meta])* $later:ident: $later_type:ty = $default:expr,)+ })?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, wincode::SchemaWrite)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)+
            $($($(#[$later_meta])* pub $later: $later_type,)+)?
        }

        impl $name {
            const NAME: &'static str = $wire;

            /// Reads a payload and checks its limits. Bytes after the last known field are ignored.
            pub fn decode(payload: &[u8]) -> Result<Self, crate::DecodeError> {
                $(crate::frame::layout::ensure_size(payload.len(), $bytes_max, Self::NAME)?;)?
                let mut reader = payload;
                $(let $field = crate::frame::layout::field::<$type>(&mut reader, Self::NAME, stringify!($field))?;)+
                $($(let $later = if reader.is_empty() {
                    $default
                } else {
                    crate::frame::layout::field::<$later_type>(&mut reader, Self::NAME, stringify!($later))?
                };)+)?
                let decoded = $name { $($field,)+ $($($later,)+)? };
                decoded.validate()?;
                Ok(decoded)
            }

            /// Appends the payload, without header. What does not pass [`validate`](Self::validate) is encoded all
            /// the same, and the receiver will refuse it.
            pub fn encode_payload(&self, out: &mut alloc::vec::Vec<u8>) {
                crate::frame::layout::put(self, out);
            }
        }
    };
}

/// `validate` of a message whose fields have no limits beyond their types.
macro_rules! unlimited {
    ($name:ident) => {
        impl $name {
            /// Every value of this message is allowed.
            pub fn validate(&self) -> Result<(), crate::DecodeError> {
                let _ = Self::NAME;
                Ok(())
            }
        }
    };
}

pub(crate) use payload;
pub(crate) use unlimited;
