//! The daemon's description of its API: held against what is asked and answered, and what of it
//! was seen so far.

use std::collections::BTreeSet;

use serde_json::Value;

use super::call::{Call, Reply};

/// An OpenAPI document.
pub(super) struct Description {
    document: Value,
    seen: BTreeSet<String>,
}

/// A method on a path with `{parameters}`.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) method: String,
    pub(super) template: String,
    pub(super) id: String,
    pub(super) description: String,
}

impl Description {
    pub(super) fn new(document: Value) -> Self {
        Self {
            document,
            seen: BTreeSet::new(),
        }
    }

    /// Checks that request and reply are as described, and remembers that this reply was seen.
    pub(super) fn check(&mut self, call: &Call<'_>, reply: &Reply) {
        let template = self.template(call.path()).map(str::to_owned);
        let Some(template) = template else {
            return self.check_reply("/components/responses/NotFound", call, reply);
        };
        let path = format!("/paths/{}", escaped(&template));
        let operation = format!("{path}/{}", call.method.to_lowercase());
        if self.document.pointer(&operation).is_none() {
            self.check_reply("/components/responses/MethodNotAllowed", call, reply);
            let allowed: BTreeSet<_> = reply.headers["allow"].split(", ").collect();
            let all = self.operations();
            let described = all.iter().filter(|known| known.template == template);
            let described: BTreeSet<_> = described.map(|known| known.method.as_str()).collect();
            assert_eq!(allowed, described, "{call:?}");
            return;
        }
        self.check_reply(
            &format!("{operation}/responses/{}", reply.status),
            call,
            reply,
        );
        if ![400, 408, 413, 422].contains(&reply.status) {
            self.check_body(&operation, call);
        }
        if reply.status < 400 {
            self.check_parameters(&path, &operation, &template, call);
        }
        self.seen
            .insert(format!("{} {template} {}", call.method, reply.status));
    }

    fn check_reply(&self, pointer: &str, call: &Call<'_>, reply: &Reply) {
        let (pointer, response) = self
            .resolve(pointer)
            .unwrap_or_else(|| panic!("{call:?} is answered with {reply:?}"));
        let kind = reply.headers["content-type"].as_str();
        let schema = format!("{pointer}/content/{}/schema", escaped(kind));
        assert!(
            self.document.pointer(&schema).is_some(),
            "{call:?}: {reply:?}"
        );
        if kind != "text/event-stream" {
            self.must_fit(&schema, &reply.json);
        }
        if reply.status >= 400 {
            let code = format!("`{}`", reply.json["code"].as_str().unwrap());
            assert_eq!(reply.json["status"], reply.status);
            assert!(text(&response["description"]).contains(&code), "{reply:?}");
        }
        for name in ["Allow", "Cache-Control", "Location"] {
            let described = self.resolve(&format!("{pointer}/headers/{name}"));
            let given = reply.headers.get(&name.to_lowercase());
            assert_eq!(described.is_some(), given.is_some(), "{name}: {reply:?}");
            if let Some(((pointer, _), given)) = described.zip(given) {
                self.must_fit(&format!("{pointer}/schema"), &given.as_str().into());
            }
        }
    }

    fn check_body(&self, operation: &str, call: &Call<'_>) {
        let schema = format!("{operation}/requestBody/content/application~1json/schema");
        match self.document.pointer(&schema) {
            None => assert_eq!(call.body, "", "{call:?}"),
            Some(_) => {
                let body = serde_json::from_str(&call.body);
                self.must_fit(&schema, &body.expect("what was understood is JSON"));
            }
        }
    }

    /// Path parameters, headers and the query are described and have the form described.
    fn check_parameters(&self, path: &str, operation: &str, template: &str, call: &Call<'_>) {
        let names = template.split('/').zip(call.path().split('/'));
        let in_path = names.filter_map(|(name, value)| {
            let name = name.strip_prefix('{')?.strip_suffix('}')?;
            Some(("path", name, value))
        });
        let in_query = call.query().map(|(name, value)| ("query", name, value));
        let headers = call.headers.iter();
        let in_header = headers.map(|(name, value)| ("header", *name, *value));
        for (place, name, value) in in_path.chain(in_query).chain(in_header) {
            let list = [path, operation].map(|owner| format!("{owner}/parameters"));
            let known = list.iter().flat_map(|list| {
                (0..).map_while(move |index| self.resolve(&format!("{list}/{index}")))
            });
            let (pointer, _) = known
                .into_iter()
                .find(|(_, known)| known["name"] == name && known["in"] == place)
                .unwrap_or_else(|| panic!("{place} parameter {name} of {call:?}"));
            let kind = self.document.pointer(&format!("{pointer}/schema/type"));
            let value = match kind.and_then(Value::as_str) {
                Some("integer" | "boolean") => serde_json::from_str(value).unwrap(),
                _ => value.into(),
            };
            self.must_fit(&format!("{pointer}/schema"), &value);
        }
    }

    /// Whether a request with this body may be made of the operation.
    pub(super) fn takes(&self, operation: &Operation, body: &str) -> bool {
        let (path, method) = (
            escaped(&operation.template),
            operation.method.to_lowercase(),
        );
        let schema = format!("/paths/{path}/{method}/requestBody/content/application~1json/schema");
        serde_json::from_str(body).is_ok_and(|body| self.faults(&schema, &body).is_empty())
    }

    /// Checks a value against the schema at `pointer`.
    #[track_caller]
    pub(super) fn must_fit(&self, pointer: &str, value: &Value) {
        let faults = self.faults(pointer, value);
        assert!(faults.is_empty(), "{pointer}: {faults:#?} in {value:#}");
    }

    /// Checks that the description of the schema at `pointer` contains this.
    pub(super) fn must_mention(&self, pointer: &str, what: &str) {
        let schema = self.document.pointer(pointer).expect("it is there");
        let description = text(&schema["description"]);
        assert!(description.contains(what), "{pointer}: {what}");
    }

    fn faults(&self, pointer: &str, value: &Value) -> Vec<String> {
        let mut schema = self.document.pointer(pointer).expect("a schema").clone();
        // What it refers to.
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&schema).expect("schemas can be read");
        let faults = validator.iter_errors(value);
        faults
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect()
    }

    /// Every operation.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let paths = self.document["paths"].as_object().unwrap();
        let methods = paths.iter().flat_map(|(template, item)| {
            let operations = item.as_object().unwrap().iter();
            operations
                .filter(|(method, _)| *method != "parameters")
                .map(move |(method, operation)| (template, method, operation))
        });
        methods
            .map(|(template, method, operation)| Operation {
                method: method.to_uppercase(),
                template: template.clone(),
                id: text(&operation["operationId"]).to_owned(),
                description: text(&operation["description"]).to_owned(),
            })
            .collect()
    }

    /// The described path that fits.
    pub(super) fn template(&self, path: &str) -> Option<&str> {
        let fits = |template: &str| {
            let (described, asked) = (template.split('/'), path.split('/'));
            described.clone().count() == asked.clone().count()
                && described
                    .zip(asked)
                    .all(|(described, asked)| described == asked || described.starts_with('{'))
        };
        let paths = self.document["paths"].as_object().unwrap();
        paths.keys().map(String::as_str).find(|path| fits(path))
    }

    /// Schemas of objects with their members' names, and of enumerations with their values.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, BTreeSet<&str>)> {
        let schemas = self.document["components"]["schemas"].as_object().unwrap();
        schemas.iter().filter_map(|(name, schema)| {
            let names = match (&schema["properties"], &schema["enum"]) {
                (Value::Object(members), _) => members.keys().map(String::as_str).collect(),
                (_, Value::Array(values)) => values.iter().map(text).collect(),
                _ => return None,
            };
            Some((name.as_str(), names))
        })
    }

    /// Replies that are described and were not seen.
    pub(super) fn unseen(&self) -> Vec<String> {
        let replies = self.operations().into_iter().flat_map(|operation| {
            let (method, template) = (operation.method, operation.template);
            let replies =
                &self.document["paths"][&template][method.to_lowercase().as_str()]["responses"];
            let statuses = replies.as_object().unwrap().keys();
            statuses
                .map(|status| format!("{method} {template} {status}"))
                .collect::<Vec<_>>()
        });
        replies.filter(|reply| !self.seen.contains(reply)).collect()
    }

    /// What is at `pointer`, and where it really is when that is elsewhere.
    fn resolve(&self, pointer: &str) -> Option<(String, &Value)> {
        let value = self.document.pointer(pointer)?;
        match value["$ref"].as_str() {
            Some(elsewhere) => self.resolve(elsewhere.strip_prefix('#')?),
            None => Some((pointer.to_owned(), value)),
        }
    }
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
