//! One look at a name: its addresses, or its services and their addresses.
//!
//! A and AAAA records are asked for at once. An answer without records is an answer; no answer, or one that says that the name server
//! itself has failed, is none. So where one of the two fails, the addresses that it gave last are kept beside what the other says, and a
//! dual-stack server does not lose half of its addresses to one lost packet.
//!
//! A service (RFC 2782) has records that name hosts, each with a port, a priority and a weight. Hosts without an address are left out.
//! Where a question about any host fails, the whole look has.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join, join_all};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use lb_config::DnsName;

use super::names::{Asked, Names};

/// Questions about the hosts of one service at once.
const AT_ONCE: usize = 16;

/// A server that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::upstream) struct FoundServer {
    pub(in crate::upstream) ip: IpAddr,
    pub(in crate::upstream) port: u16,
    /// As its record says; 0 to 65535. For an address without such a record, 1.
    pub(in crate::upstream) weight: u16,
    /// Not of the first priority.
    pub(in crate::upstream) backup: bool,
    /// The name that this is an address of.
    pub(in crate::upstream) host: Arc<str>,
}

/// What a look found; at least one server.
#[derive(Debug)]
pub(super) struct Answer {
    /// In order, none twice.
    pub(super) servers: Vec<FoundServer>,
    /// How long it holds.
    pub(super) ttl: Duration,
    /// A part that failed, and was made up for by what was known.
    pub(super) failed: Option<String>,
}

/// Why a question got no records.
#[derive(Debug)]
enum Miss {
    /// There are none.
    Nothing(String),
    /// Nobody knows.
    Failed(String),
}

/// Looks a name up. `last` is what the look before found.
pub(super) async fn look(names: &Names, name: &DnsName, last: &[FoundServer]) -> Result<Answer, String> {
    let asked = names.of(name.nameserver);
    let candidates = asked.candidates(&name.name)?;
    let known = !last.is_empty();
    let mut answer = match name.port {
        Some(port) => {
            let (host, addresses) = first(&candidates, known, |host| addresses(&asked, host, last).boxed()).await?;
            let servers = addresses.ips.iter().map(|ip| FoundServer {
                ip: *ip,
                port,
                weight: 1,
                backup: false,
                host: host.clone(),
            });
            Answer {
                servers: servers.collect(),
                ttl: addresses.ttl,
                failed: addresses.failed,
            }
        }
        None => {
            let (_, records) = first(&candidates, known, |name| records(&asked, name, RecordType::SRV).boxed()).await?;
            service(&asked, &records, last).await?
        }
    };
    answer.servers.sort();
    answer.servers.dedup_by_key(|server| (server.ip, server.port));
    Ok(answer)
}

/// Asks for one name after the other until one has something. Once something was known, a failure is no reason to ask for the next.
async fn first<'a, T>(
    names: &'a [Name],
    known: bool,
    ask: impl Fn(&'a Name) -> BoxFuture<'a, Result<T, Miss>>,
) -> Result<(Arc<str>, T), String> {
    let (mut failed, mut nothing) = (None, None);
    for name in names {
        match ask(name).await {
            Ok(found) => return Ok((name.to_ascii().into(), found)),
            Err(Miss::Failed(why)) if known => return Err(why),
            Err(Miss::Failed(why)) => failed = failed.or(Some(why)),
            Err(Miss::Nothing(why)) => nothing = Some(why),
        }
    }
    Err(failed.or(nothing).unwrap_or_default())
}

/// What a host name has; at least one address.
struct Addresses {
    ips: Vec<IpAddr>,
    ttl: Duration,
    failed: Option<String>,
}

async fn addresses(asked: &Asked, host: &Name, last: &[FoundServer]) -> Result<Addresses, Miss> {
    if let Some(records) = asked.hosts(host) {
        return both(Ok(records), Err(Miss::Nothing(String::new())), &[]);
    }
    let (v4, v6) = join(records(asked, host, RecordType::A), records(asked, host, RecordType::AAAA)).await;
    let host = host.to_ascii();
    let last: Vec<_> = last.iter().filter(|server| *server.host == *host).map(|server| server.ip).collect();
    both(v4, v6, &last)
}

/// Puts the answers to two questions together. Of the one that failed the addresses are those that there were last.
fn both(v4: Result<Vec<Record>, Miss>, v6: Result<Vec<Record>, Miss>, last: &[IpAddr]) -> Result<Addresses, Miss> {
    let kept = |v4: bool| last.iter().filter(move |ip| ip.is_ipv4() == v4).copied();
    let (mut ips, failed): (Vec<IpAddr>, _) = match (&v4, &v6) {
        (Err(Miss::Failed(why)), Ok(_)) => (kept(true).collect(), Some(format!("A records: {why}"))),
        (Ok(_), Err(Miss::Failed(why))) => (kept(false).collect(), Some(format!("AAAA records: {why}"))),
        _ => (Vec::new(), None),
    };
    let records = match (v4, v6) {
        (Ok(v4), Ok(v6)) => [v4, v6].concat(),
        (Ok(records), Err(_)) | (Err(_), Ok(records)) => records,
        (Err(why @ Miss::Failed(_)), _) | (_, Err(why)) => return Err(why),
    };
    ips.extend(
        records
            .iter()
            .filter_map(|record| record.data.ip_addr())
            .map(|ip| ip.to_canonical()),
    );
    if ips.is_empty() {
        return Err(Miss::Nothing("the name has no address".into()));
    }
    Ok(Addresses {
        ips,
        ttl: ttl(&records),
        failed,
    })
}

/// The records of one kind and what leads to them; at least one.
async fn records(asked: &Asked, name: &Name, kind: RecordType) -> Result<Vec<Record>, Miss> {
    let resolver = asked.resolver.as_ref().map_err(|why| Miss::Failed(why.clone()))?;
    match resolver.lookup(name.clone(), kind).await {
        Ok(lookup) if lookup.answers().iter().any(|record| record.record_type() == kind) => Ok(lookup.answers().to_vec()),
        Ok(_) => Err(Miss::Nothing(format!("the name has no {kind} record"))),
        Err(error) => Err(miss(&error, kind)),
    }
}

fn miss(error: &NetError, kind: RecordType) -> Miss {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Miss::Nothing("there is no such name (NXDOMAIN)".into()),
            ResponseCode::NoError if kind == RecordType::SRV => Miss::Nothing("the name has no SRV record".into()),
            ResponseCode::NoError => Miss::Nothing("the name has no address".into()),
            code => Miss::Failed(format!("the name server says: {code}")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => Miss::Failed(format!("the name server says: {code}")),
        NetError::Timeout => Miss::Failed("the name server does not answer".into()),
        error => Miss::Failed(format!("cannot ask the name server: {error}")),
    }
}

fn ttl(records: &[Record]) -> Duration {
    let least = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    Duration::from_secs(least.into())
}

async fn service(asked: &Asked, records: &[Record], last: &[FoundServer]) -> Result<Answer, String> {
    let services: Vec<&SRV> = records
        .iter()
        .filter_map(|record| match &record.data {
            // "." says that there is no such service here.
            RData::SRV(service) if !service.target.is_root() => Some(service),
            _ => None,
        })
        .collect();
    let mut hosts = Vec::with_capacity(services.len());
    for some in services.chunks(AT_ONCE) {
        let answers = join_all(some.iter().map(|service| addresses(asked, &service.target, last))).await;
        for (service, answer) in some.iter().zip(answers) {
            match answer {
                Ok(addresses) => hosts.push((*service, addresses)),
                Err(Miss::Nothing(_)) => {}
                Err(Miss::Failed(why)) => return Err(format!("{}: {why}", service.target)),
            }
        }
    }
    let Some(first) = hosts.iter().map(|(service, _)| service.priority).min() else {
        return Err("none of the service's hosts has an address".into());
    };
    let mut answer = Answer {
        servers: Vec::new(),
        ttl: ttl(records),
        failed: None,
    };
    for (service, addresses) in hosts {
        let host: Arc<str> = service.target.to_ascii().into();
        answer.ttl = answer.ttl.min(addresses.ttl);
        answer.failed = answer.failed.or(addresses.failed);
        answer.servers.extend(addresses.ips.into_iter().map(|ip| FoundServer {
            ip,
            port: service.port,
            weight: service.weight,
            backup: service.priority > first,
            host: host.clone(),
        }));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn record(ip: &str, ttl: u32) -> Record {
        let name = Name::from_str("app.internal.").expect("a name");
        Record::from_rdata(name, ttl, RData::from(ip.parse::<IpAddr>().expect("an address")))
    }

    fn ips(found: Result<Addresses, Miss>) -> Result<(Vec<String>, u64, bool), bool> {
        match found {
            Ok(found) => Ok((
                found.ips.iter().map(IpAddr::to_string).collect(),
                found.ttl.as_secs(),
                found.failed.is_some(),
            )),
            Err(why) => Err(matches!(why, Miss::Failed(_))),
        }
    }

    fn shown(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_family_that_fails_keeps_what_it_had() {
        let last = ["10.0.0.1", "fd00::1"].map(|ip| ip.parse().expect("an address"));
        let v4 = || Ok(vec![record("10.0.0.2", 30)]);
        let v6 = || Ok(vec![record("fd00::2", 20)]);
        let nothing = || Err(Miss::Nothing("none".into()));
        let failed = || Err(Miss::Failed("gone".into()));
        assert_eq!(ips(both(v4(), v6(), &last)), Ok((shown(&["10.0.0.2", "fd00::2"]), 20, false)));
        assert_eq!(ips(both(v4(), nothing(), &last)), Ok((shown(&["10.0.0.2"]), 30, false)));
        assert_eq!(ips(both(v4(), failed(), &last)), Ok((shown(&["fd00::1", "10.0.0.2"]), 30, true)));
        assert_eq!(ips(both(failed(), v6(), &last)), Ok((shown(&["10.0.0.1", "fd00::2"]), 20, true)));
        assert_eq!(ips(both(failed(), nothing(), &last)), Err(true));
        assert_eq!(ips(both(nothing(), failed(), &last)), Err(true));
        assert_eq!(ips(both(nothing(), nothing(), &last)), Err(false));
    }

    #[test]
    fn an_address_in_another_guise_is_the_same_address() {
        let mapped = both(Err(Miss::Nothing(String::new())), Ok(vec![record("::ffff:10.0.0.1", 1)]), &[]);
        assert_eq!(ips(mapped), Ok((shown(&["10.0.0.1"]), 1, false)));
    }

    #[tokio::test]
    async fn once_something_was_known_a_failure_ends_the_search() {
        let names = ["a.x.", "a."].map(|name| Name::from_str(name).expect("a name"));
        let answers = async |known, first_failed: bool| {
            let answer = |name: &Name| match name.to_ascii().as_str() {
                "a.x." if first_failed => Err(Miss::Failed("gone".into())),
                "a.x." => Err(Miss::Nothing("none".into())),
                _ => Ok(()),
            };
            let found = first(&names, known, |name| std::future::ready(answer(name)).boxed());
            found.await.map(|(name, ())| name.to_string())
        };
        assert_eq!(answers(false, true).await, Ok("a.".into()));
        assert_eq!(answers(true, true).await, Err("gone".into()));
        assert_eq!(answers(true, false).await, Ok("a.".into()));
    }
}
