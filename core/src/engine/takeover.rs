//! Taking a container's name resolution over: every socket first, then proof
//! that it answers, and only then resolv.conf.

use super::base::{Base, Plans, tell_own_nameservers};
use super::bind;
use super::error::{Error, ErrorKind};
use super::start::await_place;
use crate::cloudrun::{METADATA_ADDRESS, METADATA_NAMES, PLATFORM_ZONE};
use crate::dns::{
    Kind, LocalZone, Original, Restored, Server, TakeOver, Wanted, Zone, ZoneConfig, probe,
    read_original,
};
use crate::names;
use crate::proxy::Proxy;
use crate::settings::{Config, ResolvConfMode};
use crate::telemetry::Log;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long our own server may take to answer us: a bound for what is broken,
/// not for a machine that has other things to do.
const SELF: Duration = Duration::from_secs(5);
/// How long another runsd may take, on whose word the whole mode depends. Where
/// there is none the kernel says so at once.
const PREDECESSOR: Duration = Duration::from_secs(1);

/// The files that engines of this process have taken over.
static TAKEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A resolv.conf of ours, until it is given back.
pub(super) struct Owned {
    taken: TakeOver,
    nameserver: IpAddr,
    claim: Claim,
}

/// The right to change one file, of which there is one in a process.
struct Claim(PathBuf);

impl Claim {
    fn stake(path: &PathBuf) -> Result<Claim, Error> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.contains(path) {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "another engine of this process has taken {} over; stop it first, or use \
                     resolv_conf_mode leave",
                    path.display()
                ),
            ));
        }
        taken.push(path.clone());
        Ok(Claim(path.clone()))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|path| *path != self.0);
    }
}

impl Owned {
    /// Puts back what was there.
    pub(super) fn restore(self, log: &Log) {
        let path = self.claim.0.display();
        match self.taken.restore() {
            Ok(Restored::Original) => log.debug("engine", format_args!("{path} is restored")),
            Ok(Restored::ChangedByOthers) => log.warn(
                "engine",
                format_args!(
                    "{path} has been changed while runsd ran, and is left as it is; if it still \
                     names {}, nothing answers there any more",
                    self.nameserver
                ),
            ),
            Err(error) => log.error("engine", format_args!("cannot restore {path}: {error}")),
        }
    }
}

/// What resolv.conf says without us.
pub(super) fn original(plans: &Plans) -> Result<Original, Error> {
    let path = &plans.config.resolv_conf;
    match read_original(path) {
        Ok(original) => Ok(original),
        Err(cause) if plans.config.dns => Err(Error::resolv_conf(path, cause)),
        Err(_) => Ok(Original::default()),
    }
}

/// The runsd that marked resolv.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predecessor {
    /// The file has no mark.
    None,
    /// It answers.
    AtWork,
    /// It was killed: nobody has its address, or somebody else.
    Gone,
    /// Its address is taken and silent: it may be stopped, or starved of CPU.
    Silent,
}

/// Looks for the runsd that marked the file. Blocks for at most a second.
pub(super) fn predecessor(original: &Original) -> Predecessor {
    let Some(marker) = &original.marked else { return Predecessor::None };
    let server = SocketAddr::new(marker.nameserver, 53);
    match probe(server, &marker.domain, PREDECESSOR) {
        Ok(nonce) if nonce.as_ref() == Some(&marker.nonce) => Predecessor::AtWork,
        Ok(_) => Predecessor::Gone,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Predecessor::Gone,
        Err(_) => Predecessor::Silent,
    }
}

/// Puts back what a killed predecessor has left behind, where we do not take
/// the file over ourselves: nobody answers at the address that it names.
pub(super) fn recover(plans: &Plans, original: &Original, predecessor: Predecessor) {
    if predecessor != Predecessor::Gone {
        return;
    }
    let path = plans.config.resolv_conf.display();
    match original.put_back(&plans.config.resolv_conf) {
        Ok(true) => {
            plans.log.info("engine", format_args!("{path} is restored after a killed runsd"))
        }
        // Somebody was quicker, a runsd that has started beside us for one.
        Ok(false) => {}
        Err(error) => plans.log.warn(
            "engine",
            format_args!(
                "{path} is still that of a killed runsd, so that names lead nowhere: {error}; \
                 its comments hold the original, which is to be put back by hand"
            ),
        ),
    }
}

/// Whether the full mode would rewrite the file.
pub(super) fn rewrites(config: &Config) -> bool {
    config.dns && config.resolv_conf_mode == ResolvConfMode::Rewrite
}

/// Whether an engine of this process has the file; a second one is told so.
pub(super) fn is_taken(config: &Config) -> Result<(), Error> {
    if rewrites(config) {
        return Claim::stake(&config.resolv_conf).map(|_| ());
    }
    Ok(())
}

type Full = (Option<Owned>, Vec<SocketAddr>, Vec<SocketAddr>);

/// Binds everything, serves, and takes resolv.conf over.
pub(super) fn full(plans: &Plans, base: &Base) -> Result<Full, Error> {
    let config = &plans.config;
    let (wanted, own) = (config.clone(), base.own.clone());
    let bound = base.on_engine(move || {
        let dns = wanted.dns.then(|| bind::dns(&wanted.dns_addrs, &own)).transpose()?;
        let proxy = wanted.proxy.then(|| bind::proxy(&wanted.proxy_addrs, &own)).transpose()?;
        Ok::<_, Error>((dns, proxy))
    })?;
    let (dns, listeners) = bound?;
    let proxy = base.proxy(plans, false);
    let proxy_addrs = listeners.as_ref().map(|bound| bound.addresses.clone()).unwrap_or_default();
    if let Some(bound) = listeners {
        proxy.serve(bound.listeners);
    }
    let Some(sockets) = dns else {
        if plans.on_platform {
            await_place(plans, base)?;
        }
        return Ok((None, Vec::new(), proxy_addrs));
    };
    tell_own_nameservers(plans, &base.forwarder);
    let nonce = nonce();
    let zone = zone(plans, base, &proxy_addrs, nonce.clone());
    let warm = Arc::new(move |name: &str| Proxy::warm(&proxy, name));
    let drain = base.drain.watch();
    let server = Server::new(zone, base.forwarder.clone(), base.tasks.clone(), drain, warm);
    server.serve(sockets.udp, sockets.tcp);
    prove(config, &sockets.addresses, &nonce)?;
    if plans.on_platform {
        await_place(plans, base)?;
    }
    let resolv_conf = match config.resolv_conf_mode {
        ResolvConfMode::Rewrite => Some(take(plans, base, &sockets.addresses, nonce)?),
        ResolvConfMode::Leave => None,
    };
    Ok((resolv_conf, sockets.addresses, proxy_addrs))
}

/// Asks ourselves: a server that does not answer must not be anybody's.
fn prove(config: &Config, addresses: &[SocketAddr], nonce: &str) -> Result<(), Error> {
    for address in addresses {
        let answer = probe(*address, &config.domain, SELF).ok().flatten();
        if answer.as_deref() != Some(nonce) {
            return Err(Error::new(
                ErrorKind::Io,
                format!("our own DNS server at {address} does not answer"),
            ));
        }
    }
    Ok(())
}

fn zone(plans: &Plans, base: &Base, proxy_addrs: &[SocketAddr], nonce: String) -> Zone {
    let directory = base.directory.clone();
    let ipv4 = proxy_addrs.iter().find_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let ipv6: Option<Ipv6Addr> = proxy_addrs.iter().find_map(|address| match address.ip() {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    let platform = LocalZone {
        zone: PLATFORM_ZONE.to_owned(),
        hosts: METADATA_NAMES.iter().map(|name| (*name).to_owned()).collect(),
        address: METADATA_ADDRESS,
    };
    Zone::new(ZoneConfig {
        domain: plans.config.domain.clone(),
        classify: Arc::new(move |name| match directory.kind(name) {
            names::Kind::Service => Kind::Service,
            names::Kind::EmptyNonTerminal => Kind::EmptyNonTerminal,
            names::Kind::NoSuchName => Kind::NoSuchName,
            names::Kind::NotOurs => Kind::NotOurs,
        }),
        ipv4: ipv4.unwrap_or(Ipv4Addr::LOCALHOST),
        ipv6,
        local: if plans.on_platform && plans.config.platform_names {
            vec![platform]
        } else {
            Vec::new()
        },
        nonce,
    })
}

fn take(
    plans: &Plans,
    base: &Base,
    addresses: &[SocketAddr],
    nonce: String,
) -> Result<Owned, Error> {
    let config = &plans.config;
    let path = &config.resolv_conf;
    // A resolver knows no ports.
    let served = addresses.iter().find(|address| address.port() == 53).ok_or_else(|| {
        Error::new(
            ErrorKind::Config,
            "resolv.conf can only name a DNS server on port 53, and --dns-addr names another; \
             leave the file alone with --resolv-conf-mode leave, or DNS with --dns off",
        )
    })?;
    let claim = Claim::stake(path)?;
    let region = base.place.region().filter(|_| plans.on_platform);
    let regional = region.map(|region| format!("{region}.{}", config.domain));
    let wanted = Wanted {
        nameserver: served.ip(),
        search: regional.into_iter().chain([config.domain.clone()]).collect(),
        ndots: config.ndots,
        nonce,
        domain: config.domain.clone(),
    };
    let taken = TakeOver::write(path, &wanted).map_err(|cause| Error::resolv_conf(path, cause))?;
    Ok(Owned { taken, nameserver: served.ip(), claim })
}

/// Something that no other runsd says: not secret, only different.
fn nonce() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
#[path = "takeover_tests.rs"]
mod tests;
