//! Who is asking, and how one proves it.
//!
//! Two tokens, since what is checked at each request should need no look-up, and what can be taken back must be looked up:
//!
//! - The **access token** is a JWT ([`token`]): any server checks it by itself, with the secret that all of them share. It lives 15 minutes
//!   and cannot be taken back.
//! - The **refresh token** ([`session`]) is random, and is what a session is: it can be exchanged once for a new pair of tokens. The
//!   server keeps only its hash. One that comes a second time was stolen, or its successor was (RFC 9700, section 4.14.2), so the
//!   whole session ends.
//!
//! Passwords are hashed with argon2id ([`password`]), slowly on purpose, and whoever fails too often has to wait ([`limit`]). All
//! that must be remembered stands in Redis or in the database: a session made at one server works at every other, also after
//! the first one's death.

pub mod limit;
pub mod password;
pub mod session;
pub mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::count::Count;
use crate::idempotency::Key;
use crate::store::{Created, Sessions, Store, StoreError};
use crate::users::{Account, Credentials, Email, NewUser, Role};
use limit::Limits;
use password::{Busy, Hasher};
use session::RefreshToken;
use token::Tokens;

/// Whoever holds a valid access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user's id.
    pub id: i64,
    /// What the user may do.
    pub role: Role,
}

/// What a login or refresh gives.
#[derive(Serialize, ToSchema)]
pub struct Grant {
    /// For the `Authorization` header.
    pub access_token: String,
    /// For the next refresh; it can be used once.
    pub refresh_token: String,
    /// After how many seconds the access token is no longer valid.
    pub expires_in: u64,
}

/// Why there is no grant.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The e-mail address or the password is wrong. Which of them is nobody's business.
    #[error("wrong e-mail address or password")]
    WrongCredentials,
    /// The refresh token is none, or of a session that is over.
    #[error("no such session")]
    NoSession,
    /// Too many failures; after this time it may be tried again.
    #[error("too many failed logins")]
    TooMany(Duration),
    /// So many passwords are being hashed that no more are taken.
    #[error("too many passwords are being hashed")]
    Busy,
    /// What has to be looked up cannot be.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Busy> for Refusal {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Logins that gave a session.
    pub logins: Count,
    /// Logins with a wrong address or password.
    pub logins_failed: Count,
    /// Logins that were refused unseen, after too many of those.
    pub logins_limited: Count,
    /// Refreshes that gave the next pair of tokens.
    pub refreshes: Count,
    /// Refreshes with what is no token, or of a session that is over.
    pub refreshes_refused: Count,
    /// Those of them with a token that had been exchanged before, which ended the session.
    pub reuses: Count,
}

/// Everything about logging in.
pub struct Auth {
    store: Arc<dyn Store>,
    sessions: Arc<dyn Sessions>,
    hasher: Hasher,
    tokens: Tokens,
    counts: Counts,
}

impl Auth {
    /// Puts it together; connects to nothing.
    pub fn new(store: Arc<dyn Store>, sessions: Arc<dyn Sessions>, secret: &[u8]) -> Self {
        Self {
            store,
            sessions,
            hasher: Hasher::new(),
            tokens: Tokens::new(secret),
            counts: Counts::default(),
        }
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Who holds this access token, if it is valid.
    pub fn caller(&self, access_token: &str) -> Option<Caller> {
        self.tokens.read(access_token)
    }

    /// Adds a user, with a password or without, unless it was done under this key before.
    pub async fn register(&self, new: &NewUser, key: Option<Key>) -> Result<Created, Refusal> {
        let once = match key {
            Some(key) => Some(key.once(new, Some(&self.hasher)).await?),
            None => None,
        };
        let hash = match &new.password {
            Some(password) => Some(self.hasher.hash(password.as_str()).await?),
            None => None,
        };
        Ok(self.store.create(new, hash.as_deref(), once.as_ref()).await?)
    }

    /// Begins a session, when the password is right.
    ///
    /// Unknown addresses take the same steps as known ones, so that the time tells nothing. Guesses that run at once are counted
    /// one by one as they fail, and a right one is looked at again in the end: so no more than the limit are ever answered.
    pub async fn login(&self, given: &Credentials, from: IpAddr) -> Result<Grant, Refusal> {
        let outcome = self.try_login(given, from).await;
        match &outcome {
            Ok(_) => self.counts.logins.add(1),
            Err(Refusal::WrongCredentials) => self.counts.logins_failed.add(1),
            Err(Refusal::TooMany(_)) => self.counts.logins_limited.add(1),
            Err(_) => {}
        }
        outcome
    }

    async fn try_login(&self, given: &Credentials, from: IpAddr) -> Result<Grant, Refusal> {
        // What is no address is nobody's; it must not reach the database, which cannot take every text.
        let email = Email::new(&given.email).ok();
        let limits = Limits::of(from, email.as_ref());
        limits.check(&*self.sessions).await?;
        let account = match &email {
            Some(email) => self.store.account_of(email).await?,
            None => None,
        };
        let hash = account.as_ref().and_then(|account| account.password_hash.clone());
        let verdict = self.hasher.verify(&given.password, hash).await?;
        let Some(account) = account.filter(|_| verdict.is_right) else {
            limits.failed(&*self.sessions).await?;
            return Err(Refusal::WrongCredentials);
        };
        limits.passed(&*self.sessions).await?;
        if let (true, Some(old)) = (verdict.is_outdated, &account.password_hash) {
            self.rehash(&account, old, &given.password).await;
        }
        self.begin(&account).await
    }

    /// Whatever goes wrong here is tried again at the next login, and no reason to refuse this one.
    async fn rehash(&self, account: &Account, old: &str, password: &str) {
        let Ok(new) = self.hasher.hash(password).await else { return };
        if let Err(e) = self.store.rehash(account.user.id, old, &new).await {
            tracing::warn!("cannot renew a password's hash: {e}");
        }
    }

    async fn begin(&self, account: &Account) -> Result<Grant, Refusal> {
        let token = RefreshToken::begin()?;
        let (user, credentials) = (account.user.id, account.credentials);
        self.sessions
            .begin(token.session(), user, credentials, &token.hash(), session::LIFETIME)
            .await?;
        Ok(self.grant(account, &token))
    }

    /// Exchanges a refresh token for the next pair.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Grant, Refusal> {
        let outcome = self.try_refresh(refresh_token).await;
        match &outcome {
            Ok(_) => self.counts.refreshes.add(1),
            Err(Refusal::NoSession) => self.counts.refreshes_refused.add(1),
            Err(_) => {}
        }
        outcome
    }

    async fn try_refresh(&self, refresh_token: &str) -> Result<Grant, Refusal> {
        let given = RefreshToken::parse(refresh_token).ok_or(Refusal::NoSession)?;
        let owner = self.sessions.owner(given.session()).await?.ok_or(Refusal::NoSession)?;
        // The user first: were the database away after the exchange, the client would be left with a token that is spent.
        let account = self.store.account(owner.user).await?;
        let Some(account) = account.filter(|account| account.credentials == owner.credentials) else {
            self.sessions.end(given.session()).await?;
            return Err(Refusal::NoSession);
        };
        let next = given.next()?;
        let exchanged = self
            .sessions
            .exchange(given.session(), &given.hash(), &next.hash(), session::LIFETIME)
            .await?;
        if exchanged {
            Ok(self.grant(&account, &next))
        } else {
            self.counts.reuses.add(1);
            Err(Refusal::NoSession)
        }
    }

    fn grant(&self, account: &Account, token: &RefreshToken) -> Grant {
        let caller = Caller {
            id: account.user.id,
            role: account.role,
        };
        Grant {
            access_token: self.tokens.issue(caller),
            refresh_token: token.to_string(),
            expires_in: token::LIFETIME.as_secs(),
        }
    }

    /// Ends the session of a refresh token; of what is none, there is nothing to end (RFC 7009, section 2.2).
    pub async fn logout(&self, refresh_token: &str) -> Result<(), Refusal> {
        if let Some(token) = RefreshToken::parse(refresh_token) {
            self.sessions.end(token.session()).await?;
        }
        Ok(())
    }

    /// The caller's own account, unless it is gone.
    pub async fn account(&self, caller: Caller) -> Result<Option<Account>, Refusal> {
        Ok(self.store.own_account(caller.id).await?)
    }
}
