//! The parameters of a query, and of a form, which is written like one. Pure.

/// A `%` that no two hexadecimal digits follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadEscape;

/// The value of a parameter, decoded: `%41`, and `+` for a space. `None` if it is not there.
pub(crate) fn parameter(query: &[u8], name: &str) -> Option<Result<Vec<u8>, BadEscape>> {
    let value = |pair: &'_ [u8]| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let is_it = decoded(&pair[..end]).is_ok_and(|key| key == name.as_bytes());
        is_it.then(|| decoded(pair.get(end + 1..).unwrap_or_default()))
    };
    query.split(|byte| *byte == b'&').find_map(value)
}

fn decoded(text: &[u8]) -> Result<Vec<u8>, BadEscape> {
    let spaced = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte });
    unescaped(&spaced.collect::<Vec<u8>>())
}

/// With each `%41` as what it stands for.
pub(super) fn unescaped(text: &[u8]) -> Result<Vec<u8>, BadEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2).ok_or(BadEscape)?;
                rest = after;
                let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(BadEscape);
                (digit(digits[0])? * 16 + digit(digits[1])?) as u8
            }
            byte => byte,
        });
    }
    Ok(bytes)
}
