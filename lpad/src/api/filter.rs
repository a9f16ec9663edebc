//! Which operations a client wants to see, and how a query says so.

use crate::job::Kind;
use crate::memory::operations::{Operation, State};

/// Which operations are wanted: those that fit all of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OperationFilter {
    /// In this state.
    pub state: Option<State>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Of the eUICC of this name.
    pub euicc: Option<String>,
    /// That had not ended before this time, in seconds since 1970.
    pub since_s: Option<u64>,
}

impl OperationFilter {
    /// The keys of the query.
    pub(super) const KEYS: &[&str] = &["state", "kind", "euicc", "since"];

    /// Whether an operation is wanted.
    pub(super) fn takes(&self, one: &Operation) -> bool {
        let ended = one.finished_at_s;
        self.state.is_none_or(|state| one.state == state)
            && self.kind.is_none_or(|kind| one.kind == kind)
            && self.euicc.as_ref().is_none_or(|name| one.euicc == *name)
            && self
                .since_s
                .is_none_or(|since| ended.is_none_or(|ended| ended >= since))
    }

    /// As the query of a request.
    pub(crate) fn query(&self) -> String {
        let state = self.state.map(|state| state.name().to_owned());
        let kind = self.kind.map(|kind| kind.name().to_owned());
        let since = self.since_s.map(|seconds| seconds.to_string());
        let values = [state, kind, self.euicc.clone(), since];
        let mut pairs = Vec::new();
        for (key, value) in Self::KEYS.iter().zip(values) {
            pairs.extend(value.map(|value| format!("{key}={value}")));
        }
        pairs.join("&")
    }
}
