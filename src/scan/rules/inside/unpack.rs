//! Packed octets → as many of the unpacked ones as may be looked at.
//!
//! Pure. Memory grows with what comes out, never with what was declared. A decompressor that fails,
//! panics or wants too much memory ends the octets there: what came before is kept, and the end is
//! told, so that nobody takes a part for the whole.

use std::borrow::Cow;
use std::io::{Error, ErrorKind, Read, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lzma_rust2::{LzmaReader, XzReader};
use ruzstd::decoding::StreamingDecoder;

use super::budget::{Bounds, Budget};
use super::octets::{far, finds, piece, rest, u8_at, u16_at, u32_at};

/// How octets were packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Stored,
    Deflate,
    Zlib,
    Gzip,
    Deflate64,
    Bzip2,
    Xz,
    /// The file format before xz.
    Lzma,
    /// As in a zip archive: version, length and properties before the stream (APPNOTE §5.8.8). With
    /// its size, where the stream does not tell its end.
    ZipLzma(Option<u64>),
    Zstandard,
}

/// Where unpacking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All is there.
    Whole,
    /// The octets made no sense any more, or ended too early.
    Broken,
    /// It has more octets than are looked at of one member.
    Member,
    /// It unpacks to too many times its size.
    Ratio,
    /// The budget of the message was spent.
    Spent,
}

impl End {
    /// In words, for a finding; `None`: nothing is missing.
    pub const fn fault(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::Broken => Some("is broken"),
            Self::Member => Some("is too large to be looked at whole"),
            Self::Ratio => Some("unpacks to too many times its size"),
            Self::Spent => Some("unpacks to more than is looked at of one message"),
        }
    }
}

#[derive(Debug)]
pub struct Unpacked<'a> {
    pub bytes: Cow<'a, [u8]>,
    pub end: End,
}

/// Streams of one file, one behind the other, that are read before the rest counts as broken.
const STREAMS: usize = 1000;

/// What an octet costs, beside one that is inflated.
const fn cost(method: Method) -> usize {
    match method {
        Method::Bzip2 => 6,
        Method::Xz | Method::Lzma | Method::ZipLzma(_) => 2,
        _ => 1,
    }
}

/// What it costs to begin.
fn entrance(method: Method, packed: &[u8]) -> usize {
    match method {
        Method::Stored => 0,
        Method::Deflate | Method::Zlib | Method::Gzip => 1024,
        Method::ZipLzma(_) => lzma_entrance(u8_at(packed, 4).unwrap_or(0)),
        Method::Lzma => lzma_entrance(u8_at(packed, 0).unwrap_or(0)),
        _ => 32 * 1024,
    }
}

/// LZMA's tables grow with two numbers in its properties.
pub fn lzma_entrance(properties: u8) -> usize {
    let (lc, lp) = (properties % 9, properties / 9 % 5);
    16 * 1024 + (1536 << (lc + lp))
}

pub fn unpack<'a>(method: Method, packed: &'a [u8], budget: &mut Budget) -> Unpacked<'a> {
    if method == Method::Stored {
        return stored(packed, budget);
    }
    budget.spend(entrance(method, packed));
    if budget.left() == 0 {
        return nothing(End::Spent);
    }
    let bounds = budget.bounds();
    match guarded(|| open(method, packed, bounds)).flatten() {
        Some(mut reader) => read(&mut reader, packed.len(), cost(method), budget),
        None => nothing(End::Broken),
    }
}

const fn nothing<'a>(end: End) -> Unpacked<'a> {
    Unpacked {
        bytes: Cow::Borrowed(&[]),
        end,
    }
}

/// What is not packed is not copied either.
pub fn stored<'a>(bytes: &'a [u8], budget: &mut Budget) -> Unpacked<'a> {
    let (left, member) = (budget.left(), budget.bounds().member);
    budget.spend(bytes.len());
    let end = match bytes.len() {
        length if length > left => End::Spent,
        length if length > member => End::Member,
        _ => End::Whole,
    };
    Unpacked {
        bytes: Cow::Borrowed(piece(bytes, 0, left.min(member))),
        end,
    }
}

fn open<'a>(method: Method, packed: &'a [u8], bounds: Bounds) -> Option<Box<dyn Read + 'a>> {
    let kib = u32::try_from(bounds.memory / 1024).unwrap_or(u32::MAX);
    Some(match method {
        Method::Stored => Box::new(packed),
        Method::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(packed)),
        Method::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(packed)),
        Method::Gzip => Box::new(Streams::new(packed, |it| {
            Ok(Stream::Gzip(Box::new(flate2::bufread::GzDecoder::new(it))))
        })),
        Method::Deflate64 => Box::new(deflate64::Deflate64Decoder::with_buffer(packed)),
        Method::Bzip2 => Box::new(Streams::new(packed, |it| {
            Ok(Stream::Bzip2(bzip2::bufread::BzDecoder::new(it)))
        })),
        Method::Xz => Box::new(xz(packed, kib)?),
        Method::Lzma => Box::new(LzmaReader::new_mem_limit(packed, kib, None).ok()?),
        Method::ZipLzma(size) => Box::new(zip_lzma(packed, size, kib)?),
        Method::Zstandard => {
            let window = bounds.memory as u64;
            Box::new(Streams::new(packed, move |it| frame(it, window)))
        }
    })
}

fn xz(packed: &[u8], kib: u32) -> Option<XzReader<&[u8]>> {
    let streams = finds(packed, b"\xfd7zXZ\0").take(STREAMS).count();
    (streams < STREAMS).then(|| XzReader::new_mem_limit(packed, true, kib))
}

fn zip_lzma(packed: &[u8], size: Option<u64>, kib: u32) -> Option<LzmaReader<&[u8]>> {
    let stream = rest(packed, 4 + usize::from(u16_at(packed, 2)?));
    let (properties, dictionary) = (u8_at(packed, 4)?, u32_at(packed, 5)?);
    let needs = lzma_rust2::lzma_get_memory_usage_by_props(dictionary, properties).ok()?;
    (needs <= kib).then_some(())?;
    let size = size.unwrap_or(u64::MAX);
    LzmaReader::new_with_props(stream, size, properties, dictionary, None).ok()
}

/// A zstandard frame, and those before it that are to be skipped (RFC 8878 §3.1.2).
fn frame(mut packed: &[u8], window: u64) -> Result<Stream<'_>> {
    while u32_at(packed, 0).is_some_and(|mark| mark & 0xffff_fff0 == 0x184d_2a50) {
        let skipped = u32_at(packed, 4).map_or(usize::MAX, far);
        packed = rest(packed, skipped.saturating_add(8));
    }
    if packed.is_empty() {
        return Ok(Stream::Nothing(packed));
    }
    let frame = StreamingDecoder::new_with_max_window_size(packed, window).map_err(Error::other)?;
    Ok(Stream::Zstandard(Box::new(frame)))
}

/// One of several streams in a file.
enum Stream<'a> {
    Gzip(Box<flate2::bufread::GzDecoder<&'a [u8]>>),
    Bzip2(bzip2::bufread::BzDecoder<&'a [u8]>),
    Zstandard(Box<StreamingDecoder<&'a [u8], ruzstd::decoding::FrameDecoder>>),
    Nothing(&'a [u8]),
}

impl<'a> Stream<'a> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Self::Gzip(it) => it.read(into),
            Self::Bzip2(it) => it.read(into),
            Self::Zstandard(it) => it.read(into),
            Self::Nothing(_) => Ok(0),
        }
    }

    /// What it has not read.
    fn rest(&self) -> &'a [u8] {
        match self {
            Self::Gzip(it) => it.get_ref(),
            Self::Bzip2(it) => it.get_ref(),
            Self::Zstandard(it) => it.get_ref(),
            Self::Nothing(it) => it,
        }
    }
}

/// The streams of a file, one behind the other. Junk behind the first is no fault of them.
struct Streams<'a, F> {
    packed: &'a [u8],
    open: F,
    current: Option<Stream<'a>>,
    begun: usize,
}

impl<'a, F: Fn(&'a [u8]) -> Result<Stream<'a>>> Streams<'a, F> {
    const fn new(packed: &'a [u8], open: F) -> Self {
        Self {
            packed,
            open,
            current: None,
            begun: 0,
        }
    }

    fn begin(&mut self) -> Result<()> {
        if self.begun == STREAMS {
            return Err(ErrorKind::InvalidData.into());
        }
        self.begun += 1;
        self.current = Some((self.open)(self.packed)?);
        Ok(())
    }
}

impl<'a, F: Fn(&'a [u8]) -> Result<Stream<'a>>> Read for Streams<'a, F> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            if let Some(stream) = &mut self.current {
                let read = stream.read(into)?;
                if read > 0 {
                    return Ok(read);
                }
                self.packed = stream.rest();
                self.current = None;
            }
            if self.packed.is_empty() {
                return Ok(0);
            }
            self.begin()?;
        }
    }
}

/// Reads until one of the bounds is met. `packed`: how many octets it all comes from.
pub fn read<'a>(
    reader: &mut dyn Read,
    packed: usize,
    cost: usize,
    budget: &mut Budget,
) -> Unpacked<'a> {
    let bounds = budget.bounds();
    let ratio = packed.saturating_mul(bounds.ratio).max(Bounds::SMALL);
    let mut chunk = vec![0; 16 * 1024];
    let mut bytes = Vec::new();
    let end = loop {
        let read = match guarded(|| reader.read(&mut chunk)) {
            Some(Ok(0)) => break End::Whole,
            Some(Ok(read)) => read,
            Some(Err(it)) if it.kind() == ErrorKind::Interrupted => continue,
            Some(Err(_)) | None => break End::Broken,
        };
        if budget.left() < read.saturating_mul(cost) {
            budget.spend(usize::MAX);
            break End::Spent;
        }
        budget.spend(read.saturating_mul(cost));
        bytes.extend_from_slice(piece(&chunk, 0, read));
        if bytes.len() > ratio {
            break End::Ratio;
        }
        if bytes.len() > bounds.member {
            break End::Member;
        }
    };
    Unpacked {
        bytes: Cow::Owned(bytes),
        end,
    }
}

/// Runs what others wrote on octets that nobody has checked. A panic there costs the member that it
/// looked at, not the scan; nothing that it touched is used again.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
