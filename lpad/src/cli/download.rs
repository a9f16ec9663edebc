//! `lpactl download`.

use std::fmt;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::args::DownloadArguments;
use super::table::Width;
use super::{CliError, Lpactl, prompt, render};
use crate::api::body::Operation;
use crate::api::downloads::{DownloadRequest, parse_code};
use crate::client::ClientError;
use crate::files::{self, LONGEST};
use crate::job::{Answer, Consent, Decision};
use crate::secret::Secret;

impl Lpactl {
    pub(super) async fn download(&self, arguments: DownloadArguments) -> Result<(), CliError> {
        let request = request(&arguments).await?;
        let attended = prompt::is_interactive() && !self.json;
        if !arguments.yes && !attended {
            return Err(CliError::Usage(
                "There is no terminal to ask on: add --yes to accept the profile".to_owned(),
            ));
        }
        let name = self.name().await?;
        let news = self.news().await;
        // Held to the end: without this process the question has no one to answer it.
        let (operation, _attendance) = self.client.download_attended(&name, &request).await?;
        let ended = self
            .watch(operation, news, async |asking| self.ask(asking).await)
            .await?;
        self.tell(ended)
    }

    /// Shows an offer and passes on what the person says.
    async fn ask(&self, asking: &Operation) -> Result<(), CliError> {
        let Some(offer) = &asking.offer else {
            return Ok(());
        };
        let offered = render::offer(offer, Width::of(stderr()));
        let _ = stderr().write_all(offered.as_bytes());
        if !prompt::is_interactive() {
            return Err(CliError::NeedsPerson);
        }
        let mut answer = Answer {
            answer: prompt::decide().await?,
            confirmation_code: None,
        };
        if answer.answer == Decision::Accept && offer.confirmation_code_required {
            answer.confirmation_code = prompt::secret("Confirmation code: ").await?;
            if answer.confirmation_code.is_none() {
                answer.answer = Decision::Postpone;
            }
        }
        self.client.answer(asking.id, &answer).await?;
        Ok(())
    }
}

async fn request(arguments: &DownloadArguments) -> Result<DownloadRequest, CliError> {
    let code_from_stdin = arguments.source.code.as_deref() == Some("-");
    let file = arguments.confirmation_code_file.as_deref();
    if code_from_stdin && file == Some(Path::new("-")) {
        return Err(CliError::Usage(
            "Standard input can hold only one of the codes".to_owned(),
        ));
    }
    let activation_code = match &arguments.source.code {
        Some(_) if code_from_stdin => Some(read_line("Activation code: ").await?),
        code => code.as_ref().map(Secret::new),
    };
    if let Some(code) = &activation_code {
        // Before anything else is asked of the person: it cannot be right.
        parse_code(code).map_err(|problem| ClientError::Problem(Box::new(problem)))?;
    }
    Ok(DownloadRequest {
        activation_code,
        default: arguments.source.default,
        smdp: arguments.source.smdp.clone(),
        confirmation_code: read_confirmation_code(file).await?,
        consent: if arguments.yes {
            Consent::Accept
        } else {
            Consent::Ask
        },
        enable: arguments.enable,
        attended: true,
    })
}

/// The confirmation code in a file, or with `-` in a line of standard input.
pub(super) async fn read_confirmation_code(
    file: Option<&Path>,
) -> Result<Option<Secret>, CliError> {
    let Some(path) = file else {
        return Ok(None);
    };
    if path == Path::new("-") {
        return read_line("Confirmation code: ").await.map(Some);
    }
    let code = files::read_code(path);
    let name = path.display();
    code.map(Some)
        .map_err(|error| CliError::Usage(format!("{name}: {error}")))
}

/// The code in the next line of standard input; at a terminal it is asked for.
async fn read_line(question: &str) -> Result<Secret, CliError> {
    let unusable = |why: &dyn fmt::Display| CliError::Usage(format!("Standard input: {why}"));
    if stdin().is_terminal() {
        let typed = prompt::secret(question).await?;
        return typed.ok_or_else(|| unusable(&"it has ended"));
    }
    let mut line = Vec::new();
    let mut input = BufReader::new(tokio::io::stdin().take(LONGEST + 1));
    let read = input.read_until(b'\n', &mut line).await;
    read.and_then(|_| files::code_in(line))
        .map_err(|error| unusable(&error))
}
