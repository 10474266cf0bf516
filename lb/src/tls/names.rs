//! Which certificate a client gets that asks for a name: one that bears exactly it, else one that bears `*` in place of its first label
//! (RFC 9525 §6.3), else the first of the listener, as clients that ask for none do.

use std::collections::HashMap;

/// The entries of a listener by the names in their certificates.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<Box<str>, Vec<usize>>,
    /// Without `*.`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
}

impl Names {
    /// From the names of each entry in turn, in lower case.
    pub(super) fn new<'a, N: IntoIterator<Item = &'a str>>(entries: impl IntoIterator<Item = N>) -> Names {
        let mut names = Names::default();
        for (index, entry) in entries.into_iter().enumerate() {
            for name in entry {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut names.wildcard, parent),
                    None => (&mut names.exact, name),
                };
                let list = map.entry(name.trim_end_matches('.').into()).or_default();
                if list.last() != Some(&index) {
                    list.push(index);
                }
            }
        }
        names
    }

    /// The entries for a name in lower case, in file order; none if no certificate bears it.
    pub(super) fn find(&self, name: &str) -> &[usize] {
        let parent = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(parent).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_goes_before_a_wildcard_which_is_for_one_label() {
        let names = Names::new([
            vec!["example.com", "*.example.com"],
            vec!["api.example.com", "api.example.com"],
            vec!["*.b.example.com", "example.com"],
        ]);
        for (name, expected) in [
            ("api.example.com", &[1][..]),
            ("www.example.com", &[0]),
            ("example.com", &[0, 2]),
            ("x.b.example.com", &[2]),
            ("b.example.com", &[0]),
            ("x.y.example.com", &[]),
            ("com", &[]),
            ("", &[]),
            (".example.com", &[0]),
        ] {
            assert_eq!(names.find(name), expected, "{name}");
        }
    }
}
