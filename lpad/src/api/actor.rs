//! Who is calling, by SO_PEERCRED, and what they may do.

use std::{fs, io};

use tokio::net::UnixStream;

use super::action::Access;
use crate::config::{ApiConfig, Locked};
use crate::memory::operations::ClientProcess;

/// The process at the other end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Actor {
    /// Its user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its number, where the kernel tells.
    pub pid: Option<u32>,
}

impl Actor {
    /// Asks the kernel who connected.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            // The kernel says 0 of a process in another namespace.
            pid: credentials
                .pid()
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid > 0),
        })
    }

    /// The process as others are told of it, with its name if the kernel shows it.
    pub(super) fn process(self) -> ClientProcess {
        let name = self
            .pid
            .and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
        let name = name.map(|name| name.trim().to_owned());
        ClientProcess {
            uid: self.uid,
            gid: Some(self.gid),
            pid: self.pid,
            name: name.filter(|name| !name.is_empty()),
        }
    }
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Permissions {
    own_uid: u32,
    admin_group: String,
    reader_group: Option<String>,
    root_only: Vec<Locked>,
}

impl Permissions {
    /// Root, the daemon's own user and the configured groups.
    pub fn new(config: &ApiConfig) -> Self {
        Self {
            own_uid: rustix::process::geteuid().as_raw(),
            admin_group: config.admin_group.clone(),
            reader_group: config.reader_group.clone(),
            root_only: config.root_only.clone(),
        }
    }

    /// Whether only root and the daemon's own user may do this, and `actor` is neither.
    pub(super) fn leaves_to_root(&self, what: Locked, actor: Actor) -> bool {
        self.root_only.contains(&what) && !self.is_owner(actor)
    }

    fn is_owner(&self, actor: Actor) -> bool {
        actor.uid == 0 || actor.uid == self.own_uid
    }

    /// What `actor` may do, with group membership as it is now.
    pub fn access(&self, actor: Actor) -> Access {
        if self.is_owner(actor) {
            return Access::Change;
        }
        self.access_by_group(actor, &Accounts::read())
    }

    fn access_by_group(&self, actor: Actor, accounts: &Accounts) -> Access {
        if accounts.is_member(actor, &self.admin_group) {
            return Access::Change;
        }
        match &self.reader_group {
            Some(group) if accounts.is_member(actor, group) => Access::Read,
            _ => Access::None,
        }
    }
}

/// The system's users and groups.
#[derive(Debug)]
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads them; a file that cannot be read counts as empty.
    pub(crate) fn read() -> Self {
        Self {
            passwd: fs::read_to_string("/etc/passwd").unwrap_or_default(),
            group: fs::read_to_string("/etc/group").unwrap_or_default(),
        }
    }

    /// The number of a group.
    pub(crate) fn group_id(&self, name: &str) -> Option<u32> {
        self.group_line(name)?.split(':').nth(2)?.parse().ok()
    }

    /// A user by its name.
    pub(crate) fn user(&self, name: &str) -> Option<Actor> {
        let mut lines = self.passwd.lines();
        let line = lines.find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2);
        let mut number = || numbers.next()?.parse().ok();
        Some(Actor {
            uid: number()?,
            gid: number()?,
            pid: None,
        })
    }

    /// Whether a user is in the group with this number.
    pub(crate) fn is_in_group(&self, actor: Actor, gid: u32) -> bool {
        let number = |line: &str| line.split(':').nth(2)?.parse().ok();
        let mut named = self.group.lines().filter(|line| number(line) == Some(gid));
        let is_member = |line: &str| {
            let name = line.split(':').next();
            name.is_some_and(|name| self.is_member(actor, name))
        };
        actor.gid == gid || named.any(is_member)
    }

    fn is_member(&self, actor: Actor, group: &str) -> bool {
        if self.group_id(group) == Some(actor.gid) {
            return true;
        }
        let members = self
            .group_line(group)
            .and_then(|line| line.split(':').nth(3));
        let Some((user, members)) = self.user_name(actor.uid).zip(members) else {
            return false;
        };
        members.split(',').any(|member| member.trim() == user)
    }

    fn group_line(&self, name: &str) -> Option<&str> {
        self.group
            .lines()
            .find(|line| line.split(':').next() == Some(name))
    }

    fn user_name(&self, uid: u32) -> Option<&str> {
        self.passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:\nbob:x:1001:1001::/:\n".into(),
            group: "root:x:0:\nlpad:x:200:ann\nadm:x:4:bob,carl\n".into(),
        }
    }

    fn actor(uid: u32, gid: u32) -> Actor {
        Actor {
            uid,
            gid,
            pid: None,
        }
    }

    fn permissions() -> Permissions {
        Permissions {
            root_only: Vec::new(),
            own_uid: 99,
            admin_group: "lpad".into(),
            reader_group: Some("adm".into()),
        }
    }

    #[test]
    fn what_is_left_to_root_no_admin_may_do() {
        let permissions = Permissions {
            root_only: vec![Locked::Download],
            ..permissions()
        };
        for (uid, what, refused) in [
            (0, Locked::Download, false),
            (99, Locked::Download, false),
            (1000, Locked::Download, true),
            (1000, Locked::Reset, false),
        ] {
            let leaves = permissions.leaves_to_root(what, actor(uid, 65534));
            assert_eq!(leaves, refused, "{uid} {what:?}");
        }
    }

    #[test]
    fn root_and_the_daemons_own_user_may_change() {
        for uid in [0, 99] {
            assert_eq!(permissions().access(actor(uid, 65534)), Access::Change);
        }
    }

    #[test]
    fn groups_decide_by_primary_and_by_supplementary_membership() {
        let cases = [
            (actor(1000, 1000), Access::Change),
            (actor(1500, 200), Access::Change),
            (actor(1001, 1001), Access::Read),
            (actor(1500, 4), Access::Read),
            (actor(1500, 1500), Access::None),
        ];
        for (actor, access) in cases {
            assert_eq!(
                permissions().access_by_group(actor, &accounts()),
                access,
                "{actor:?}"
            );
        }
    }

    #[test]
    fn a_user_is_found_by_its_name_and_in_its_groups() {
        let accounts = accounts();
        let ann = accounts.user("ann").unwrap();
        assert_eq!(ann, actor(1000, 1000));
        let groups = [1000, 200, 4].map(|gid| accounts.is_in_group(ann, gid));
        assert_eq!(groups, [true, true, false]);
        assert_eq!(accounts.user("carl"), None);
    }

    #[test]
    fn a_group_that_does_not_exist_lets_nobody_in() {
        let permissions = Permissions {
            admin_group: "nobodys".into(),
            ..permissions()
        };
        let ann = actor(1000, 1000);
        assert_eq!(permissions.access_by_group(ann, &accounts()), Access::None);
    }
}
