//! A key of this device's own. A code of a few digits could be guessed from a plain digest in the
//! journal; with a key beside it, which no copy of the journal holds, it cannot.

use std::io::{self, Read, Write};

use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use super::state_folder::{HeldFolder, StateFolder, open_own};

/// Tells secrets apart without keeping them.
#[derive(Clone, Debug)]
pub struct Key(hmac::Key);

impl Key {
    /// The key in the state folder, made when there is none. One that cannot be kept lasts as long as
    /// the daemon: all that is lost is that a restart takes what it marked for something new.
    pub fn of(folder: &StateFolder) -> Self {
        let mut octets = [0; LENGTH];
        let kept = random(&mut octets).and_then(|()| keep(&folder.held(), &mut octets));
        if let Err(error) = kept {
            tracing::warn!(%error, "the key in the state folder cannot be kept");
        }
        Self(hmac::Key::new(HMAC_SHA256, &octets))
    }

    /// What tells this secret from others.
    pub fn mark(&self, secret: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, secret)
    }
}

fn random(octets: &mut [u8; LENGTH]) -> io::Result<()> {
    let filled = SystemRandom::new().fill(octets);
    filled.map_err(|_| io::Error::other("there are no random numbers"))
}

/// Takes the key that is there, or keeps this new one.
fn keep(folder: &HeldFolder, new: &mut [u8; LENGTH]) -> io::Result<()> {
    let mut file = open_own(&folder.join(NAME))?;
    let mut kept = Vec::new();
    (&mut file).take(LONGEST).read_to_end(&mut kept)?;
    if let Ok(kept) = kept.try_into() {
        *new = kept;
        return Ok(());
    }
    file.set_len(0)?;
    file.write_all(new)?;
    file.sync_all()?;
    folder.sync()
}

const NAME: &str = "key";
const LENGTH: usize = 32;
/// One octet more than a key has tells that it is none.
const LONGEST: u64 = 33;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn marks_are_the_same_after_a_restart_and_others_on_another_device() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mark = |folder: &tempfile::TempDir, secret: &[u8]| {
            let held = StateFolder::hold(folder.path()).unwrap();
            Key::of(&held).mark(secret).as_ref().to_vec()
        };
        let [here, there] = &folders;
        assert_eq!(mark(here, b"0815"), mark(here, b"0815"));
        assert_ne!(mark(here, b"0815"), mark(here, b"0816"));
        assert_ne!(mark(here, b"0815"), mark(there, b"0815"));
    }

    #[test]
    fn a_key_that_cannot_be_read_is_one_that_nobody_knows() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join(NAME)).unwrap();
        let held = StateFolder::hold(folder.path()).unwrap();
        let mark = || Key::of(&held).mark(b"0815").as_ref().to_vec();
        let known = hmac::Key::new(HMAC_SHA256, &[0; LENGTH]);
        assert_ne!(mark(), hmac::sign(&known, b"0815").as_ref());
        assert_ne!(mark(), mark());
    }

    #[test]
    fn a_key_that_was_cut_off_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let held = StateFolder::hold(folder.path()).unwrap();
        let file = folder.path().join(NAME);
        for cut_off in [0, 7, 33] {
            fs::write(&file, vec![0; cut_off]).unwrap();
            Key::of(&held);
            assert_eq!(fs::read(&file).unwrap().len(), LENGTH);
        }
    }
}
