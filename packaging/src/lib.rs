//! What a release has beside the programs, made from their source: manual pages, completions, copyright
//! files, the reference pages of the book, and the description of the API, which the daemon carries.

pub mod commands;
pub mod configuration;
pub mod copyright;
pub mod description;
pub mod errors;
pub mod manual;
pub mod modems;

/// The pages of the book that are made here, by their names in `docs/`.
pub fn book() -> [(&'static str, String); 4] {
    [
        ("configuration.md", configuration::page()),
        ("error-codes.md", errors::page()),
        ("lpactl.md", commands::page()),
        ("modems.md", modems::page()),
    ]
}
