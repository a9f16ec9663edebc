//! Pages of a list.

use form_urlencoded::Serializer;
use serde_json::{Value, json};

use super::ApiError;
use super::form::Form;

/// A list of the API: where it is, what its elements are called and how they can be filtered.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) path: &'static str,
    pub(super) key: &'static str,
    /// Parameters with the member each is compared with.
    pub(super) filters: &'static [(&'static str, &'static str)],
}

impl List {
    /// The page asked for, of those elements that pass the filters.
    ///
    /// A page can be asked for by its number, or by the token in the URL of its predecessor, which
    /// also holds when elements were added meanwhile.
    pub(super) fn page(
        &self,
        elements: Vec<Value>,
        query: &Form,
        base_url: &str,
    ) -> Result<Value, ApiError> {
        let size = usize_of(query.number("PageSize", 50)?).clamp(1, 1000);
        let page = usize_of(query.number("Page", 0)?);
        let mut matching = elements;
        matching.retain(|element| self.is_wanted(element, query));
        let start = match query.value("PageToken") {
            None => page.saturating_mul(size),
            Some(token) => after(&matching, token)?,
        };
        let has_next = start.saturating_add(size) < matching.len();
        let shown: Vec<_> = matching.into_iter().skip(start).take(size).collect();
        let url = |page: usize, token: Option<String>| {
            let start = format!("{base_url}{}?", self.path);
            let length = start.len();
            Serializer::for_suffix(start, length)
                .extend_pairs(self.chosen(query))
                .append_pair("PageSize", &size.to_string())
                .append_pair("Page", &page.to_string())
                .extend_pairs(token.map(|token| ("PageToken", token)))
                .finish()
        };
        let last = shown.last().and_then(|last| last["sid"].as_str());
        let next = last.filter(|_| has_next).map(|sid| {
            let token = format!("{TOKEN}{sid}");
            url(page.saturating_add(1), Some(token))
        });
        let mut answer = json!({
            "meta": {
                "first_page_url": url(0, None),
                "key": self.key,
                "next_page_url": next,
                "page": page,
                "page_size": size,
                "previous_page_url": page.checked_sub(1).map(|page| url(page, None)),
                "url": url(page, None),
            },
        });
        answer[self.key] = shown.into();
        Ok(answer)
    }

    fn is_wanted(&self, element: &Value, query: &Form) -> bool {
        self.filters.iter().all(|(filter, member)| {
            let wanted = query.value(filter);
            wanted.is_none_or(|wanted| element[*member].as_str() == Some(wanted))
        })
    }

    /// The filters of a query.
    fn chosen<'q>(&self, query: &'q Form) -> impl Iterator<Item = (&'static str, &'q str)> {
        let filters = self.filters.iter();
        filters.filter_map(|(name, _)| Some((*name, query.value(name)?)))
    }
}

/// Where the page behind this token begins.
fn after(matching: &[Value], token: &str) -> Result<usize, ApiError> {
    let sid = token.strip_prefix(TOKEN);
    let place = matching
        .iter()
        .position(|element| element["sid"].as_str() == sid && sid.is_some());
    place.map(|place| place + 1).ok_or(ApiError::Parameter {
        parameter: "PageToken",
        problem: "not of this list",
    })
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What a page token begins with.
const TOKEN: &str = "PA";

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List = List {
        path: "/v1/Things",
        key: "things",
        filters: &[("Status", "status")],
    };

    fn page(query: &str) -> Result<Value, ApiError> {
        let elements = (0..5).map(|one| json!({ "sid": format!("T{one}"), "status": "new" }));
        let query = Form::read(query.as_bytes()).unwrap();
        LIST.page(elements.collect(), &query, "http://host")
    }

    fn sids(page: &Value) -> Vec<&str> {
        let things = page["things"].as_array().unwrap();
        things
            .iter()
            .map(|one| one["sid"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn a_page_knows_its_neighbours() {
        let first = page("PageSize=2").unwrap();
        assert_eq!(sids(&first), ["T0", "T1"]);
        assert!(first["meta"]["previous_page_url"].is_null());
        let next = "http://host/v1/Things?PageSize=2&Page=1&PageToken=PAT1";
        assert_eq!(first["meta"]["next_page_url"], next);
        let second = page("PageSize=2&Page=1&PageToken=PAT1").unwrap();
        assert_eq!(sids(&second), ["T2", "T3"]);
        let last = page("Status=new&PageSize=2&Page=2").unwrap();
        assert_eq!(sids(&last), ["T4"]);
        assert!(last["meta"]["next_page_url"].is_null());
        let previous = "http://host/v1/Things?Status=new&PageSize=2&Page=1";
        assert_eq!(last["meta"]["previous_page_url"], previous);
    }

    #[test]
    fn a_page_that_cannot_be_meant_is_refused_or_empty() {
        assert!(page("PageSize=two").is_err());
        assert!(page("PageToken=PAT9").is_err());
        assert_eq!(sids(&page("Page=99999999999999").unwrap()), [""; 0]);
        assert_eq!(sids(&page("Status=other").unwrap()), [""; 0]);
    }
}
