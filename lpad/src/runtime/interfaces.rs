//! The network interfaces of this machine, as the kernel tells of them.

use std::sync::Arc;
use std::{fmt, fs, io};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// Tells whether a network interface has an address; tests put their own in.
#[derive(Clone)]
pub struct Interfaces(Arc<HasAddress>);

type HasAddress = dyn Fn(&str) -> io::Result<bool> + Send + Sync;

impl Interfaces {
    /// Those of this machine.
    pub fn system() -> Self {
        Self::new(has_address)
    }

    /// Others.
    pub fn new(has_address: impl Fn(&str) -> io::Result<bool> + Send + Sync + 'static) -> Self {
        Self(Arc::new(has_address))
    }

    /// Whether an interface is up and has an address that others can answer to.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel does not tell.
    pub fn has_address(&self, name: &str) -> io::Result<bool> {
        (self.0)(name)
    }
}

impl fmt::Debug for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interfaces").finish_non_exhaustive()
    }
}

fn has_address(name: &str) -> io::Result<bool> {
    let number = |file: &str, radix| {
        let text = fs::read_to_string(format!("/sys/class/net/{name}/{file}"))?;
        let text = text.trim().trim_start_matches("0x");
        u32::from_str_radix(text, radix).map_err(io::Error::other)
    };
    // Addresses stay when an interface is switched off.
    if number("flags", 16)? & IFF_UP == 0 {
        return Ok(false);
    }
    let index = number("ifindex", 10)?;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE.
        None,
    )?;
    // `struct nlmsghdr`, and `struct ifaddrmsg` for any family; rtnetlink(7).
    let mut question = [0; HEADER + 8];
    question[..4].copy_from_slice(&24_u32.to_ne_bytes());
    question[4..6].copy_from_slice(&RTM_GETADDR.to_ne_bytes());
    question[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    send(&socket, &question, SendFlags::empty())?;
    let mut room = vec![0; MESSAGES];
    loop {
        // The kernel has written the first part when it has taken the question, and writes the next when
        // one is read.
        let (_, count) = recv(&socket, &mut room[..], RecvFlags::DONTWAIT)?;
        let part = room.get(..count).ok_or(io::ErrorKind::InvalidData)?;
        if let Some(found) = find(part, index)? {
            return Ok(found);
        }
    }
}

/// Looks for an address of an interface in a part of the kernel's answer; `None` when more is to come.
fn find(mut part: &[u8], index: u32) -> io::Result<Option<bool>> {
    while let Some((header, _)) = part.split_first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, k0, k1, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let message = part.get(HEADER..length).ok_or(io::ErrorKind::InvalidData)?;
        match (u16::from_ne_bytes([k0, k1]), message) {
            (NLMSG_DONE, _) => return Ok(Some(false)),
            (NLMSG_ERROR, _) => return Err(io::ErrorKind::InvalidData.into()),
            (RTM_NEWADDR, &[_family, _prefix, flags, scope, i0, i1, i2, i3, ..]) => {
                let is_its = u32::from_ne_bytes([i0, i1, i2, i3]) == index;
                if is_its && flags & NOT_YET == 0 && scope != RT_SCOPE_LINK {
                    return Ok(Some(true));
                }
            }
            _ => {}
        }
        part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(None)
}

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Room for one part of an answer: the kernel takes no more than this, nor needs more.
const MESSAGES: usize = 16 * 1024;
const IFF_UP: u32 = 1;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Addresses that every interface can give itself.
const RT_SCOPE_LINK: u8 = 253;
/// `IFA_F_DADFAILED` and `IFA_F_TENTATIVE`: it is not known yet whether another one has the address.
const NOT_YET: u8 = 0x08 | 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, rest: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + rest.len()).unwrap();
        let mut octets = length.to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend([0; 10]);
        octets.extend(rest);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    fn address(flags: u8, scope: u8, index: u32) -> Vec<u8> {
        let mut rest = vec![2, 24, flags, scope];
        rest.extend(index.to_ne_bytes());
        rest.extend([5, 0, 1, 0, 10]);
        message(RTM_NEWADDR, &rest)
    }

    #[test]
    fn an_interface_is_asked_for_by_its_name() {
        assert!(Interfaces::system().has_address("lo").unwrap());
        assert!(Interfaces::system().has_address("lpad-none").is_err());
    }

    #[test]
    fn an_address_counts_when_others_can_answer_to_it() {
        let done = message(NLMSG_DONE, &[0; 4]);
        for (parts, expected) in [
            (vec![address(0, 0, 7), done.clone()], Some(true)),
            (vec![address(0x80, 0, 3), address(0x80, 0, 7)], Some(true)),
            (vec![address(0, 0, 3), done.clone()], Some(false)),
            (
                vec![address(0, RT_SCOPE_LINK, 7), done.clone()],
                Some(false),
            ),
            (vec![address(0x40, 0, 7), done.clone()], Some(false)),
            (vec![address(0, 0, 3)], None),
            (vec![], None),
        ] {
            assert_eq!(find(&parts.concat(), 7).unwrap(), expected);
        }
        let mut cut = address(0, 0, 7);
        cut.truncate(HEADER + 2);
        assert!(find(&cut, 7).is_err());
        assert!(find(&[0; HEADER], 7).is_err());
        assert!(find(&message(NLMSG_ERROR, &[0; 20]), 7).is_err());
    }
}
