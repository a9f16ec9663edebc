//! A gateway's first day, on one machine: `cargo demo`.
//!
//! Card, modem and SM-DP+ run in this process, behind a pseudo terminal and a TLS port. The daemon
//! and `lpactl` are processes of their own: this program starts itself in their role.

#![allow(clippy::print_stdout, reason = "showing things is what it is for")]

mod operator;
mod world;

use std::error::Error;
use std::ffi::OsString;
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use lpad::api::body::Operation;
use lpad::cli;
use lpad::cli::doctor::program::Program;
use lpad::job::Kind;
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad::program;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use self::world::World;

/// Shows lpad at work on this machine, with real protocols from end to end.
#[derive(Debug, Parser)]
struct Arguments {
    /// Leave everything running and print commands to try
    #[arg(long)]
    keep: bool,
    /// What is told
    #[arg(long, default_value = "first-day")]
    story: Story,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Story {
    /// An empty card gets its profiles
    FirstDay,
    /// A profile that gets no service is left again
    Switch,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    match arguments.next_if(|role| role == LPAD || role == LPACTL) {
        Some(role) if role == LPAD => {
            // The daemon's own file is enough to start it.
            let config = arguments.peek().filter(|first| !first.starts_with("--"));
            let config = config.map(|_| "--config".to_owned());
            let arguments = config.into_iter().chain(arguments).map(OsString::from);
            program::run(arguments.collect())
        }
        Some(role) => {
            let arguments = std::iter::once(role).chain(arguments);
            let arguments = cli::args::Arguments::parse_from(arguments);
            cli::run(arguments, Program::own(LPAD))
        }
        None => demo(Arguments::parse()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn demo(arguments: Arguments) -> ExitCode {
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Arguments { keep, story }: Arguments) -> Result<(), Box<dyn Error>> {
    let mut world = World::new().await?;
    let told = async {
        match story {
            Story::FirstDay => tell(&mut world).await,
            Story::Switch => tell_of_a_switch(&mut world).await,
        }
    };
    let told = tokio::select! {
        told = timeout(PATIENCE, told) => told,
        signal = interrupted() => return signal.and(Err("interrupted".into())),
    };
    told.map_err(|_| format!("not finished within {} s", PATIENCE.as_secs()))??;
    if keep {
        world.show_what_to_try();
        tokio::select! {
            ended = world.daemon_ends() => return Err(ended),
            signal = interrupted() => signal?,
        }
    }
    world.end().await
}

/// Waits for the end: Ctrl-C, a closed terminal, or kill.
async fn interrupted() -> Result<(), Box<dyn Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

async fn tell(world: &mut World) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    heading("A gateway with an empty eUICC, and an SM-DP+");
    println!("  eUICC   EID {}", world.eid());
    println!("  modem   {}", world.modem_port().display());
    println!(
        "  SM-DP+  {} on {}",
        world.host_name(),
        world.smdp_address()
    );

    heading("The operator reserves two profiles");
    let by_eid = world.reserve(&[("Eid", &world.eid())]).await?;
    let by_code = world.reserve(&[("GenerateMatchingId", "true")]).await?;

    heading("The daemon starts, finds no profile and gets the first one by itself");
    world.start_daemon().await?;
    let first = world.follow_first_operation().await?;
    succeeded(&first)?;

    heading("The second profile, by activation code over the Unix socket");
    let code = by_code
        .activation_code
        .ok_or("the reservation has no activation code")?;
    world.lpactl(&["download", &code, "--yes"]).await?;
    let iccid = world.newest_download().await?;

    heading("The gateway switches to it");
    world.lpactl(&["profile", "enable", &iccid]).await?;
    world.lpactl(&["profile", "list"]).await?;

    heading("All notifications have arrived");
    world.lpactl(&["notification", "list"]).await?;
    world.delivered(&[&by_eid.sid, &by_code.sid]).await?;
    check(world, &iccid).await?;
    println!("\nDone in {:.1} s.", started.elapsed().as_secs_f32());
    Ok(())
}

async fn tell_of_a_switch(world: &mut World) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    heading("A gateway in service, which nobody can visit");
    let _by_eid = world.reserve(&[("Eid", &world.eid())]).await?;
    let by_code = world.reserve(&[("GenerateMatchingId", "true")]).await?;
    world.start_daemon().await?;
    succeeded(&world.follow_first_operation().await?)?;
    let first = world.newest_download().await?;

    heading("Another operator's profile is downloaded, whose subscription is not active");
    let code = by_code
        .activation_code
        .ok_or("the reservation has no activation code")?;
    world.lpactl(&["download", &code, "--yes"]).await?;
    let second = world.newest_download().await?;
    world.gets_no_service(&second)?;

    heading("The gateway switches to it, and is out of reach");
    println!("  a profile has 30 s to get service here; 7 min are the default");
    let switched = Instant::now();
    world
        .lpactl_fails(&["profile", "enable", &second], 9)
        .await?;

    heading("It is back by itself");
    println!("  {:.0} s later:", switched.elapsed().as_secs_f32());
    world.lpactl(&["profile", "list"]).await?;
    world.lpactl(&["operation", "list"]).await?;
    check(world, &first).await?;
    println!("\nDone in {:.0} s.", started.elapsed().as_secs_f32());
    Ok(())
}

/// What the demo shows must also be true.
async fn check(world: &World, iccid: &str) -> Result<(), Box<dyn Error>> {
    let profiles = world.client().profiles(world::EUICC).await?;
    let enabled: Vec<_> = profiles
        .iter()
        .filter(|profile| profile.state == ProfileState::Enabled)
        .map(|profile| profile.iccid.as_str())
        .collect();
    if profiles.len() != 2 || enabled != [iccid] {
        return Err("the card does not hold the two profiles, the right one enabled".into());
    }
    if !world.client().notifications(world::EUICC).await?.is_empty() {
        return Err("notifications were left on the card".into());
    }
    // A list is told as soon as it was read, which may be before its channel is closed.
    let closed = async {
        while !world.open_channels().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = timeout(Duration::from_secs(10), closed).await;
    closed.map_err(|_| "a logical channel was left open".into())
}

fn succeeded(operation: &Operation) -> Result<(), Box<dyn Error>> {
    match (operation.state, &operation.problem) {
        (State::Succeeded, _) if operation.kind == Kind::Download => Ok(()),
        (_, Some(problem)) => Err(problem.to_string().into()),
        (state, None) => Err(format!("the first operation ended as {state:?}").into()),
    }
}

fn heading(text: &str) {
    match stdout().is_terminal() {
        true => println!("\n\x1b[1m{text}\x1b[0m"),
        false => println!("\n{text}"),
    }
}

/// Roles of this program.
const LPAD: &str = "lpad";
const LPACTL: &str = "lpactl";

/// Far more than a story needs.
const PATIENCE: Duration = Duration::from_secs(180);
