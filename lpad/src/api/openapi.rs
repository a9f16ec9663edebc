//! `/v1/openapi.json`.

/// The description of the API in OpenAPI 3.1; a scenario holds every answer against it. It is
/// `lpad/openapi.json` as the build script leaves it.
pub(super) const DOCUMENT: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));
