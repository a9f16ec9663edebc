//! When servers can be reached that could not: this machine gets a way to the network, or the time to check
//! certificates by. The kernel tells without being asked.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::{Errno, read};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::watched;
use crate::files::read_file;

/// Tells that a network has come up, which is that there is a default route that was not there before, or
/// that the clock was set. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Uplink {
    came_up: watch::Receiver<u64>,
    /// Ends with the last clone.
    _watcher: Arc<JoinSet<()>>,
}

impl Uplink {
    /// That of this machine. Where the kernel does not tell, nothing ever changes.
    ///
    /// Must be called inside a tokio runtime.
    pub fn system() -> Self {
        let (teller, came_up) = watch::channel(0);
        let mut watcher = JoinSet::new();
        let told = [
            subscribe()
                .and_then(watched)
                .map(|socket| watcher.spawn(tell_routes(socket, teller.clone()))),
            clock()
                .and_then(watched)
                .map(|timer| watcher.spawn(tell_clock(timer, teller))),
        ];
        for error in told.into_iter().filter_map(Result::err) {
            tracing::info!(%error, "the kernel does not tell when servers can be reached");
        }
        Self {
            came_up,
            _watcher: Arc::new(watcher),
        }
    }

    /// Another one, which tells whenever the number changes.
    pub fn new(came_up: watch::Receiver<u64>) -> Self {
        Self {
            came_up,
            _watcher: Arc::default(),
        }
    }

    /// Resolves when a network has come up or the clock was set since the last time; never where that is
    /// not told.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn comes_up(&mut self) {
        if self.came_up.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

fn subscribe() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // `None` is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    Ok(socket)
}

/// What the kernel says is only taken as a reason to look.
async fn tell_routes(socket: AsyncFd<OwnedFd>, came_up: watch::Sender<u64>) {
    let mut known = default_routes();
    let mut room = vec![0; 4096];
    while let Ok(mut ready) = socket.readable().await {
        loop {
            match recv(&socket, &mut room[..], RecvFlags::DONTWAIT) {
                // With more news than it can keep the kernel says so, once.
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => break,
                Err(error) => {
                    return tracing::warn!(%error, "the kernel tells no more of the network");
                }
            }
        }
        ready.clear_ready();
        let now = default_routes();
        if !now.is_subset(&known) {
            tracing::info!("a network has come up");
            came_up.send_modify(|count| *count += 1);
        }
        known = now;
        // Routes of a busy router change all the time.
        sleep(SETTLES).await;
    }
}

/// A timer that never ends by itself, but when the clock is set.
fn clock() -> io::Result<OwnedFd> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
    arm(&timer)?;
    Ok(timer)
}

fn arm(timer: &OwnedFd) -> io::Result<()> {
    let never = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: i64::MAX / 1_000_000_000,
            tv_nsec: 0,
        },
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(timer, flags, &never)?;
    Ok(())
}

async fn tell_clock(timer: AsyncFd<OwnedFd>, clock_set: watch::Sender<u64>) {
    while let Ok(mut ready) = timer.readable().await {
        ready.clear_ready();
        let mut expirations = [0; 8];
        if read(&timer, &mut expirations) == Err(Errno::CANCELED) {
            tracing::info!("the clock was set");
            clock_set.send_modify(|count| *count += 1);
        }
        if let Err(error) = arm(timer.get_ref()) {
            return tracing::warn!(%error, "the kernel tells no more of the clock");
        }
        // One that is set again and again is no news.
        sleep(SETTLES).await;
    }
}

/// Which way packets leave for anywhere.
fn default_routes() -> BTreeSet<String> {
    let read = |file| {
        let octets = read_file(Path::new(file), LONGEST).unwrap_or_default();
        String::from_utf8_lossy(&octets).into_owned()
    };
    let v4 = read("/proc/net/route");
    let v6 = read("/proc/net/ipv6_route");
    let v4 = v4.lines().filter_map(of_ipv4);
    v4.chain(v6.lines().filter_map(of_ipv6)).collect()
}

/// Interface and gateway of a default route in a line of `/proc/net/route`.
fn of_ipv4(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [
        interface,
        "00000000",
        gateway,
        flags,
        _,
        _,
        _,
        "00000000",
        ..,
    ] = fields[..]
    else {
        return None;
    };
    is_used(flags).then(|| format!("{interface} {gateway}"))
}

/// The same in a line of `/proc/net/ipv6_route`.
fn of_ipv6(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [net, "00", _, _, gateway, _, _, _, flags, interface] = fields[..] else {
        return None;
    };
    let is_anywhere = net.bytes().all(|digit| digit == b'0');
    (is_anywhere && is_used(flags)).then(|| format!("{interface} {gateway}"))
}

fn is_used(flags: &str) -> bool {
    let flags = u32::from_str_radix(flags, 16);
    flags.is_ok_and(|flags| flags & (RTF_UP | RTF_REJECT) == RTF_UP)
}

/// `RTMGRP_LINK`, and those of the addresses and routes of IPv4 and IPv6: routes of IPv4 go with their
/// interface unsaid.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
const RTF_UP: u32 = 0x1;
const RTF_REJECT: u32 = 0x200;
/// How long the next news are waited for.
const SETTLES: Duration = Duration::from_secs(1);
/// More than a gateway has of routes.
const LONGEST: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_told_apart_from_others() {
        for (line, expected) in [
            (
                "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
                None,
            ),
            (
                "eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0",
                Some("eth0 0102A8C0"),
            ),
            (
                "wwan0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0",
                Some("wwan0 00000000"),
            ),
            (
                "eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0",
                None,
            ),
            (
                "eth0\t00000000\t0102A8C0\t0201\t0\t0\t100\t00000000\t0\t0\t0",
                None,
            ),
            ("eth0\t00000000", None),
            ("", None),
        ] {
            assert_eq!(of_ipv4(line).as_deref(), expected, "{line}");
        }
        let none = "00000000000000000000000000000000";
        let gateway = "fe800000000000000000000000000001";
        for (line, expected) in [
            (
                format!(
                    "{none} 00 {none} 00 {gateway} 00000400 00000001 00000000 00000003     eth0"
                ),
                Some(format!("eth0 {gateway}")),
            ),
            // What Linux has where there is no IPv6.
            (
                format!("{none} 00 {none} 00 {none} ffffffff 00000001 00000000 00200200       lo"),
                None,
            ),
            (
                format!(
                    "{gateway} 80 {none} 00 {none} 00000400 00000001 00000000 00000001     eth0"
                ),
                None,
            ),
        ] {
            assert_eq!(of_ipv6(&line), expected, "{line}");
        }
    }

    #[tokio::test]
    async fn the_kernel_is_listened_to() {
        assert!(subscribe().and_then(watched).is_ok());
        assert!(clock().and_then(watched).is_ok());
        let mut network = Uplink::system();
        tokio::select! {
            biased;
            () = network.comes_up() => panic!("nothing has changed"),
            () = std::future::ready(()) => {}
        }
    }
}
