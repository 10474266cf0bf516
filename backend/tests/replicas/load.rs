//! One who writes, and some who read, all the time, through different backends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backend::store::{At, Changed, Condition, Created, Lsn, Store, StoreError};
use backend::users::{Change, Email, Name, NewUser};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::common::until;

const READERS: usize = 8;

/// Half of the readers need no more than what was written at least so long ago, which replicas are known to have.
const SETTLED: Duration = Duration::from_millis(300);

/// No write is refused later than this. (In far less, but the machine may be busy.)
const SOON: Duration = Duration::from_secs(6);

pub fn new_user(n: u64) -> NewUser {
    NewUser {
        name: Name::new("n").expect("a name"),
        email: Email::new(&format!("{n}@example.com")).expect("an address"),
        password: None,
    }
}

pub async fn create(store: &dyn Store, n: u64) -> Result<i64, StoreError> {
    match store.create(&new_user(n), None, None).await? {
        Created::Now(user, _) => Ok(user.id),
        other => panic!("{other:?}"),
    }
}

/// A change of the user; the new version.
pub async fn change(store: &dyn Store, id: i64) -> Result<i64, StoreError> {
    let change = Change {
        name: Some(Name::new("m").expect("a name")),
        email: None,
    };
    match store.update(id, &change, &Condition::default()).await? {
        Changed::Done((user, _)) => Ok(user.version),
        other => panic!("{other:?}"),
    }
}

pub async fn position(store: &dyn Store) -> Result<Lsn, StoreError> {
    Ok(store.position().await?.expect("there are replicas"))
}

/// What the readers must see at least.
#[derive(Clone, Copy)]
struct Written {
    version: i64,
    place: Lsn,
}

/// The load.
pub struct Load {
    id: i64,
    store: Arc<dyn Store>,
    /// How many each of the readers has done.
    reads: Vec<Arc<AtomicU64>>,
    acknowledged: Arc<AtomicU64>,
    writing: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    writer: JoinHandle<Vec<i64>>,
    readers: Vec<JoinHandle<()>>,
}

impl Load {
    /// A read that fails, or does not see what was written before, is a panic.
    pub async fn start(writes: Arc<dyn Store>, reads: Arc<dyn Store>) -> Self {
        let id = create(writes.as_ref(), 0).await.expect("the primary is there");
        let first = Written {
            version: 1,
            place: position(writes.as_ref()).await.expect("the primary is there"),
        };
        let (newest, written) = watch::channel(first);
        let (older, settled) = watch::channel(first);
        let (stop, writing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counters: Vec<Arc<AtomicU64>> = (0..READERS).map(|_| Arc::default()).collect();
        let readers = counters.iter().enumerate().map(|(n, counter)| {
            let (store, written) = (Arc::clone(&reads), if n % 2 == 0 { written.clone() } else { settled.clone() });
            tokio::spawn(read(store, id, written, Arc::clone(&stop), Arc::clone(counter)))
        });
        Self {
            id,
            readers: readers.collect(),
            store: reads,
            writer: tokio::spawn(write(
                writes,
                id,
                [newest, older],
                Arc::clone(&stop),
                Arc::clone(&writing),
                Arc::clone(&acknowledged),
            )),
            reads: counters,
            acknowledged,
            writing,
            stop,
        }
    }

    /// Waits for some more reads of every reader, which begin from now on.
    pub async fn reads(&self) {
        for counter in &self.reads {
            grows("reads", counter, 10).await;
        }
    }

    /// Waits for some more that this server answers, by its place in the settings.
    pub async fn reads_of(&self, server: usize) {
        let statements = || self.store.servers()[server].pool.statements;
        let goal = statements() + 20;
        until("reads of the server", async || statements() >= goal).await;
    }

    /// Waits for some more writes.
    pub async fn writes(&self) {
        grows("acknowledged writes", &self.acknowledged, 5).await;
    }

    /// Reads go on, writes end.
    pub fn stop_writing(&self) {
        self.writing.store(false, Ordering::SeqCst);
    }

    /// Ends it, and checks that every acknowledged write is there.
    pub async fn finish(self, store: &dyn Store) {
        self.stop.store(true, Ordering::SeqCst);
        for reader in self.readers {
            reader.await.expect("no read fails");
        }
        let created = self
            .writer
            .await
            .expect("no write is refused for another reason than that the primary is away");
        let user = store.user(self.id, At::Primary).await.expect("it answers").expect("it is there");
        assert!(user.version >= created.len() as i64, "each of them came after a change");
        for id in created {
            assert!(
                store.user(id, At::Primary).await.expect("it answers").is_some(),
                "user {id} is lost"
            );
        }
    }
}

async fn grows(what: &str, counter: &AtomicU64, by: u64) {
    let goal = counter.load(Ordering::SeqCst) + by;
    until(what, async || counter.load(Ordering::SeqCst) >= goal).await;
}

/// Changes one user and adds others; the ids of those that are there for certain.
async fn write(
    store: Arc<dyn Store>,
    id: i64,
    [newest, older]: [watch::Sender<Written>; 2],
    stop: Arc<AtomicBool>,
    writing: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> Vec<i64> {
    let mut created = Vec::new();
    let (mut settling, mut since) = (*newest.borrow(), Instant::now());
    for n in 1.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        if since.elapsed() > SETTLED {
            older.send_replace(std::mem::replace(&mut settling, *newest.borrow()));
            since = Instant::now();
        }
        let started = Instant::now();
        let one = async {
            let version = change(store.as_ref(), id).await?;
            let place = position(store.as_ref()).await?;
            newest.send_replace(Written { version, place });
            created.push(create(store.as_ref(), n).await?);
            Ok(())
        };
        if writing.load(Ordering::SeqCst) {
            match one.await {
                Ok(()) => {
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                Err(StoreError::Unavailable(_)) => {}
                Err(e) => panic!("{e}"),
            }
            assert!(started.elapsed() < SOON, "refused after {:?}", started.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    created
}

async fn read(store: Arc<dyn Store>, id: i64, written: watch::Receiver<Written>, stop: Arc<AtomicBool>, reads: Arc<AtomicU64>) {
    while !stop.load(Ordering::SeqCst) {
        let Written { version, place } = *written.borrow();
        let user = store.user(id, At::Replayed(place)).await;
        let user = user.unwrap_or_else(|e| panic!("a read failed: {e}")).expect("it is there");
        assert!(
            user.version >= version,
            "version {version} was written before, and {} read",
            user.version
        );
        reads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
