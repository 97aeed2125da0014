//! Bytes that are not to stand for themselves, as `%XX`.

/// Writes bytes as they are where `is_plain` says so of a byte and its place, else as `%XX`.
pub(crate) fn encoded(bytes: &[u8], is_plain: impl Fn(u8, usize) -> bool) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len());
    for (at, &byte) in bytes.iter().enumerate() {
        if is_plain(byte, at) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a String takes everything");
        }
    }
    text
}

/// The bytes that `text` stands for; null if a `%` is not followed by two hexadecimal digits.
pub(crate) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if first == b'%' {
            let (digits, more) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = more;
        } else {
            bytes.push(first);
        }
    }
    Some(bytes)
}
