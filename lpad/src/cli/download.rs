//! `lpactl download`.

use std::fs;
use std::io::{Read, Write, stderr, stdin};
use std::path::Path;

use super::args::DownloadArguments;
use super::table::Width;
use super::{CliError, Lpactl, prompt, render};
use crate::api::body::Operation;
use crate::api::downloads::DownloadRequest;
use crate::job::{Answer, Consent, Decision};
use crate::secret::Secret;

impl Lpactl {
    pub(super) async fn download(&self, arguments: DownloadArguments) -> Result<(), CliError> {
        let attended = prompt::is_interactive() && !self.json;
        if !arguments.yes && !attended {
            return Err(CliError::Usage(
                "There is no terminal to ask on: add --yes to accept the profile".to_owned(),
            ));
        }
        let request = request(&arguments)?;
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

fn request(arguments: &DownloadArguments) -> Result<DownloadRequest, CliError> {
    let code_from_stdin = arguments.source.code.as_deref() == Some("-");
    let file = arguments.confirmation_code_file.as_deref();
    if code_from_stdin && file == Some(Path::new("-")) {
        return Err(CliError::Usage(
            "Standard input can hold only one of the codes".to_owned(),
        ));
    }
    let activation_code = match &arguments.source.code {
        Some(_) if code_from_stdin => Some(read_code(Path::new("-"))?),
        code => code.as_ref().map(Secret::new),
    };
    Ok(DownloadRequest {
        activation_code,
        default: arguments.source.default,
        smdp: arguments.source.smdp.clone(),
        confirmation_code: file.map(read_code).transpose()?,
        consent: if arguments.yes {
            Consent::Accept
        } else {
            Consent::Ask
        },
        enable: arguments.enable,
        attended: true,
    })
}

/// The first line of a file, or of standard input.
pub(super) fn read_code(path: &Path) -> Result<Secret, CliError> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => stdin().take(CODE_LIMIT).read_to_string(&mut text),
        false => {
            fs::File::open(path).and_then(|file| file.take(CODE_LIMIT).read_to_string(&mut text))
        }
    };
    let name = match path.to_str() {
        Some("-") => "Standard input".into(),
        _ => path.to_string_lossy(),
    };
    match read {
        Ok(_) => match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Secret::new(line)),
            _ => Err(CliError::Usage(format!("{name} holds no code"))),
        },
        Err(error) => Err(CliError::Usage(format!("{name}: {error}"))),
    }
}

/// More than any code has.
const CODE_LIMIT: u64 = 4096;
