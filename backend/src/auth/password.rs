//! Passwords: argon2id (RFC 9106), with the parameters that OWASP's Password Storage Cheat Sheet recommends.
//!
//! A hash takes some 20 ms of a core and 19 MiB of memory. So it runs on threads of its own, of which only so many work at once that the
//! others of the machine stay free for requests; a bounded number of logins waits for its turn, and those beyond are refused at once.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Params, PasswordVerifier, Version};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Logins and registrations that may wait for a hash.
const QUEUE: usize = 128;
/// How long one of them waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// More hashes are asked for than can be made.
#[derive(Debug)]
pub struct Busy;

/// What came of comparing a password with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It is the password.
    pub is_right: bool,
    /// The hash was made with other parameters than today's.
    pub is_outdated: bool,
}

/// Makes and checks hashes, a bounded number at once.
pub struct Hasher {
    argon2: Argon2<'static>,
    /// One for each hash at work or waiting.
    places: Semaphore,
    /// One for each at work. It goes along with the work, so that a client that hangs up does not make room before its hash is done.
    turns: Arc<Semaphore>,
}

impl Hasher {
    /// With today's parameters. Half of the cores may hash at once.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with(Params::default(), cores.div_ceil(2))
    }

    fn with(params: Params, at_once: usize) -> Self {
        Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            places: Semaphore::new(at_once + QUEUE),
            turns: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// A new hash of a password, with a new salt, as a PHC string.
    pub async fn hash(&self, password: &str) -> Result<String, Busy> {
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let hash = move || argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string());
        // It fails only when there is no memory for it, or no randomness.
        self.run(hash).await?.map_err(|_| Busy)
    }

    /// Compares a password with a hash; without a hash, it takes as long and is wrong.
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<Verdict, Busy> {
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        self.run(move || verdict(&argon2, &password, hash.as_deref())).await
    }

    /// Bytes from which a text cannot be guessed faster than a password: for what has to be recognised when it comes again.
    pub async fn fingerprint(&self, text: Vec<u8>, salt: [u8; 16]) -> Result<[u8; 32], Busy> {
        let argon2 = self.argon2.clone();
        let hash = move || {
            let mut out = [0; 32];
            argon2.hash_password_into(&text, &salt, &mut out).map(|()| out)
        };
        self.run(hash).await?.map_err(|_| Busy)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _place = self.places.try_acquire().map_err(|_| Busy)?;
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| Busy)?.map_err(|_| Busy)?;
        let working = spawn_blocking(move || {
            let outcome = work();
            drop(turn);
            outcome
        });
        working.await.map_err(|_| Busy)
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

fn verdict(argon2: &Argon2<'_>, password: &str, hash: Option<&str>) -> Verdict {
    let Some(hash) = hash.and_then(|hash| PasswordHash::new(hash).ok()) else {
        let mut nothing = [0; Output::MAX_LENGTH];
        let length = argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let out = nothing.get_mut(..length).unwrap_or_default();
        // Only for the time that it takes.
        let _ = std::hint::black_box(argon2.hash_password_into(password.as_bytes(), b"nobody's salt...", out));
        return Verdict {
            is_right: false,
            is_outdated: false,
        };
    };
    let is_right = argon2.verify_password(password.as_bytes(), &hash).is_ok();
    let today = Params::try_from(&hash).is_ok_and(|params| is_same(&params, argon2.params()))
        && hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into());
    Verdict {
        is_right,
        is_outdated: !today,
    }
}

fn is_same(one: &Params, other: &Params) -> bool {
    let of = |params: &Params| {
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        (params.m_cost(), params.t_cost(), params.p_cost(), length)
    };
    of(one) == of(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weaker() -> Hasher {
        Hasher::with(Params::new(64, 1, 1, None).expect("valid"), 1)
    }

    #[tokio::test]
    async fn a_password_is_right_for_its_own_hash_only() {
        let hasher = Hasher::new();
        let hash = hasher.hash("correct horse").await.expect("room");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hasher.hash("correct horse").await.expect("room"), hash, "each has its own salt");
        let right = hasher.verify("correct horse", Some(hash.clone())).await.expect("room");
        assert_eq!((right.is_right, right.is_outdated), (true, false));
        for (password, hash) in [("correct horsf", Some(hash)), ("x", None), ("x", Some("garbage".into()))] {
            assert!(!hasher.verify(password, hash).await.expect("room").is_right);
        }
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_is_outdated_but_right() {
        let old = weaker().hash("correct horse").await.expect("room");
        let verdict = Hasher::new().verify("correct horse", Some(old)).await.expect("room");
        assert_eq!((verdict.is_right, verdict.is_outdated), (true, true));
    }

    /// How long this thread has had a processor for itself, in nanoseconds: what others do meanwhile does not count.
    fn worked() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
        let first = text.split_whitespace().next().and_then(|number| number.parse().ok());
        first.expect("a number")
    }

    fn time(hasher: &Hasher, hash: Option<&str>) -> u64 {
        let before = worked();
        verdict(&hasher.argon2, "a wrong one", hash);
        worked() - before
    }

    #[tokio::test]
    async fn nobody_takes_as_long_as_somebody() {
        let hasher = Hasher::new();
        let hash = hasher.hash("correct horse").await.expect("room");
        let mut ratios = Vec::new();
        // The fastest of some, taken in turns, is what the rest of the machine disturbs least; on a busy one it takes several looks.
        for _ in 0..10 {
            let (mut somebody, mut nobody) = (u64::MAX, u64::MAX);
            for _ in 0..5 {
                somebody = somebody.min(time(&hasher, Some(&hash)));
                nobody = nobody.min(time(&hasher, None));
            }
            let ratio = somebody as f64 / nobody as f64;
            if (0.8..1.25).contains(&ratio) {
                return;
            }
            ratios.push(ratio);
        }
        panic!("{ratios:?}");
    }

    #[tokio::test]
    async fn beyond_the_queue_it_is_refused_at_once() {
        let hasher = weaker();
        let hold = Arc::clone(&hasher.turns).acquire_owned().await.expect("open");
        let mut waiting = Vec::new();
        for _ in 0..=QUEUE {
            let mut one = Box::pin(hasher.hash("x"));
            assert!(timeout(Duration::ZERO, &mut one).await.is_err());
            waiting.push(one);
        }
        assert!(hasher.hash("x").await.is_err());
        drop(hold);
        for one in waiting {
            assert!(one.await.is_ok());
        }
    }
}
