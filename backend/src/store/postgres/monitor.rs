//! One task for each server asks it all the time what it is and how far it is; together they decide which one is the primary.
//!
//! PostgreSQL begins a new timeline whenever a standby is promoted. So of two servers that both believe to be the primary, the one on the higher timeline is
//! it, and the other one is an old one that came back. A timeline that was seen once, be it in a replica's row of it, is never gone behind again.
//!
//! Before anything is written to a primary it gets a row of its history (`histories`), whose number then stands before every place in the log.

use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnection;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::server::{Known, Seen, Server, look, look_at_replica, mark};
use super::servers::{Servers, View};
use crate::store::Lsn;

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(250);
/// The least pause, when somebody wants to know at once.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// How long an answer may take, with the connection where one is needed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Watches over one server, for ever.
pub(super) async fn watch_over(servers: Arc<Servers>, index: usize) {
    let Some(access) = servers.list.get(index) else { return };
    let server = &access.server;
    let mut monitor = Monitor {
        server,
        connection: None,
        marked: None,
        answered: None,
    };
    loop {
        monitor.ask().await;
        elect(&servers);
        if servers.view().primary == Some(index) && monitor.mark().await {
            elect(&servers);
        }
        let wanted = timeout(PAUSE, server.wanted.notified()).await;
        if wanted.is_ok() {
            sleep(LEAST_PAUSE).await;
        }
    }
}

struct Monitor<'a> {
    server: &'a Server,
    connection: Option<PgConnection>,
    /// The history of this cluster and timeline.
    marked: Option<(i64, i64, i64)>,
    /// Whether the last question was answered; none was asked yet.
    answered: Option<bool>,
}

impl Monitor<'_> {
    async fn ask(&mut self) {
        let doubts = self.server.doubts();
        // A connection that hangs is taken out here, and dropped with the question.
        let connection = self.connection.take();
        let why = match timeout(PATIENCE, ask(self.server, connection)).await {
            Ok(Ok((seen, connection))) => {
                self.connection = Some(connection);
                self.server.learn(self.with_history(seen), doubts);
                None
            }
            Ok(Err(e)) => {
                self.server.miss(true);
                Some(e.to_string())
            }
            Err(_) => {
                self.server.miss(false);
                Some(format!("no answer within {PATIENCE:?}"))
            }
        };
        match (&why, self.answered.replace(why.is_none())) {
            (None, Some(false)) => info!("the database server {} answers again", self.server.name),
            (Some(why), None | Some(true)) => warn!("the database server {} does not answer: {why}", self.server.name),
            _ => {}
        }
    }

    /// Leaves a row of the history that this primary writes. Whether that was due.
    async fn mark(&mut self) -> bool {
        let seen = self.server.known().seen;
        let Some(seen) = seen.filter(|seen| !seen.recovering && seen.place.history == 0) else {
            return false;
        };
        let Some(mut connection) = self.connection.take() else {
            return false;
        };
        match timeout(PATIENCE, mark(&mut connection, seen)).await {
            Ok(Ok(Some(history))) => {
                self.connection = Some(connection);
                self.marked = Some((seen.system, seen.timeline, history));
                self.server.belongs_to(history);
                true
            }
            // Before the schema is there, for one. Next time, then.
            Ok(Ok(None) | Err(sqlx::Error::Database(_))) => {
                self.connection = Some(connection);
                false
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// What is known of a primary beyond what it says.
    fn with_history(&self, mut seen: Seen) -> Seen {
        if let Some((system, timeline, history)) = self.marked
            && !seen.recovering
            && (system, timeline) == (seen.system, seen.timeline)
        {
            seen.place = Lsn::new(history, seen.place.lsn);
        }
        seen
    }
}

/// Asks over the connection, or over a new one: that it was cut does not mean that the server is away.
async fn ask(server: &Server, connection: Option<PgConnection>) -> sqlx::Result<(Seen, PgConnection)> {
    if let Some(mut connection) = connection
        && let Ok(seen) = ask_on(&mut connection).await
    {
        return Ok((seen, connection));
    }
    let mut connection = server.options.clone().disable_statement_logging().connect().await?;
    Ok((ask_on(&mut connection).await?, connection))
}

async fn ask_on(connection: &mut PgConnection) -> sqlx::Result<Seen> {
    let seen = look(connection).await?;
    if !seen.recovering {
        return Ok(seen);
    }
    match look_at_replica(connection).await {
        // It was promoted in between; or there is no table yet, so nothing is known of its timeline.
        Ok(again) if !again.recovering => look(connection).await,
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("42P01") => Ok(seen),
        outcome => outcome,
    }
}

/// Decides anew which server is the primary.
fn elect(servers: &Servers) {
    servers.change(|before| {
        let known: Vec<Known> = servers.list.iter().map(|access| access.server.known()).collect();
        elected(before, &known)
    });
}

/// Which server is the primary, if these are known.
fn elected(before: View, known: &[Known]) -> View {
    // The first server's word on what cluster this is counts most: the others are copies of it.
    let system = known.iter().find_map(|one| one.seen).map_or(0, |seen| seen.system);
    let seen = |one: &Known| one.seen.filter(|seen| seen.system == system);
    let floor = if system == before.system { before.timeline } else { 0 };
    let timeline = known.iter().filter_map(seen).map(|seen| seen.timeline).fold(floor, i64::max);
    let floor = if system == before.system { before.history } else { 0 };
    let history = known.iter().filter_map(seen).map(|seen| seen.place.history).fold(floor, i64::max);
    let writes = |one: &Known| one.answers() && seen(one).is_some_and(|seen| !seen.recovering && seen.timeline == timeline);
    let primary = known.iter().position(writes);
    View {
        looked: before.looked || known.iter().all(|one| one.looked),
        primary,
        marked: primary
            .and_then(|index| known.get(index)?.seen)
            .is_some_and(|seen| seen.place.history > 0),
        system,
        timeline,
        history,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of servers, `None` for one that never gave any: recovering, cluster, timeline.
    fn known(answers: &[Option<(bool, i64, i64)>]) -> Vec<Known> {
        let one = |answer: &Option<(bool, i64, i64)>| {
            answer.map_or(Known::default(), |(recovering, system, timeline)| {
                Known::answered(Seen {
                    recovering,
                    place: Lsn::new(timeline, 1),
                    system,
                    timeline,
                })
            })
        };
        answers.iter().map(one).collect()
    }

    fn primary(before: View, answers: &[Option<(bool, i64, i64)>]) -> View {
        elected(before, &known(answers))
    }

    #[test]
    fn the_first_server_is_the_primary_unless_another_is_on_a_higher_timeline() {
        let both = primary(View::default(), &[Some((false, 7, 1)), Some((false, 7, 1))]);
        assert_eq!((both.primary, both.looked), (Some(0), true));
        let promoted = primary(both, &[Some((false, 7, 1)), Some((false, 7, 2))]);
        assert_eq!(promoted.primary, Some(1));
        let silent = primary(promoted, &[Some((false, 7, 1)), None]);
        assert_eq!(silent.primary, None, "an old primary is never gone back to");
        let standby = primary(promoted, &[Some((true, 7, 2)), Some((false, 7, 2))]);
        assert_eq!(standby.primary, Some(1));
        let back = primary(promoted, &[Some((false, 7, 3)), Some((true, 7, 3))]);
        assert_eq!(back.primary, Some(0));
    }

    #[test]
    fn without_a_server_that_writes_there_is_none() {
        assert_eq!(primary(View::default(), &[None, Some((true, 7, 1))]).primary, None);
        assert_eq!(primary(View::default(), &[Some((true, 7, 0)), Some((true, 7, 0))]).primary, None);
    }

    #[test]
    fn a_replica_that_follows_a_later_primary_shows_that_this_one_is_old() {
        assert_eq!(primary(View::default(), &[Some((false, 7, 1)), Some((true, 7, 2))]).primary, None);
    }

    #[test]
    fn a_server_of_another_cluster_has_no_say() {
        let view = primary(View::default(), &[Some((false, 7, 1)), Some((false, 8, 5)), Some((true, 8, 5))]);
        assert_eq!((view.primary, view.timeline), (Some(0), 1));
        let replaced = primary(view, &[Some((false, 9, 1)), Some((true, 7, 1))]);
        assert_eq!((replaced.primary, replaced.system, replaced.timeline), (Some(0), 9, 1));
        let later = primary(View { timeline: 3, ..view }, &[Some((false, 9, 1)), Some((true, 7, 3))]);
        assert_eq!(later.primary, Some(0), "timelines are counted anew in another cluster");
    }
}
