//! What is written between two marks of a file.

const BEGIN: &str = "<!-- compare: begin -->";
const END: &str = "<!-- compare: end -->";

/// The text with `new` between its marks.
pub(crate) fn replace(text: &str, new: &str) -> Result<String, String> {
    let parts = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)))
        .ok_or_else(|| format!("no {BEGIN} … {END}"))?;
    Ok(format!("{}{BEGIN}\n\n{}\n\n{END}{}", parts.0, new.trim(), parts.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let replaced = replace(&text, "new\n").unwrap();
        assert_eq!(replaced, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replace(&replaced, "new").unwrap(), replaced);
        assert!(replace("no marks", "new").is_err());
    }
}
