//! Stories, one test binary.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod activation_codes;
mod api;
mod book;
mod cancelling;
mod card_manners;
mod cards;
mod certificates_in_use;
mod channels;
mod command_line;
mod conformance;
mod connections;
mod consent;
mod contract;
mod crashes;
mod dependencies;
mod design;
mod doubt;
mod downloads;
mod first_boot;
mod hiccups;
mod layers;
mod lives;
mod log;
mod lost_answers;
mod lpactl;
mod modem_trouble;
mod notifications;
mod notifications_aside;
mod operator_reports;
mod packages;
mod power_loss;
mod procedures;
mod profiles;
mod refusals;
mod reservations;
mod server_certificate;
mod server_restart;
mod server_trouble;
mod state_folder;
mod states;
mod truth;
mod unit;
mod unknown_parts;
mod waiting;
