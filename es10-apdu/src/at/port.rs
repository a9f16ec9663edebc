//! An AT port: one command in flight, a deadline on everything, nothing lost and nothing mixed up.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, trace};

use super::line::{Line, LineParser, Pending, ResultCode};
use super::profile::ModemProfile;
use crate::transport::{Deadline, Fault, Garbled, TransportError};

/// A modem's AT port over any byte stream.
///
/// A command whose end was not seen (a deadline passed, or its future was dropped) makes the port
/// *dirty*. Before the next command it is settled: the late end is waited for a few seconds, then
/// the modem is probed with `AT` until only that is answered, all within the deadline of the
/// command that waits. So a late answer is never taken for the answer of another command, and a
/// modem that stays silent costs no command more than its own deadline.
#[derive(Debug)]
pub struct AtPort<S> {
    stream: S,
    parser: LineParser,
    outstanding: Option<Outstanding>,
    /// The modem has the beginning of a line: a CR is owed.
    half_line: bool,
    closed: bool,
    /// Errors that may pass.
    retry: Vec<u16>,
    statistics: Statistics,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> AtPort<S> {
    /// A port over an open stream. Nothing is sent yet, see [`AtPort::init`].
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            parser: LineParser::default(),
            outstanding: None,
            half_line: false,
            closed: false,
            retry: RETRY.to_vec(),
            statistics: Statistics::default(),
        }
    }

    /// Brings a modem in any state to known manners: no echo, results in words, numbered errors.
    ///
    /// Stale input is thrown away first. A modem that refuses one of the settings is accepted.
    pub async fn init(&mut self, profile: &ModemProfile) -> Result<(), TransportError> {
        // What another program asked before may still be answered now.
        self.parser.clear();
        self.quiet(STALE_QUIET)
            .await
            .map_err(TransportError::not_sent)?;
        // A lone CR ends whatever half line the modem still holds.
        self.write("\r", None, profile.init.into()).await?;
        self.quiet(PROBE_QUIET)
            .await
            .map_err(TransportError::not_sent)?;
        self.wake(profile.command).await?;
        // Echo first: a modem that echoes may mix the echo with the lines of an answer.
        for command in ["ATE0", "ATV1", "AT+CMEE=1"] {
            match self.command(command, profile.init).await {
                Err(error) if error.is_gone() => return Err(error),
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
    /// When the modem ends it with anything but `OK`, does not end it until `deadline`, or the
    /// port is gone. [`TransportError::outcome`] tells whether it may have been executed.
    pub async fn command(
        &mut self,
        command: &str,
        deadline: impl Into<Deadline> + Send,
    ) -> Result<Vec<String>, TransportError> {
        self.run(command, Pending::new(command), deadline.into())
            .await
    }

    /// As [`Self::command`], with the unsolicited codes that came meanwhile among the lines: some
    /// modems answer under another name than the command's.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn command_with_codes(
        &mut self,
        command: &str,
        deadline: impl Into<Deadline> + Send,
    ) -> Result<Vec<String>, TransportError> {
        let pending = Pending::new(command).with_codes();
        self.run(command, pending, deadline.into()).await
    }

    async fn run(
        &mut self,
        command: &str,
        pending: Pending,
        deadline: Deadline,
    ) -> Result<Vec<String>, TransportError> {
        self.settle(deadline)
            .await
            .map_err(TransportError::not_sent)?;
        let (lines, result) = self.exchange_as(command, &pending, deadline).await?;
        // The port was clean before, so this was the one final result that was owed.
        self.outstanding = None;
        match result {
            ResultCode::Ok => Ok(lines),
            result => {
                let refusal = result.refusal(&self.retry);
                Err(TransportError::unanswered(Fault::Device(refusal)))
            }
        }
    }

    /// Sends one command and returns the value in its answer: what follows the command's own
    /// prefix (`READY` of `+CPIN: READY`), else the first line (`EC25` after `AT+CGMM`). `None` when
    /// the modem says `OK` alone.
    pub async fn query(
        &mut self,
        command: &str,
        deadline: impl Into<Deadline> + Send,
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
            let pending = self.outstanding_command();
            if let Err(fault) = self.next_line(pending.as_ref(), None).await {
                return fault;
            }
        }
    }

    /// From now on the errors of mobile equipment with these numbers count as passing ones, and no
    /// others.
    pub fn set_retry(&mut self, numbers: &[u16]) {
        self.retry = numbers.to_vec();
    }

    /// What has gone over the port so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Whether the other side is gone, so that the port has to be opened again.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Gives the stream back.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Finds out whether a modem answers. `ATQ0`, as a modem left in `ATQ1` answers nothing else.
    async fn wake(&mut self, longest: Duration) -> Result<(), TransportError> {
        for _ in 0..PROBES {
            match self.exchange("ATQ0", longest.into()).await {
                Ok(_) => {
                    // It may have been the end of another program's command. Only a modem that
                    // says nothing more is in step.
                    let stray = self.quiet(PROBE_QUIET).await;
                    if stray.map_err(TransportError::unanswered)? == 0 {
                        self.outstanding = None;
                        return Ok(());
                    }
                }
                Err(error) if error.is_gone() => return Err(error),
                Err(_) => {}
            }
        }
        Err(TransportError::unanswered(Fault::Timeout {
            after: longest,
        }))
    }

    /// Writes a command and reads to its final result. The port stays dirty; it is for the caller
    /// to say that nothing else is awaited.
    async fn exchange(
        &mut self,
        command: &str,
        deadline: Deadline,
    ) -> Result<(Vec<String>, ResultCode), TransportError> {
        self.exchange_as(command, &Pending::new(command), deadline)
            .await
    }

    async fn exchange_as(
        &mut self,
        command: &str,
        pending: &Pending,
        deadline: Deadline,
    ) -> Result<(Vec<String>, ResultCode), TransportError> {
        // What a command is given may be an APDU, a code or a PIN, which no log may hold.
        let shown = command.split_inclusive('=').next().unwrap_or_default();
        self.statistics.commands += 1;
        self.write(&format!("{command}\r"), Some(pending), deadline)
            .await?;
        match self.read_answer(pending, deadline).await {
            Ok((lines, result)) => {
                trace!(command = shown, lines = lines.len(), ?result, "AT");
                Ok((lines, result))
            }
            Err(fault) => {
                trace!(command = shown, %fault, "AT without answer");
                if let Some(outstanding) = &mut self.outstanding {
                    outstanding.late_until();
                }
                Err(TransportError::unanswered(fault))
            }
        }
    }

    /// Writes a line, in one piece where the stream takes it. From its first octet on the end of
    /// the command is awaited.
    async fn write(
        &mut self,
        line: &str,
        command: Option<&Pending>,
        deadline: Deadline,
    ) -> Result<(), TransportError> {
        let mut rest = line.as_bytes();
        let write = async {
            while !rest.is_empty() {
                let count = match self.stream.write(rest).await? {
                    0 => return Err(Fault::Closed),
                    count => count,
                };
                // Noted before anything else is awaited, so that it is also true of a future that
                // is dropped after a part was written.
                if let Some(command) = command
                    && rest.len() == line.len()
                {
                    Outstanding::add(&mut self.outstanding, command);
                }
                rest = &rest[count..];
                self.half_line = !rest.is_empty();
                self.statistics.bytes_out += count as u64;
            }
            Ok(self.stream.flush().await?)
        };
        let result = match timeout_at(deadline.until(), write).await {
            Ok(result) => result,
            Err(_) => Err(deadline.fault()),
        };
        result.map_err(|fault| {
            self.closed |= fault == Fault::Closed;
            TransportError {
                fault,
                sent: rest.len() < line.len(),
            }
        })
    }

    async fn read_answer(
        &mut self,
        pending: &Pending,
        deadline: Deadline,
    ) -> Result<(Vec<String>, ResultCode), Fault> {
        let mut lines = Vec::new();
        let mut room = ANSWER_LIMIT;
        loop {
            let line = self.next_line(Some(pending), Some(deadline.until())).await;
            let line = line.map_err(|fault| match fault {
                Fault::Timeout { .. } => deadline.fault(),
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
                Line::Urc(text) if pending.keeps_codes() => {
                    room = room.saturating_sub(text.len() + LINE_COST);
                    if room > 0 {
                        lines.push(text);
                    }
                }
                // The answer lacks what was too long; its reader misses it.
                Line::Echo | Line::Urc(_) | Line::Overlong => {}
            }
            // A flood of lines must not hold off the deadline.
            if deadline.has_passed() {
                return Err(deadline.fault());
            }
        }
    }

    /// Makes a dirty port clean, see [`AtPort`].
    async fn settle(&mut self, deadline: Deadline) -> Result<(), Fault> {
        if self.closed {
            return Err(Fault::Closed);
        }
        self.take_arrived().await?;
        let Some(outstanding) = &mut self.outstanding else {
            return Ok(());
        };
        debug!("waiting for the end of an earlier command");
        // Some time must be left for the probe, and for the command itself.
        let late = Instant::now() + deadline.left() / 4 * 3;
        let late = outstanding.late_until().min(late);
        // Without its CR the modem would read the next command as the rest of this one.
        if self.half_line {
            let ended = self.write("\r", None, deadline).await;
            ended.map_err(|error| error.fault)?;
        }
        while let Some(pending) = self.outstanding_command() {
            match self.next_line(Some(&pending), Some(late)).await {
                Ok(_) if !has_passed(late) => {}
                Ok(_) | Err(Fault::Timeout { .. }) => self.probe(deadline).await?,
                Err(fault) => return Err(fault),
            }
        }
        match deadline.has_passed() {
            true => Err(deadline.fault()),
            false => Ok(()),
        }
    }

    /// Asks `AT` until that is all that is answered, so that nothing late is still to come.
    async fn probe(&mut self, deadline: Deadline) -> Result<(), Fault> {
        for probes_left in (1..=PROBES).rev() {
            // An equal share for each, so that a modem that misses the first still hears another.
            let share = PROBE_DEADLINE.min(deadline.left() / probes_left);
            match self.exchange("AT", share.into()).await {
                Ok((lines, _)) => {
                    if self.quiet(PROBE_QUIET).await? == 0 && lines.is_empty() {
                        self.outstanding = None;
                        return Ok(());
                    }
                }
                Err(error) if matches!(error.fault, Fault::Timeout { .. }) => {}
                Err(error) => return Err(error.fault),
            }
        }
        Err(deadline.fault())
    }

    /// Takes what has arrived since the last command, without waiting: it belongs to no command,
    /// but for the late end of an earlier one.
    async fn take_arrived(&mut self) -> Result<(), Fault> {
        // What has arrived is only known after the runtime has looked for it. A timer, even one
        // of no time at all, would cost a millisecond here.
        yield_now().await;
        let pending = self.outstanding_command();
        for _ in 0..ARRIVED_READS {
            let more = self.look().await?;
            while self.parsed(pending.as_ref()).is_some() {}
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Reads once what is there; whether there was anything.
    async fn look(&mut self) -> Result<bool, Fault> {
        let mut chunk = [0; CHUNK];
        let mut buffer = ReadBuf::new(&mut chunk);
        let stream = &mut self.stream;
        // A task that has used up its turn would be told that there is nothing.
        let read = unconstrained(poll_fn(|cx| {
            Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buffer))
        }));
        match read.await {
            Poll::Pending => Ok(false),
            Poll::Ready(result) => {
                self.received(result.map(|()| buffer.filled()))?;
                Ok(true)
            }
        }
    }

    /// The command whose end has not been seen.
    fn outstanding_command(&self) -> Option<Pending> {
        let outstanding = self.outstanding.as_ref()?;
        Some(outstanding.command.clone())
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

    /// The next line that arrives.
    async fn next_line(
        &mut self,
        pending: Option<&Pending>,
        until: Option<Instant>,
    ) -> Result<Line, Fault> {
        loop {
            if let Some(line) = self.parsed(pending) {
                return Ok(line);
            }
            self.fill(until).await?;
            // Bytes that never end a line must not hold off the deadline. It is not looked at for
            // ordinary lines: what has arrived in time is read, however late this task gets its turn.
            if self.parser.is_flooded() && until.is_some_and(has_passed) {
                return Err(Fault::Timeout {
                    after: Duration::ZERO,
                });
            }
        }
    }

    /// The next line that has arrived. Each that means something for the port passes here.
    fn parsed(&mut self, pending: Option<&Pending>) -> Option<Line> {
        let line = self.parser.next(pending)?;
        match line {
            Line::Urc(_) => self.statistics.urcs += 1,
            Line::Final(_) => Outstanding::remove(&mut self.outstanding, self.half_line),
            Line::Echo | Line::Information(_) | Line::Overlong => {}
        }
        Some(line)
    }

    async fn fill(&mut self, until: Option<Instant>) -> Result<(), Fault> {
        let mut chunk = [0; CHUNK];
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
        self.received(count.map(|count| &chunk[..count]))
    }

    fn received(&mut self, octets: io::Result<&[u8]>) -> Result<(), Fault> {
        let octets = octets.map_err(Fault::from).and_then(|octets| match octets {
            [] => Err(Fault::Closed),
            octets => Ok(octets),
        });
        let octets = octets.inspect_err(|fault| self.closed |= *fault == Fault::Closed)?;
        self.statistics.bytes_in += octets.len() as u64;
        self.parser.push(octets);
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

/// Commands whose end has not been seen.
#[derive(Debug)]
struct Outstanding {
    /// The first of them; what follows are probes.
    command: Pending,
    /// How many final results may still come.
    results: u32,
    /// Until when the end of a lost command is waited for, once it is known to be lost.
    late_until: Option<Instant>,
}

impl Outstanding {
    /// One more command was written.
    fn add(outstanding: &mut Option<Self>, command: &Pending) {
        let all = outstanding.get_or_insert_with(|| Self {
            command: command.clone(),
            results: 0,
            late_until: None,
        });
        all.results += 1;
    }

    /// A final result came. The last line, if only half of it was written, has none.
    fn remove(outstanding: &mut Option<Self>, half_line: bool) {
        let Some(all) = outstanding else {
            return;
        };
        all.results = all.results.saturating_sub(1).max(u32::from(half_line));
        if all.results == 0 {
            *outstanding = None;
        }
    }

    fn late_until(&mut self) -> Instant {
        *self.late_until.get_or_insert_with(|| Instant::now() + LATE)
    }
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

/// Phone failure, not allowed, busy: what modems say while they use the card themselves.
const RETRY: [u16; 3] = [0, 3, 14];
/// Bytes of one answer, each line counted with [`LINE_COST`].
const ANSWER_LIMIT: usize = 192 * 1024;
const LINE_COST: usize = 16;
/// Octets read at once.
const CHUNK: usize = 2048;
/// Reads of what has arrived between two commands; a flood is not emptied.
const ARRIVED_READS: usize = 64;
/// How long the end of a command is waited for after its deadline. A modem may give up on a card
/// only a little later than this side does.
const LATE: Duration = Duration::from_secs(5);
/// How often a silent modem is asked again. The first command after a port was opened is lost by
/// some.
const PROBES: u32 = 3;
const PROBE_DEADLINE: Duration = Duration::from_secs(3);
/// Silence after which nothing more is expected: a late line comes in one piece with its end.
const PROBE_QUIET: Duration = Duration::from_millis(100);
/// The same before the first command, when nothing is known of what the modem is doing.
const STALE_QUIET: Duration = Duration::from_millis(200);
/// For modems that never fall silent, such as one that reports its signal all the time.
const QUIET_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
