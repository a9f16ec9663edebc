//! The forms of extended commands, 3GPP TS 27.007 section 4.

/// How a command that begins with a plus sign is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form<'l> {
    /// `+CGMI`.
    Run,
    /// `+CFUN?`.
    Read,
    /// `+CFUN=?`.
    Test,
    /// `+CFUN=1`.
    Set(&'l str),
}

impl<'l> Form<'l> {
    /// Splits a command into its name and its form.
    pub(super) fn split(command: &'l str) -> (&'l str, Self) {
        let (name, rest) = match command.find(['=', '?']) {
            Some(end) => command.split_at(end),
            None => (command, ""),
        };
        let form = match rest {
            "" => Self::Run,
            "?" => Self::Read,
            _ => match rest[1..].trim() {
                "?" => Self::Test,
                value => Self::Set(value),
            },
        };
        (name.trim(), form)
    }
}
