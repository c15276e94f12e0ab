//! Numbers and pieces at places in octets that nobody has checked.
//!
//! Pure. What is not there is `None`, or as much of it as there is; nothing here can fail otherwise.

/// As much as there is of `length` octets at `from`.
pub fn piece(bytes: &[u8], from: usize, length: usize) -> &[u8] {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.get(..length).unwrap_or(rest)
}

/// All from there on.
pub fn rest(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Little-endian, as all of them here.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// A length or a place as a file declares it: what no memory can hold is simply very far away.
pub fn far(value: impl TryInto<usize>) -> usize {
    value.try_into().unwrap_or(usize::MAX)
}

/// A 32-bit length or place.
pub fn far_at(bytes: &[u8], at: usize) -> Option<usize> {
    u32_at(bytes, at).map(far)
}

pub fn is_at(bytes: &[u8], at: usize, mark: &[u8]) -> bool {
    piece(bytes, at, mark.len()) == mark
}

pub fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, mark)
}

pub fn finds<'a>(bytes: &'a [u8], mark: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memchr::memmem::find_iter(bytes, mark)
}

pub fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    find(bytes, mark).is_some()
}

/// UTF-16, little-endian, up to its first NUL.
pub fn wide(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| {
            u16::from_le_bytes([
                pair.first().copied().unwrap_or(0),
                pair.get(1).copied().unwrap_or(0),
            ])
        })
        .take_while(|unit| *unit != 0);
    char::decode_utf16(units)
        .map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Up to its first NUL, in whatever character set.
pub fn narrow(bytes: &[u8]) -> String {
    let text = bytes.split(|octet| *octet == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
