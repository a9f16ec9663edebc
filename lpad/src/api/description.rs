//! The description of the API: what its types say of themselves, and what its paths do.
//!
//! `openapi.json` is made of it and committed, because the daemon serves it and carries none of this.

mod operations;
mod schemas;

use serde_json::{Map, Value, json};

use self::operations::{OPERATIONS, Operation, Refusal};
use super::action::Access;

/// The description in OpenAPI 3.1.
pub fn document() -> Value {
    let tags = TAGS.iter();
    let tags = tags.map(|(name, description)| json!({ "name": name, "description": description }));
    let responses = RESPONSES.iter();
    let mut responses: Map<String, Value> = responses
        .map(|(name, description)| ((*name).to_owned(), refusal(description)))
        .collect();
    responses["MethodNotAllowed"]["headers"] = json!({ "Allow": {
        "description": "The methods the path takes, with commas between them.",
        "required": true,
        "schema": { "type": "string" },
    } });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lpad",
            "version": "v1",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": ABOUT.trim_end(),
        },
        "servers": [{
            "url": "http://localhost",
            "description": "Over the Unix socket; the host is not looked at.",
        }],
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths(),
        "components": {
            "schemas": schemas::schemas(),
            "parameters": parameters(),
            "headers": { "Location": {
                "description": "The path of the operation, to follow it.",
                "required": true,
                "schema": { "type": "string", "pattern": "^/v1/operations/[1-9][0-9]*$" },
            } },
            "responses": responses,
        },
    })
}

fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        let segments = operation.path.split('/');
        let in_path: Vec<_> = segments
            .filter_map(|segment| match segment {
                "{euicc}" => Some(parameter("Euicc")),
                "{iccid}" => Some(parameter("Iccid")),
                "{id}" => Some(parameter("OperationId")),
                "{number}" => Some(parameter("NotificationNumber")),
                _ => None,
            })
            .collect();
        if !in_path.is_empty() {
            path["parameters"] = in_path.into();
        }
        path[operation.method] = method(operation);
    }
    paths
}

fn method(operation: &Operation) -> Value {
    let who = match operation.access {
        Access::Change => "Only admins may call it.",
        Access::Read | Access::None => "Readers and admins may call it.",
    };
    let mut method = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": format!("{} {who}", operation.description),
        "responses": responses(operation),
    });
    if !operation.parameters.is_empty() {
        let names = operation.parameters.iter();
        method["parameters"] = names.map(|name| parameter(name)).collect();
    }
    if let Some(schema) = operation.body {
        method["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": reference("schemas", schema) } },
        });
    }
    method
}

fn responses(operation: &Operation) -> Map<String, Value> {
    let (status, description, schema) = operation.answer;
    let mut answer = json!({ "description": description });
    answer["content"] = match (operation.id, schema) {
        ("getDescription", _) => json!({ "application/json": { "schema": {
            "type": "object",
            "required": ["openapi", "info", "paths"],
        } } }),
        ("followEvents", _) => json!({ "text/event-stream": { "schema": {
            "type": "string",
            "description": "Server-sent events, each as the schema Event says.",
        } } }),
        _ => json!({ "application/json": { "schema": reference("schemas", schema) } }),
    };
    if operation.id == "followEvents" {
        answer["headers"] = json!({ "Cache-Control": {
            "description": "Always `no-cache`.",
            "required": true,
            "schema": { "const": "no-cache" },
        } });
    }
    if status == 202 {
        answer["headers"] = json!({ "Location": reference("headers", "Location") });
    }
    let mut responses = Map::from_iter([(status.to_string(), answer)]);
    for (status, name) in EVERYWHERE {
        responses.insert(status.to_string(), reference("responses", name));
    }
    for (status, why) in operation.refusals {
        let why = match why {
            Refusal::Named(name) => reference("responses", name),
            Refusal::Own(description) => refusal(description),
        };
        responses.insert(status.to_string(), why);
    }
    responses
}

fn refusal(description: &str) -> Value {
    json!({
        "description": description,
        "content": { "application/problem+json": {
            "schema": reference("schemas", "ErrorResponse"),
        } },
    })
}

fn parameter(name: &str) -> Value {
    reference("parameters", name)
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn parameters() -> Value {
    json!({
        "Euicc": {
            "name": "euicc",
            "in": "path",
            "required": true,
            "description": "The eUICC's name in the configuration; `default` when it gives none.",
            "schema": {
                "type": "string",
                "pattern": "^[a-z0-9-]{1,32}$"
            }
        },
        "Iccid": {
            "name": "iccid",
            "in": "path",
            "required": true,
            "description": "The profile's ICCID, 18 to 20 digits.",
            "schema": {
                "type": "string",
                "pattern": "^[0-9]{18,20}$"
            }
        },
        "NotificationNumber": {
            "name": "number",
            "in": "path",
            "required": true,
            "description": "The notification's sequence number.",
            "schema": {
                "type": "integer",
                "minimum": 0
            }
        },
        "OperationId": {
            "name": "id",
            "in": "path",
            "required": true,
            "description": "The operation's number.",
            "schema": {
                "$ref": "#/components/schemas/OperationNumber"
            }
        },
        "Wait": {
            "name": "wait",
            "in": "query",
            "required": false,
            "description": "How long to wait at most, in whole seconds.",
            "schema": {
                "type": "integer",
                "minimum": 0,
                "maximum": 60,
                "default": 0
            }
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "1 to 128 printable characters the client makes up. The same request of the same user with the same key is not carried out again, as long as its operation is kept: it is answered as the first time, with the operation as it is now. A request with another method, path, query or body is refused. A refused request leaves its key free.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": 128,
                "pattern": "^[!-~]([ -~]*[!-~])?$"
            }
        },
        "LastEventId": {
            "name": "Last-Event-ID",
            "in": "header",
            "required": false,
            "description": "The number of the last event the reader saw: the stream goes on after it.",
            "schema": {
                "type": "integer",
                "minimum": 0,
                "maximum": u64::MAX
            }
        },
        "CardWait": {
            "name": "wait",
            "in": "query",
            "required": false,
            "description": "How long to wait at most, in whole seconds, until the card was read again. 0 answers at once with what is known.",
            "schema": {
                "type": "integer",
                "minimum": 0,
                "maximum": 60,
                "default": 30
            }
        },
        "Force": {
            "name": "force",
            "in": "query",
            "required": false,
            "description": "Even if the profile is the last operational one or is to be kept, or the notification was not delivered.",
            "schema": {
                "type": "boolean",
                "default": false
            }
        },
        "Queue": {
            "name": "queue",
            "in": "query",
            "required": false,
            "description": "Whether it may wait for others. With `false` it is refused as `busy` while the eUICC has an operation that has not ended.",
            "schema": {
                "type": "boolean",
                "default": true
            }
        },
        "Kind": {
            "name": "kind",
            "in": "query",
            "required": false,
            "description": "Only the operations of this kind.",
            "schema": {
                "$ref": "#/components/schemas/OperationKind"
            }
        },
        "OfEuicc": {
            "name": "euicc",
            "in": "query",
            "required": false,
            "description": "Only the operations of the eUICC of this name.",
            "schema": {
                "type": "string",
                "pattern": "^[a-z0-9-]{1,32}$"
            }
        },
        "Since": {
            "name": "since",
            "in": "query",
            "required": false,
            "description": "Only the operations that had not ended before this time, in seconds since 1970-01-01 UTC.",
            "schema": {
                "type": "integer",
                "minimum": 0,
                "maximum": u64::MAX
            }
        },
        "State": {
            "name": "state",
            "in": "query",
            "required": false,
            "description": "Only the operations in this state.",
            "schema": {
                "$ref": "#/components/schemas/OperationState"
            }
        },
    })
}

const ABOUT: &str = include_str!("description/about.md");

const TAGS: &[(&str, &str)] = &[
    ("daemon", "The daemon itself."),
    ("events", "What happens, as it happens."),
    ("euiccs", "The eUICCs of this machine."),
    ("profiles", "The profiles on them."),
    ("notifications", "What the cards have to tell servers."),
    ("operations", "What takes long."),
];

/// The errors that every request may meet.
const EVERYWHERE: [(u16, &str); 4] = [
    (400, "InvalidRequest"),
    (403, "Forbidden"),
    (408, "RequestTimeout"),
    (413, "BodyTooLarge"),
];

/// Errors that many operations have, and the codes of each.
const RESPONSES: &[(&str, &str)] = &[
    (
        "InvalidRequest",
        "`invalid-request`: the body, the query or a header cannot be read; `detail` names what.",
    ),
    (
        "Forbidden",
        "`forbidden`: the caller's user and groups do not allow this, or the request has an Origin header, as those of web pages have.",
    ),
    ("UnknownEuicc", "`unknown-euicc`: no eUICC has this name."),
    (
        "UnknownProfile",
        "`unknown-euicc`: no eUICC has this name. `unknown-profile`: the card has no such profile, or the path holds no ICCID.",
    ),
    (
        "UnknownNotification",
        "`unknown-euicc`: no eUICC has this name. `unknown-notification`: the card has no such notification.",
    ),
    (
        "UnknownOperation",
        "`unknown-operation`: there is no such operation, or it is no longer kept.",
    ),
    (
        "NotFound",
        "`not-found`: no path of this description; any method.",
    ),
    (
        "MethodNotAllowed",
        "`method-not-allowed`: the path takes other methods.",
    ),
    (
        "RequestTimeout",
        "`request-timeout`: the body did not arrive within 10 seconds.",
    ),
    (
        "TooManyReaders",
        "`too-many-readers`: too many clients of this user follow the events or wait already. Half as many as `max_connections` of the configuration may follow the events, and four times as many may wait.",
    ),
    (
        "TooManyConnections",
        "`too-many-connections`: every connection is taken by a request under way.",
    ),
    (
        "BodyTooLarge",
        "`body-too-large`: the body has more than 64 KiB.",
    ),
    (
        "NotStarted",
        "`busy`: 8 operations of this eUICC have not ended, or one has not and this one was not to wait; `operation` names the first.",
    ),
    (
        "CardRefused",
        "`card-refused`: the card was never read, because it refuses to be.",
    ),
    (
        "CardUnavailable",
        "The card was never read. `modem-unavailable`, `modem-timeout`: the modem is not there or silent. `no-euicc`: no eUICC answers behind it. `card-garbled`: the card's answer cannot be read. `state-unwritable`: the daemon cannot keep its journal. The daemon keeps trying.",
    ),
    (
        "KeyReused",
        "`idempotency-key-reused`: the key belongs to `operation`, for another request.",
    ),
    (
        "StateUnwritable",
        "`state-unwritable`: the journal cannot be written, so that nothing was done.",
    ),
];
