//! What a client's `Cache-Control` demands.

use super::cache_control::{Argument, next_directive};

/// What the directives of a request demand of a stored response (RFC 9111 §5.2.1). What cannot be read is no demand, but for `max-age`, which is
/// taken at its strictest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demands {
    /// `no-store`
    pub no_store: bool,
    /// `no-cache`: the origin has to say first that it is still right.
    pub no_cache: bool,
    /// `only-if-cached`: the origin is not to be asked.
    pub only_if_cached: bool,
    /// `max-age` in seconds
    pub max_age: Option<u64>,
    /// `min-fresh` in seconds
    pub min_fresh: Option<u64>,
    /// `max-stale` in seconds; the greatest number where it has none
    pub max_stale: Option<u64>,
}

impl Demands {
    /// Reads a `Cache-Control` line, of which there may be several. Allocates nothing.
    pub fn read(&mut self, line: &[u8]) {
        let mut rest = line;
        while let Some((name, argument, after)) = next_directive(rest) {
            self.add(name, &argument);
            rest = after;
        }
    }

    /// Reads a `Pragma` line, which counts where there is no `Cache-Control` (RFC 9111 §5.4).
    pub fn read_pragma(&mut self, line: &[u8]) {
        let mut rest = line;
        while let Some((name, _, after)) = next_directive(rest) {
            self.no_cache |= name.eq_ignore_ascii_case(b"no-cache");
            rest = after;
        }
    }

    fn add(&mut self, name: &[u8], argument: &Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            7 if is("max-age") => drop(self.max_age.get_or_insert(argument.seconds())),
            8 if is("no-store") => self.no_store = true,
            8 if is("no-cache") => self.no_cache = true,
            9 if is("min-fresh") => self.min_fresh = self.min_fresh.or(argument.number()),
            9 if is("max-stale") => {
                let any = matches!(argument, Argument::None).then_some(u64::MAX);
                self.max_stale = self.max_stale.or(any).or(argument.number());
            }
            14 if is("only-if-cached") => self.only_if_cached = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demands(lines: &[&str]) -> Demands {
        let mut demands = Demands::default();
        lines.iter().for_each(|line| demands.read(line.as_bytes()));
        demands
    }

    #[test]
    fn a_request_demands_what_it_says() {
        let said = demands(&["Max-Age=0, min-fresh=\"5\"", "max-stale, only-if-cached, no-cache"]);
        assert_eq!((said.max_age, said.min_fresh, said.max_stale), (Some(0), Some(5), Some(u64::MAX)));
        assert!(said.only_if_cached && said.no_cache && !said.no_store);
        assert_eq!(demands(&["max-stale=60, max-age=9, max-age=1"]).max_stale, Some(60));
        assert_eq!(demands(&["max-age=x"]).max_age, Some(0), "at its strictest");
        assert_eq!(demands(&["nothing-to-see-here, min-fresh=x, max-stale=x"]), Demands::default());
        let mut pragma = Demands::default();
        pragma.read_pragma(b"x, No-Cache");
        assert!(pragma.no_cache);
    }
}
