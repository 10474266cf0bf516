//! What may have been meant.

/// The candidate that is so near to the word that it may have been meant.
///
/// Near is by edits (a swap of neighbours counts as one), at most a third of the word's letters; or one is the other's beginning.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let most = (word.chars().count() / 3).max(1);
    let begins = |name: &str| word.len() >= 3 && name.len() >= 3 && (name.starts_with(&word) || word.starts_with(name));
    candidates
        .into_iter()
        .filter_map(|name| match strsim::damerau_levenshtein(&word, &name.to_lowercase()) {
            edits if edits <= most && edits < word.chars().count() => Some((edits, name)),
            _ if begins(name) => Some((most + 1, name)),
            _ => None,
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_and_beginnings_are_near_and_other_words_are_not() {
        let names = ["least_conn", "round_robin", "random", "p2c", "hash", "warn"];
        for (word, expected) in [
            ("least_con", Some("least_conn")),
            ("leastconn", Some("least_conn")),
            ("LEAST-CONN", Some("least_conn")),
            ("hsah", Some("hash")),
            ("warning", Some("warn")),
            ("round", Some("round_robin")),
            ("p2", Some("p2c")),
            ("x", None),
            ("", None),
            ("sticky", None),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
    }
}
