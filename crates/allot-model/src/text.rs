//! Words for messages.

/// What was given, in backquotes, cut where it is long.
pub(crate) fn quote(text: &str) -> String {
    let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    let dots = if text.chars().nth(40).is_some() { "…" } else { "" };
    format!("`{shown}{dots}`")
}
