//! A folder of profiles: `<matching id>.der`, with an optional `<matching id>.toml` beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use super::es2::StockedProfile;
use super::order::OrderRequest;
use super::order_settings::{OrderSettings, OrderSettingsError};
use crate::profile::{Profile, ProfileError};

/// Why a folder of profiles cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A `.der` file is not a profile package.
    #[error("{path}: {source}")]
    Package {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        source: ProfileError,
    },
    /// A `.toml` file cannot be understood.
    #[error("{path}: {source}")]
    Settings {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<toml::de::Error>,
    },
    /// A `.toml` file describes no order.
    #[error("{path}: {source}")]
    Order {
        /// Which one.
        path: PathBuf,
        /// What does not fit.
        source: OrderSettingsError,
    },
}

/// A folder that is looked into again and again.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The packages taken so far, as they were then.
    taken: BTreeSet<State>,
}

/// What tells whether a package has changed: its name, and what it and its settings were.
type State = (PathBuf, Option<Written>, Option<Written>);

/// When a file was written, and its length.
type Written = (SystemTime, u64);

/// What a package in a folder is for.
#[derive(Debug)]
pub(super) enum Found {
    /// It can be downloaded.
    Order(Box<OrderRequest>),
    /// The operator orders it over ES2+: the settings beside it have a `profile_type`.
    Stock(Box<StockedProfile>),
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            taken: BTreeSet::new(),
        }
    }

    /// The packages that are new or have changed since the last look, in the order of their names.
    ///
    /// One that cannot be used, as a file that is still being copied, is looked at again when it has
    /// changed.
    pub(super) fn look(&mut self) -> Result<Vec<Result<Found, FolderError>>, FolderError> {
        let mut packages = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(at(&self.path))? {
            let path = entry.map_err(at(&self.path))?.path();
            if path.extension().is_some_and(|extension| extension == "der") {
                packages.push(path);
            }
        }
        packages.sort();
        let packages = packages.into_iter();
        let new = packages.filter(|path| {
            let settings = path.with_extension("toml");
            let state = (path.clone(), written(path), written(&settings));
            self.taken.insert(state)
        });
        Ok(new.map(|path| Entry::read(path)?.found()).collect())
    }
}

fn written(path: &Path) -> Option<Written> {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

/// A package with the settings beside it.
struct Entry {
    path: PathBuf,
    profile: Profile,
    settings: OrderSettings,
}

impl Entry {
    fn read(path: PathBuf) -> Result<Self, FolderError> {
        let package = fs::read(&path).map_err(at(&path))?;
        let profile = Profile::from_package(package).map_err(|source| FolderError::Package {
            path: path.clone(),
            source,
        })?;
        let settings = settings(&path.with_extension("toml"))?;
        Ok(Self {
            path,
            profile,
            settings,
        })
    }

    fn found(self) -> Result<Found, FolderError> {
        Ok(match self.settings.is_for_stock() {
            true => Found::Stock(Box::new(self.stocked()?)),
            false => Found::Order(Box::new(self.order()?)),
        })
    }

    fn order(self) -> Result<OrderRequest, FolderError> {
        let mut settings = self.settings;
        let matching_id = self.path.file_stem().unwrap_or_default().to_string_lossy();
        settings
            .matching_id
            .get_or_insert_with(|| matching_id.into());
        // A package in a folder can be downloaded any number of times, unless its settings say how
        // often.
        settings.repeat |= settings.max_downloads.is_none();
        let order = settings.order_of(self.profile, self.path.parent());
        order.map_err(no_order(&self.path))
    }

    fn stocked(self) -> Result<StockedProfile, FolderError> {
        let stocked = self.settings.stocked_of(self.profile, self.path.parent());
        stocked.map_err(no_order(&self.path))
    }
}

fn no_order(package: &Path) -> impl Fn(OrderSettingsError) -> FolderError {
    move |source| FolderError::Order {
        path: package.with_extension("toml"),
        source,
    }
}

fn settings(path: &Path) -> Result<OrderSettings, FolderError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(OrderSettings::default());
        }
        other => other.map_err(at(path))?,
    };
    toml::from_str(&text).map_err(|source| FolderError::Settings {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn at(path: &Path) -> impl Fn(io::Error) -> FolderError {
    move |source| FolderError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use rsp_common::pki::{Pki, PkiOptions};

    use super::*;
    use crate::profile::{Iccid, NotificationEvent, ProfileClass};
    use crate::smdp::testing::Admin;
    use crate::smdp::{Config, Smdp};

    fn folder(name: &str, settings: &str) -> PathBuf {
        let suffix = hex::encode(crate::rsp::random::<8>());
        let folder = std::env::temp_dir().join(format!("lpad-profiles-{suffix}"));
        fs::create_dir(&folder).unwrap();
        let package = Profile::builder(Iccid::nth(5))
            .name("In a file")
            .build()
            .package;
        fs::write(folder.join(format!("{name}.der")), package).unwrap();
        if !settings.is_empty() {
            fs::write(folder.join(format!("{name}.toml")), settings).unwrap();
        }
        folder
    }

    /// What is found in a folder, which is removed.
    fn found_in(folder: &Path) -> Vec<Result<Found, FolderError>> {
        let found = Folder::new(folder).look().unwrap();
        fs::remove_dir_all(folder).unwrap();
        found
    }

    fn order_in(folder: &Path) -> OrderRequest {
        match found_in(folder).remove(0).unwrap() {
            Found::Order(order) => *order,
            Found::Stock(stocked) => panic!("{stocked:?}"),
        }
    }

    #[test]
    fn a_package_alone_can_be_downloaded_any_number_of_times_under_its_name() {
        let folder = folder("MATCHING-1", "");
        let order = order_in(&folder);
        assert_eq!(order.matching_id, "MATCHING-1");
        assert_eq!(order.max_downloads, None);
        assert_eq!(order.profile.metadata.profile_name, "In a file");
    }

    #[test]
    fn the_settings_beside_a_package_shape_its_order() {
        let settings = r#"
            service_provider = "Another"
            class = "test"
            confirmation_code = "1234"
            eid = "89049032123451234512345678901235"
            max_downloads = 2
            ppk = true
            notifications = ["enable"]
        "#;
        let folder = folder("A", settings);
        let order = order_in(&folder);
        assert_eq!(
            order.eid.as_deref(),
            Some("89049032123451234512345678901235")
        );
        assert_eq!((order.max_downloads, order.profile.ppk), (Some(2), true));
        let metadata = order.profile.metadata;
        assert_eq!(metadata.service_provider, "Another");
        assert_eq!(metadata.class, ProfileClass::Test);
        assert_eq!(metadata.notification_events, [NotificationEvent::Enable]);
    }

    #[test]
    fn a_package_with_a_profile_type_waits_for_the_operator() {
        let gold = folder("A", "profile_type = \"gold\"\nonly_operator = \"2.999.1\"");
        let Found::Stock(stocked) = found_in(&gold).remove(0).unwrap() else {
            panic!("it can be downloaded")
        };
        assert_eq!(stocked.profile_type, "gold");
        assert_eq!(stocked.operator.as_deref(), Some("2.999.1"));
        assert_eq!(stocked.profile.metadata.profile_name, "In a file");
        let wrong = folder("A", "profile_type = \"gold\"\neid = \"1\"");
        let error = found_in(&wrong).remove(0).unwrap_err().to_string();
        assert!(error.contains("A.toml"), "{error}");
    }

    #[test]
    fn a_misspelt_setting_is_an_error_that_names_its_file() {
        let folder = folder("A", "confirmationcode = \"1\"");
        let error = found_in(&folder).remove(0).unwrap_err().to_string();
        assert!(
            error.contains("A.toml") && error.contains("confirmationcode"),
            "{error}"
        );
    }
    #[tokio::test]
    async fn a_package_that_comes_while_the_server_runs_is_found_and_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::generate(&PkiOptions::default()).unwrap();
        let smdp = Smdp::new(Config::new("smdp.example.com", pki)).unwrap();
        smdp.serve_folder(folder.path()).unwrap();
        let admin = Admin::start(&smdp).await;
        let path = "/admin/v1/orders";
        let package = Profile::builder(Iccid::nth(5)).build().package;
        for (name, octets, orders) in [
            ("NONE", &[][..], 0),
            ("LATER-1", &package, 1),
            ("HALF", &package[..20], 1),
            ("HALF", &package, 2),
        ] {
            if !octets.is_empty() {
                fs::write(folder.path().join(format!("{name}.der")), octets).unwrap();
            }
            for _ in 0..2 {
                let told = admin.send(Method::GET, path, &[], "").await;
                assert_eq!(told.json.as_array().unwrap().len(), orders, "{name}");
            }
        }
        assert_eq!(smdp.orders()[0].matching_id(), "LATER-1");
    }
}
