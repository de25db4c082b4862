//! Bodies: compression by feature, and the checksum.

use alloc::string::String;
#[cfg(any(feature = "gzip", feature = "zlib", feature = "snappy"))]
use alloc::vec::Vec;

use bytes::Bytes;
use crc::{CRC_32_ISCSI, Crc};

use crate::meta::RpcMeta;

/// How a body is compressed; attachments never are. What a feature was left out for is refused with words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Snappy's raw format (feature `snappy`).
    Snappy,
    /// gzip (feature `gzip`).
    Gzip,
    /// zlib (feature `zlib`).
    Zlib,
}

/// What is checked of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Checksum {
    /// Nothing.
    #[default]
    None,
    /// CRC-32C of the body as it is sent, compressed.
    Crc32c,
}

static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// CRC-32C, masked as bRPC writes it: turned by 15 bits, and moved by a constant.
fn masked_crc32c(parts: [&[u8]; 2]) -> [u8; 4] {
    let mut digest = CRC32C.digest();
    parts.into_iter().for_each(|part| digest.update(part));
    digest.finalize().rotate_right(15).wrapping_add(0xa282_ead8).to_be_bytes()
}

impl Compression {
    /// Its number on the wire.
    #[must_use]
    pub const fn to_wire(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Snappy => 1,
            Self::Gzip => 2,
            Self::Zlib => 3,
        }
    }

    pub(crate) fn compress(self, body: Bytes) -> Result<Bytes, &'static str> {
        match self {
            Self::None => Ok(body),
            #[cfg(feature = "snappy")]
            Self::Snappy => {
                let packed = snap::raw::Encoder::new().compress_vec(&body);
                packed.map(Bytes::from).map_err(|_| "snappy cannot compress this body")
            }
            #[cfg(feature = "gzip")]
            Self::Gzip => read_all(flate2::read::GzEncoder::new(&body[..], flate2::Compression::default()), usize::MAX)
                .ok_or("gzip cannot compress this body"),
            #[cfg(feature = "zlib")]
            Self::Zlib => {
                read_all(flate2::read::ZlibEncoder::new(&body[..], flate2::Compression::default()), usize::MAX)
                    .ok_or("zlib cannot compress this body")
            }
            #[allow(unreachable_patterns)]
            _ => Err("built without the feature for this compression"),
        }
    }
}

/// What a body was before it was compressed, unless it is more than `limit` bytes.
fn decompress(kind: i32, body: Bytes, limit: usize) -> Result<Bytes, &'static str> {
    match kind {
        0 => Ok(body),
        #[cfg(feature = "snappy")]
        1 => {
            let len = snap::raw::decompress_len(&body).map_err(|_| "the body is no snappy")?;
            if len > limit {
                return Err("the body is too large when decompressed");
            }
            let plain = snap::raw::Decoder::new().decompress_vec(&body);
            plain.map(Bytes::from).map_err(|_| "the body is no snappy")
        }
        #[cfg(feature = "gzip")]
        2 => read_all(flate2::read::GzDecoder::new(&body[..]), limit).ok_or("the body is no gzip, or too large"),
        #[cfg(feature = "zlib")]
        3 => read_all(flate2::read::ZlibDecoder::new(&body[..]), limit).ok_or("the body is no zlib, or too large"),
        _ => {
            let _ = limit;
            Err("compression not supported")
        }
    }
}

#[cfg(any(feature = "gzip", feature = "zlib"))]
fn read_all(from: impl std::io::Read, limit: usize) -> Option<Bytes> {
    use std::io::Read;
    let mut plain = Vec::new();
    let most = (limit as u64).saturating_add(1);
    from.take(most).read_to_end(&mut plain).ok()?;
    (plain.len() <= limit).then(|| plain.into())
}

/// Writes what was done with a body into its meta.
pub(crate) fn describe(meta: &mut RpcMeta, compression: Compression, checksum: Checksum, body: &[u8]) {
    if compression != Compression::None {
        meta.compress_type = Some(compression.to_wire());
    }
    if checksum == Checksum::Crc32c {
        meta.checksum_type = Some(1);
        meta.checksum_value = Some(Bytes::copy_from_slice(&masked_crc32c([body, &[]])));
    }
}

/// Checks a body against its meta, and gives it back as it was before.
pub(crate) fn restore(meta: &RpcMeta, body: Bytes, attachment: &[u8], limit: usize) -> Result<Bytes, String> {
    match meta.checksum_type.unwrap_or(0) {
        0 => {}
        1 => {
            let covered = if meta.checksum_with_attachment == Some(true) { attachment } else { &[] };
            if meta.checksum_value.as_deref() != Some(&masked_crc32c([&body, covered])) {
                return Err("the body's crc32c is wrong".into());
            }
        }
        _ => return Err("unknown checksum type".into()),
    }
    decompress(meta.compress_type.unwrap_or(0), body, limit).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_is_masked_and_big_endian() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720). Turned right by 15 bits it is 2507c60d; plus a282ead8, c78ab0e5.
        assert_eq!(masked_crc32c([b"1234", b"56789"]), 0xc78a_b0e5_u32.to_be_bytes());
    }

    #[test]
    fn what_decompresses_to_more_than_the_limit_is_refused() {
        for kind in [Compression::Snappy, Compression::Gzip, Compression::Zlib] {
            let Ok(packed) = kind.compress(Bytes::from(alloc::vec![7; 100_000])) else { continue };
            assert!(packed.len() < 10_000, "{kind:?}");
            assert_eq!(decompress(kind.to_wire(), packed.clone(), 100_000).map(|b| b.len()), Ok(100_000));
            assert!(decompress(kind.to_wire(), packed, 99_999).is_err());
        }
    }

    #[test]
    fn what_is_not_built_in_is_refused_with_words() {
        assert_eq!(decompress(4, Bytes::new(), 10), Err("compression not supported"));
    }
}
