//! A folder of profiles: `<matching id>.der`, with an optional `<matching id>.toml` beside it.

use std::path::{Path, PathBuf};
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

/// Makes an order of every package in a folder, in the order of their names, except those that are
/// ordered over ES2+.
///
/// # Errors
///
/// When the folder or a file in it cannot be read, or is not what its name says.
pub fn orders_of_folder(folder: &Path) -> Result<Vec<OrderRequest>, FolderError> {
    let entries = entries(folder)?.into_iter();
    let orders = entries.filter(|entry| !entry.settings.is_for_stock());
    orders.map(Entry::order).collect()
}

/// Gives the profiles of a folder that are ordered over ES2+: the settings beside them have a
/// `profile_type`.
///
/// # Errors
///
/// As [`orders_of_folder`].
pub fn stock_of_folder(folder: &Path) -> Result<Vec<StockedProfile>, FolderError> {
    let entries = entries(folder)?.into_iter();
    let stock = entries.filter(|entry| entry.settings.is_for_stock());
    stock.map(Entry::stocked).collect()
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

    fn order(self) -> Result<OrderRequest, FolderError> {
        let mut settings = self.settings;
        let matching_id = self.path.file_stem().unwrap_or_default().to_string_lossy();
        settings
            .matching_id
            .get_or_insert_with(|| matching_id.into());
        // What lies in a folder is there for everybody, until it says how often.
        settings.repeat |= settings.max_downloads.is_none();
        let order = settings.order_of(self.profile, self.path.parent());
        order.map_err(no_order(&self.path))
    }

    fn stocked(self) -> Result<StockedProfile, FolderError> {
        let stocked = self.settings.stocked_of(self.profile, self.path.parent());
        stocked.map_err(no_order(&self.path))
    }
}

/// The packages of a folder, in the order of their names.
fn entries(folder: &Path) -> Result<Vec<Entry>, FolderError> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "der") {
            packages.push(path);
        }
    }
    packages.sort();
    packages.into_iter().map(Entry::read).collect()
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
    use super::*;
    use crate::profile::{Iccid, NotificationEvent, ProfileClass};

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

    #[test]
    fn a_package_alone_can_be_downloaded_any_number_of_times_under_its_name() {
        let folder = folder("MATCHING-1", "");
        let orders = orders_of_folder(&folder).unwrap();
        fs::remove_dir_all(folder).unwrap();
        let [order] = orders.as_slice() else {
            panic!("{orders:?}")
        };
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
        let order = orders_of_folder(&folder).unwrap().remove(0);
        fs::remove_dir_all(folder).unwrap();
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
        let folder = folder("A", "profile_type = \"gold\"\nonly_operator = \"2.999.1\"");
        let orders = orders_of_folder(&folder).unwrap();
        let stock = stock_of_folder(&folder).unwrap();
        fs::write(
            folder.join("A.toml"),
            "profile_type = \"gold\"\neid = \"1\"",
        )
        .unwrap();
        let error = stock_of_folder(&folder).unwrap_err().to_string();
        fs::remove_dir_all(folder).unwrap();
        assert!(orders.is_empty());
        assert_eq!(stock[0].profile_type, "gold");
        assert_eq!(stock[0].operator.as_deref(), Some("2.999.1"));
        assert_eq!(stock[0].profile.metadata.profile_name, "In a file");
        assert!(error.contains("A.toml"), "{error}");
    }

    #[test]
    fn a_misspelt_setting_is_an_error_that_names_its_file() {
        let folder = folder("A", "confirmationcode = \"1\"");
        let error = orders_of_folder(&folder).unwrap_err().to_string();
        fs::remove_dir_all(folder).unwrap();
        assert!(
            error.contains("A.toml") && error.contains("confirmationcode"),
            "{error}"
        );
    }
}
