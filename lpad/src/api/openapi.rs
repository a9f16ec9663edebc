//! `/v1/openapi.json`.

/// The description of the API in OpenAPI 3.1; a scenario holds every answer against it.
pub(super) const DOCUMENT: &str = include_str!("../../openapi.json");
