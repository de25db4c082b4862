//! The formats, without any state of a conversation: heads, bodies, and how both are written.

mod body;
mod chunked;
mod encode;
mod fields;
mod head;
mod pace;
mod scan;

pub(crate) use body::{BodyDecoder, Piece, check_length};
pub(crate) use encode::{
    BodyEncoder, Count, Digits, Out, Place, Survey, field, fields, is_framing, owned, put_data, put_end,
};
pub(crate) use fields::{Facts, names_token};
pub(crate) use head::{LONGEST_METHOD, RawRequest, parse_at_once, parse_request, parse_response, version};
pub(crate) use pace::Pace;
pub(crate) use scan::Scan;

/// The decimal digits of a number.
pub(crate) fn decimal_digits(number: u64) -> alloc::vec::Vec<u8> {
    Digits::decimal(number).as_slice().to_vec()
}
