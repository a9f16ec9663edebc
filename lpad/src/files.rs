//! Files that others put in place are opened with care: opening a pipe or a device might never return,
//! and a device might never end.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

use crate::secret::Secret;

/// What something is that is no regular file.
pub(crate) fn other_kind(kind: FileType) -> Option<&'static str> {
    match () {
        () if kind.is_file() => None,
        () if kind.is_symlink() => Some("a symbolic link"),
        () if kind.is_dir() => Some("a folder"),
        () if kind.is_fifo() => Some("a pipe"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

/// What something is called.
pub(crate) fn kind(kind: FileType) -> &'static str {
    other_kind(kind).unwrap_or("a file")
}

/// What a regular file holds, of `longest` bytes at most.
pub(crate) fn read_file(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    // Opening some devices has effects, so that what is there is looked at first.
    must_be_file(&fs::metadata(path)?)?;
    let careful = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, OFlags::RDONLY | careful, Mode::empty())?);
    // It may have been exchanged in between.
    must_be_file(&file.metadata()?)?;
    let mut octets = Vec::new();
    file.take(longest + 1).read_to_end(&mut octets)?;
    must_fit(&octets, longest)?;
    Ok(octets)
}

/// The code in the first line of a file.
///
/// # Errors
///
/// When it cannot be opened, is no regular file, or holds something else than a line of text.
pub(crate) fn read_code(path: &Path) -> io::Result<Secret> {
    code_in(read_file(path, LONGEST)?)
}

/// The same of a file that nobody can write to but its owner: what it says is done unasked.
pub(crate) fn read_owned_code(path: &Path) -> io::Result<Secret> {
    match fs::metadata(path)?.mode() & 0o022 {
        0 => read_code(path),
        _ => Err(unusable(
            "others than its owner can write to it; chmod go-w",
        )),
    }
}

/// The code in the first line of a text of at most [`LONGEST`] bytes.
///
/// # Errors
///
/// When it is longer or no text, or when its first line is empty.
pub(crate) fn code_in(octets: Vec<u8>) -> io::Result<Secret> {
    must_fit(&octets, LONGEST)?;
    let text = String::from_utf8(octets).map_err(|_| unusable("it is not text"))?;
    // Some editors begin a file with a mark of its encoding.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    match line.is_empty() {
        true => Err(unusable("its first line is empty")),
        false => Ok(Secret::new(line)),
    }
}

fn must_fit(octets: &[u8], longest: u64) -> io::Result<()> {
    match u64::try_from(octets.len()).is_ok_and(|length| length > longest) {
        true => Err(unusable(&format!("it has more than {longest} bytes"))),
        false => Ok(()),
    }
}

fn must_be_file(metadata: &Metadata) -> io::Result<()> {
    match other_kind(metadata.file_type()) {
        Some(kind) => Err(unusable(&format!("it is {kind}, not a file"))),
        None => Ok(()),
    }
}

fn unusable(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// More than any code has.
pub(crate) const LONGEST: u64 = 4096;

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn the_first_line_of_a_file_is_its_code() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code");
        fs::write(&path, "1$smdp.example.com$M-1 \nmore\n").unwrap();
        let code = read_code(&path).unwrap();
        assert_eq!(code.expose(), "1$smdp.example.com$M-1");
        fs::write(&path, "\u{feff}0815\r\n").unwrap();
        assert_eq!(read_code(&path).unwrap().expose(), "0815");
    }

    #[test]
    fn what_holds_no_code_says_why_and_is_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let pipe = path("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        fs::write(path("empty"), "\n1$a$b\n").unwrap();
        fs::write(path("long"), vec![b'1'; 5000]).unwrap();
        fs::write(path("octets"), [0xFF]).unwrap();
        for (path, why) in [
            (pipe, "it is a pipe, not a file"),
            (path("."), "it is a folder, not a file"),
            ("/dev/zero".into(), "it is a device, not a file"),
            (path("empty"), "its first line is empty"),
            (path("long"), "it has more than 4096 bytes"),
            (path("octets"), "it is not text"),
        ] {
            let error = read_code(&path).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
        let missing = read_code(&path("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
