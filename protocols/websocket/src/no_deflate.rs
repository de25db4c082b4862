//! In place of `deflate` without that feature: nothing is ever negotiated, so nothing of this exists at run time.

use alloc::vec::Vec;

use crate::handshake::DeflateParams;
use crate::message::Role;
use crate::settings::Deflate as Wanted;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

#[derive(Debug, Default)]
pub(crate) struct Deflate {
    pub(crate) inflater: Inflater,
    pub(crate) deflater: Deflater,
}

#[derive(Debug, Default)]
pub(crate) struct Inflater;

#[derive(Debug, Default)]
pub(crate) struct Deflater;

impl Deflate {
    pub(crate) fn new(_: Role, _: DeflateParams, _: &Wanted) -> Self {
        Self::default()
    }
}

impl Inflater {
    pub(crate) fn inflate(&mut self, _: &[u8], _: &mut Vec<u8>, _: usize) -> Result<usize, Invalid> {
        Err(Invalid)
    }

    pub(crate) fn finish(&mut self, _: &mut Vec<u8>, _: usize) -> Result<bool, Invalid> {
        Err(Invalid)
    }
}

impl Deflater {
    pub(crate) const fn wants(&self, _: usize) -> bool {
        false
    }

    pub(crate) const fn bound(len: usize) -> usize {
        len
    }

    pub(crate) fn deflate(&mut self, _: &[u8], _: bool) -> Option<&[u8]> {
        None
    }

    pub(crate) fn let_go(&mut self) {}
}
