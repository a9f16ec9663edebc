//! An AT port: one command in flight, a deadline on everything, nothing lost and nothing mixed up.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, trace};

use super::line::{FinalResult, Line, LineParser, Pending};
use super::profile::ModemProfile;
use crate::transport::{Fault, Garbled, TransportError};

/// A modem's AT port over any byte stream.
///
/// A command whose end was not seen (a deadline passed, or its future was dropped) makes the port
/// *dirty*. Before the next command it is settled: the late end is waited for up to twice the
/// deadline, then the modem is probed with `AT` until only that is answered. So a late answer is
/// never taken for the answer of another command.
#[derive(Debug)]
pub struct AtPort<S> {
    stream: S,
    parser: LineParser,
    outstanding: Option<Outstanding>,
    closed: bool,
    statistics: Statistics,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> AtPort<S> {
    /// A port over an open stream. Nothing is sent yet, see [`AtPort::init`].
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            parser: LineParser::default(),
            outstanding: None,
            closed: false,
            statistics: Statistics::default(),
        }
    }

    /// Brings a modem in any state to known manners: no echo, results in words, numbered errors.
    ///
    /// Stale input is thrown away first. A modem that refuses one of the settings is accepted.
    ///
    /// # Errors
    /// When the port is gone or nothing answers.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the port dirty; `init` may be called again.
    pub async fn init(&mut self, profile: &ModemProfile) -> Result<(), TransportError> {
        self.parser.clear();
        self.quiet(STALE_QUIET)
            .await
            .map_err(TransportError::not_sent)?;
        // A lone CR ends whatever half line the modem still holds.
        self.write_bytes(b"\r", profile.init).await?;
        self.quiet(PROBE_QUIET)
            .await
            .map_err(TransportError::not_sent)?;
        self.wake(profile.command).await?;
        for command in ["ATE0", "ATV1", "AT+CMEE=1"] {
            match self.command(command, profile.init).await {
                Err(error) if matches!(error.fault, Fault::Closed | Fault::Io(_)) => {
                    return Err(error);
                }
                Err(error) => debug!(command, %error, "the modem keeps its own setting"),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Sends one command (without its terminator) and returns the lines of its answer.
    ///
    /// Echo and unsolicited codes are not among them.
    ///
    /// # Errors
    /// When the modem ends it with anything but `OK`, does not end it within `deadline`, or the
    /// port is gone. [`TransportError::outcome`] tells whether it may have been executed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the port dirty and usable; whether the modem executed the
    /// command is then unknown.
    pub async fn command(
        &mut self,
        command: &str,
        deadline: Duration,
    ) -> Result<Vec<String>, TransportError> {
        self.settle().await.map_err(TransportError::not_sent)?;
        let (lines, result) = self.exchange(command, deadline).await?;
        self.outstanding = None;
        match result {
            FinalResult::Ok => Ok(lines),
            result => Err(TransportError::unanswered(Fault::Device(result.into()))),
        }
    }

    /// Sends one command and returns the value in its answer: what follows the command's own
    /// prefix (`READY` of `+CPIN: READY`), else the first line (`EC25` after `AT+CGMM`).
    ///
    /// # Errors
    /// As [`AtPort::command`]; a modem that says `OK` alone gives `None`.
    ///
    /// # Cancel safety
    /// As [`AtPort::command`].
    pub async fn query(
        &mut self,
        command: &str,
        deadline: Duration,
    ) -> Result<Option<String>, TransportError> {
        let lines = self.command(command, deadline).await?;
        let pending = Pending::new(command);
        Ok(lines
            .iter()
            .find_map(|line| pending.payload(line))
            .or_else(|| lines.first().map(String::as_str))
            .map(str::to_owned))
    }

    /// Reads what the modem says between commands, until the port is gone.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn idle(&mut self) -> Fault {
        if self.closed {
            return Fault::Closed;
        }
        loop {
            if let Err(fault) = self.next_line(None, None).await {
                return fault;
            }
        }
    }

    /// What has gone over the port so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Whether the other side is gone, so that the port has to be opened anew.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Gives the stream back.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Finds out whether anybody is there. `ATQ0`, as a modem left in `ATQ1` answers nothing else.
    async fn wake(&mut self, deadline: Duration) -> Result<(), TransportError> {
        for _ in 0..PROBES {
            match self.exchange("ATQ0", deadline).await {
                Ok(_) => {
                    let stray = self.quiet(PROBE_QUIET).await;
                    if stray.map_err(TransportError::unanswered)? == 0 {
                        self.outstanding = None;
                        return Ok(());
                    }
                }
                Err(error) if matches!(error.fault, Fault::Closed | Fault::Io(_)) => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        Err(TransportError::unanswered(Fault::Timeout {
            after: deadline,
        }))
    }

    /// Writes a command and reads to its final result. The port stays dirty; it is for the caller
    /// to say that nothing else is awaited.
    async fn exchange(
        &mut self,
        command: &str,
        deadline: Duration,
    ) -> Result<(Vec<String>, FinalResult), TransportError> {
        let pending = Pending::new(command);
        // What stands between quotes is an APDU or a code: nobody's business.
        let shown = command.split('"').next().unwrap_or_default();
        self.write_command(&pending, command, deadline).await?;
        match self.read_answer(&pending, deadline).await {
            Ok((lines, result)) => {
                trace!(command = shown, lines = lines.len(), ?result, "AT");
                Ok((lines, result))
            }
            Err(fault) => {
                trace!(command = shown, %fault, "AT without answer");
                Err(TransportError::unanswered(fault))
            }
        }
    }

    async fn write_command(
        &mut self,
        pending: &Pending,
        command: &str,
        deadline: Duration,
    ) -> Result<(), TransportError> {
        self.statistics.commands += 1;
        let line = format!("{command}\r");
        // The first piece apart: from then on the modem may know the command.
        let (head, tail) = line.as_bytes().split_at(1);
        self.write_bytes(head, deadline).await?;
        let outstanding = self.outstanding.get_or_insert_with(|| Outstanding {
            pending: pending.clone(),
            whole: false,
            deadline,
            until: Instant::now() + 2 * deadline,
        });
        outstanding.whole = false;
        let written = self.write_bytes(tail, deadline).await;
        written.map_err(|error| TransportError::unanswered(error.fault))?;
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.whole = true;
        }
        Ok(())
    }

    async fn write_bytes(
        &mut self,
        bytes: &[u8],
        deadline: Duration,
    ) -> Result<(), TransportError> {
        let mut sent = 0;
        let write = async {
            while sent < bytes.len() {
                match self.stream.write(&bytes[sent..]).await? {
                    0 => return Err(Fault::Closed),
                    count => sent += count,
                }
            }
            Ok(self.stream.flush().await?)
        };
        let result = match timeout(deadline, write).await {
            Ok(result) => result,
            Err(_) => Err(Fault::Timeout { after: deadline }),
        };
        self.statistics.bytes_out += sent as u64;
        result.map_err(|fault| {
            self.closed |= fault == Fault::Closed;
            TransportError {
                fault,
                sent: sent > 0,
            }
        })
    }

    async fn read_answer(
        &mut self,
        pending: &Pending,
        deadline: Duration,
    ) -> Result<(Vec<String>, FinalResult), Fault> {
        let until = Instant::now() + deadline;
        let mut lines = Vec::new();
        let mut room = ANSWER_LIMIT;
        loop {
            let line = self.next_line(Some(pending), Some(until)).await;
            let line = line.map_err(|fault| match fault {
                Fault::Timeout { .. } => Fault::Timeout { after: deadline },
                fault => fault,
            })?;
            match line {
                Line::Final(result) => return Ok((lines, result)),
                Line::Information(text) => {
                    let limit = ANSWER_LIMIT;
                    room = room
                        .checked_sub(text.len() + LINE_COST)
                        .ok_or(Garbled::TooLong { limit })?;
                    lines.push(text);
                }
                Line::Echo | Line::Urc(_) | Line::Overlong => {}
            }
            // A flood of lines must not hold off the deadline.
            if has_passed(until) {
                return Err(Fault::Timeout { after: deadline });
            }
        }
    }

    /// Makes a dirty port clean, see [`AtPort`].
    async fn settle(&mut self) -> Result<(), Fault> {
        if self.closed {
            return Err(Fault::Closed);
        }
        // What has come in since the last command belongs to no command.
        self.quiet(Duration::ZERO).await?;
        let Some(outstanding) = self.outstanding.clone() else {
            return Ok(());
        };
        debug!("waiting for the end of an earlier command");
        if !outstanding.whole {
            let ended = self.write_bytes(b"\r", outstanding.deadline).await;
            ended.map_err(|error| error.fault)?;
        }
        loop {
            let Outstanding { pending, until, .. } = &outstanding;
            match self.next_line(Some(pending), Some(*until)).await {
                Ok(Line::Final(_)) => break,
                Ok(_) if !has_passed(*until) => {}
                Ok(_) | Err(Fault::Timeout { .. }) => {
                    self.probe(&outstanding).await?;
                    break;
                }
                Err(fault) => return Err(fault),
            }
        }
        self.outstanding = None;
        Ok(())
    }

    /// Asks `AT` until that is all that is answered, so that nothing late is still to come.
    async fn probe(&mut self, outstanding: &Outstanding) -> Result<(), Fault> {
        let deadline = outstanding.deadline.min(PROBE_DEADLINE);
        for _ in 0..PROBES {
            match self.exchange("AT", deadline).await {
                Ok((lines, _)) => {
                    if self.quiet(PROBE_QUIET).await? == 0 && lines.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) if matches!(error.fault, Fault::Timeout { .. }) => {}
                Err(error) => return Err(error.fault),
            }
        }
        Err(Fault::Timeout { after: deadline })
    }

    /// Reads and drops until nothing has come for `pause`; says how many lines there were that
    /// are no unsolicited codes. A port that never falls silent is left alone after a while.
    async fn quiet(&mut self, pause: Duration) -> Result<usize, Fault> {
        let end = Instant::now() + QUIET_LIMIT;
        let mut stray = 0;
        loop {
            if has_passed(end) {
                return Ok(stray);
            }
            let until = end.min(Instant::now() + pause);
            match self.next_line(None, Some(until)).await {
                Ok(Line::Urc(_)) => {}
                Ok(_) => stray += 1,
                Err(Fault::Timeout { .. }) => return Ok(stray),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// The next line; unsolicited codes are counted.
    async fn next_line(
        &mut self,
        pending: Option<&Pending>,
        until: Option<Instant>,
    ) -> Result<Line, Fault> {
        loop {
            if let Some(line) = self.parser.next(pending) {
                self.statistics.urcs += u64::from(matches!(line, Line::Urc(_)));
                return Ok(line);
            }
            self.fill(until).await?;
            // Bytes that never end a line must not hold off the deadline.
            if self.parser.is_flooded() && until.is_some_and(has_passed) {
                return Err(Fault::Timeout {
                    after: Duration::ZERO,
                });
            }
        }
    }

    async fn fill(&mut self, until: Option<Instant>) -> Result<(), Fault> {
        let mut chunk = [0; 2048];
        let read = self.stream.read(&mut chunk);
        let count = match until {
            None => read.await,
            Some(until) => match timeout_at(until, read).await {
                Ok(count) => count,
                Err(_) => {
                    let after = Duration::ZERO;
                    return Err(Fault::Timeout { after });
                }
            },
        };
        let count = count.map_err(Fault::from).inspect_err(|fault| {
            self.closed |= *fault == Fault::Closed;
        })?;
        if count == 0 {
            self.closed = true;
            return Err(Fault::Closed);
        }
        self.statistics.bytes_in += count as u64;
        self.parser.push(&chunk[..count]);
        Ok(())
    }
}

/// What has gone over a port since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Statistics {
    /// AT commands sent, probes and start-up included.
    pub commands: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Unsolicited codes seen.
    pub urcs: u64,
}

/// A command whose end has not been seen.
#[derive(Clone, Debug)]
struct Outstanding {
    pending: Pending,
    /// Whether all of it was written; else a CR is still owed.
    whole: bool,
    deadline: Duration,
    /// Until when its end is waited for.
    until: Instant,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        // A hung-up tty reads as end of file and writes as EIO; ENXIO and ENODEV follow when
        // the device has been removed.
        const EIO: i32 = rustix::io::Errno::IO.raw_os_error();
        const ENXIO: i32 = rustix::io::Errno::NXIO.raw_os_error();
        const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();
        match (error.raw_os_error(), error.kind()) {
            (Some(EIO | ENXIO | ENODEV), _)
            | (_, io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => Self::Closed,
            (_, kind) => Self::Io(kind),
        }
    }
}

fn has_passed(until: Instant) -> bool {
    Instant::now() > until
}

/// Bytes of one answer, each line counted with [`LINE_COST`].
const ANSWER_LIMIT: usize = 192 * 1024;
const LINE_COST: usize = 16;
/// How often a silent modem is asked again.
const PROBES: usize = 3;
const PROBE_DEADLINE: Duration = Duration::from_secs(3);
/// Silence after which nothing more is expected.
const PROBE_QUIET: Duration = Duration::from_millis(100);
const STALE_QUIET: Duration = Duration::from_millis(200);
const QUIET_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
