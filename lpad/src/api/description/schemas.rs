//! The schemas: derived from the types of the bodies, with what a type cannot say put on top.

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::api::body::{Addresses, Euicc, EventKind, Examination, Operation, Profile};
use crate::api::downloads::DownloadRequest;
use crate::api::euiccs::{AddressesChange, EuiccList, ResetRequest};
use crate::api::health::{Health, Version};
use crate::api::notifications::NotificationList;
use crate::api::operations::OperationList;
use crate::api::profiles::{ProfileChange, ProfileList};
use crate::api::status::status_of;
use crate::job::Answer;
use crate::memory::alarm::Alarm;
use crate::memory::service::Service;
use crate::problem::{Code, Problem};

/// Every schema by its name.
pub(super) fn schemas() -> Map<String, Value> {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
        })
    };
    let mut answers = settings().for_serialize().into_generator();
    add::<Addresses>(&mut answers);
    add::<Alarm>(&mut answers);
    add::<Euicc>(&mut answers);
    add::<EuiccList>(&mut answers);
    add::<EventKind>(&mut answers);
    add::<Examination>(&mut answers);
    add::<Health>(&mut answers);
    add::<NotificationList>(&mut answers);
    add::<Operation>(&mut answers);
    add::<OperationList>(&mut answers);
    add::<Problem>(&mut answers);
    add::<Profile>(&mut answers);
    add::<ProfileList>(&mut answers);
    add::<Service>(&mut answers);
    add::<Version>(&mut answers);
    let mut bodies = settings().for_deserialize().into_generator();
    add::<AddressesChange>(&mut bodies);
    add::<Answer>(&mut bodies);
    add::<DownloadRequest>(&mut bodies);
    add::<ProfileChange>(&mut bodies);
    add::<ResetRequest>(&mut bodies);
    let mut schemas = answers.take_definitions(false);
    for schema in schemas.values_mut() {
        // What an answer leaves out has no default: it is not there.
        let members = schema.get_mut("properties");
        let members = members.and_then(Value::as_object_mut);
        for member in members.into_iter().flat_map(Map::values_mut) {
            member
                .as_object_mut()
                .map(|member| member.remove("default"));
        }
    }
    schemas.extend(bodies.take_definitions(false));
    for schema in schemas.values_mut() {
        if let Ok(schema) = <&mut Schema>::try_from(schema) {
            tidy(schema);
        }
    }
    schemas.insert("ProblemCode".to_owned(), problem_code());
    schemas.insert("ErrorResponse".to_owned(), error_response());
    schemas.insert("Event".to_owned(), event());
    schemas.insert("KeyIdentifier".to_owned(), key_identifier());
    for (place, members) in more() {
        let mut schemas = schemas.iter_mut();
        let (name, inside) = place.split_once('/').unwrap_or((place, ""));
        let schema = schemas.find(|(known, _)| *known == name);
        let schema = schema.map(|(_, schema)| schema);
        let inside = if inside.is_empty() {
            String::new()
        } else {
            format!("/{inside}")
        };
        let schema = schema.and_then(|schema| schema.pointer_mut(&inside));
        let schema = schema.and_then(Value::as_object_mut);
        // A test of the workspace makes the document: a place that is gone fails there.
        let schema = schema.unwrap_or_else(|| panic!("there is no {place}"));
        schema.extend(members.as_object().cloned().unwrap_or_default());
    }
    schemas
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

/// Makes a schema as a reader of OpenAPI expects it.
fn tidy(schema: &mut Schema) {
    transform_subschemas(&mut tidy, schema);
    // Sizes of numbers are no business of the reader's.
    schema.remove("format");
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text
            .replace("\n\n", "\u{0}")
            .replace('\n', " ")
            .replace('\u{0}', "\n\n");
    }
    if let Some(Value::Array(values)) = schema.remove("oneOf") {
        let words = values.iter().map(|value| &value["const"]);
        let meanings = values.iter().filter_map(|value| {
            let (word, meaning) = (value["const"].as_str()?, value["description"].as_str()?);
            Some(format!("`{word}`: {meaning}"))
        });
        let about = schema
            .get("description")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let text: Vec<_> = about.into_iter().chain(meanings).collect();
        schema.insert("type".to_owned(), "string".into());
        schema.insert("enum".to_owned(), words.cloned().collect());
        schema.insert("description".to_owned(), text.join(" ").into());
    }
    let required = schema.get("required").cloned().unwrap_or_default();
    if let Some(Value::Object(members)) = schema.get_mut("properties") {
        for (name, member) in members {
            let is_required = required
                .as_array()
                .is_some_and(|all| all.contains(&json!(name)));
            if !is_required {
                not_null(member);
            }
        }
    }
}

/// What is not there is left out, and never null.
fn not_null(member: &mut Value) {
    let Value::Object(member) = member else {
        return;
    };
    if let Some(Value::Array(types)) = member.get("type")
        && let [only, _] = &types[..]
    {
        let only = only.clone();
        member.insert("type".to_owned(), only);
    }
    if let Some(Value::Array(choices)) = member.remove("anyOf")
        && let Some(Value::Object(choice)) = choices.into_iter().next()
    {
        member.extend(choice);
    }
}

fn problem_code() -> Value {
    let codes = Code::ALL.iter();
    let told = codes.map(|code| {
        let title = Problem::new(*code).title;
        format!("`{}` ({}): {title}.", code.name(), status_of(*code))
    });
    json!({
        "type": "string",
        "description": format!(
            "The stable name of a kind of problem. {}",
            told.collect::<Vec<_>>().join(" ")
        ),
        "enum": Code::ALL.iter().map(|code| code.name()).collect::<Vec<_>>(),
    })
}

fn error_response() -> Value {
    json!({
        "description": "The body of every error response: the problem, with what only HTTP knows.",
        "allOf": [
            {
                "$ref": "#/components/schemas/Problem"
            },
            {
                "type": "object",
                "required": [
                    "status"
                ],
                "properties": {
                    "status": {
                        "type": "integer",
                        "description": "The HTTP status of the response.",
                        "minimum": 400,
                        "maximum": 599
                    },
                    "allow": {
                        "type": "array",
                        "minItems": 1,
                        "description": "For `method-not-allowed`: the methods the resource takes.",
                        "items": {
                            "type": "string"
                        }
                    }
                }
            }
        ]
    })
}

fn event() -> Value {
    json!({
        "type": "object",
        "description": "One server-sent event, its three lines as members.",
        "required": [
            "id",
            "event",
            "data"
        ],
        "properties": {
            "id": {
                "type": "integer",
                "description": "Its number; later events have higher ones, also after a restart of the daemon.",
                "minimum": 0
            },
            "event": {
                "$ref": "#/components/schemas/EventKind"
            },
            "data": {
                "description": "The line of JSON."
            }
        },
        "oneOf": [
            {
                "properties": {
                    "event": {
                        "const": "operation"
                    },
                    "data": {
                        "$ref": "#/components/schemas/Operation"
                    }
                }
            },
            {
                "properties": {
                    "event": {
                        "const": "euicc"
                    },
                    "data": {
                        "$ref": "#/components/schemas/Euicc"
                    }
                }
            },
            {
                "properties": {
                    "event": {
                        "const": "alarm"
                    },
                    "data": {
                        "$ref": "#/components/schemas/Alarm"
                    }
                }
            },
            {
                "properties": {
                    "event": {
                        "const": "missed"
                    },
                    "data": {
                        "type": "object",
                        "description": "Where the events that are kept begin.",
                        "required": [
                            "next"
                        ],
                        "properties": {
                            "next": {
                                "type": "integer",
                                "description": "The number of the next event.",
                                "minimum": 0
                            }
                        }
                    }
                }
            }
        ]
    })
}

fn key_identifier() -> Value {
    json!({
        "type": "string",
        "description": "The subject key identifier of a certificate issuer, in hexadecimal digits.",
        "pattern": "^([0-9A-F]{2})+$"
    })
}

/// What the types do not say: patterns, limits, and which members belong together.
fn more() -> Vec<(&'static str, Value)> {
    let address = format!("(?:[Hh][Tt][Tt][Pp][Ss]://{HOST}/?|{HOST})");
    let activation_code = format!("^(?:[Ll][Pp][Aa]:)?1\\${address}{MATCHING_ID_AND_MORE}");
    vec![
        (
            "Health/properties/status",
            json!({"enum": ["ok", "degraded"]}),
        ),
        ("Health/properties/problems", json!({"minItems": 1})),
        ("Version/properties/api", json!({"const": "v1"})),
        (
            "Euicc/properties/name",
            json!({"pattern": "^[a-z0-9-]{1,32}$"}),
        ),
        (
            "Euicc/properties/notifications_set_aside",
            json!({"minimum": 1}),
        ),
        ("Euicc/properties/eid", json!({"pattern": "^[0-9A-F]{32}$"})),
        (
            "EuiccInfo/properties/ci_keys_for_verification",
            json!({"items": {"$ref": "#/components/schemas/KeyIdentifier"}}),
        ),
        (
            "EuiccInfo/properties/ci_keys_for_signing",
            json!({"items": {"$ref": "#/components/schemas/KeyIdentifier"}}),
        ),
        (
            "AddressesChange/properties/default_smdp",
            json!({"pattern": format!("^(?:{address})?$")}),
        ),
        (
            "ResetRequest",
            json!({
                "anyOf": [
                    {
                        "required": [
                            "operational_profiles"
                        ],
                        "properties": {
                            "operational_profiles": {
                                "const": true
                            }
                        }
                    },
                    {
                        "required": [
                            "test_profiles"
                        ],
                        "properties": {
                            "test_profiles": {
                                "const": true
                            }
                        }
                    },
                    {
                        "required": [
                            "default_smdp"
                        ],
                        "properties": {
                            "default_smdp": {
                                "const": true
                            }
                        }
                    }
                ]
            }),
        ),
        (
            "ResetRequest/properties/confirm",
            json!({"pattern": "^[a-z0-9-]{1,32}$"}),
        ),
        (
            "Profile/properties/iccid",
            json!({"pattern": "^[0-9A-F]{1,20}$"}),
        ),
        (
            "Profile/properties/aid",
            json!({"pattern": "^([0-9A-F]{2})+$"}),
        ),
        (
            "Profile/properties/policy_rules",
            json!({
                "items": {
                    "type": "string",
                    "description": "A rule's name: `ppr1` (the profile must not be disabled), `ppr2` (it must not be deleted) or another one of SGP.22."
                }
            }),
        ),
        (
            "ProfileChange",
            json!({"oneOf": [{"required": ["state"]}, {"required": ["nickname"]}]}),
        ),
        (
            "ProfileChange/properties/nickname",
            json!({"maxLength": 64}),
        ),
        (
            "DownloadRequest",
            json!({
                "oneOf": [
                    {
                        "required": [
                            "activation_code"
                        ],
                        "properties": {
                            "default": {
                                "const": false
                            },
                            "smdp": false
                        }
                    },
                    {
                        "required": [
                            "default"
                        ],
                        "properties": {
                            "default": {
                                "const": true
                            },
                            "activation_code": false,
                            "smdp": false
                        }
                    },
                    {
                        "required": [
                            "smdp"
                        ],
                        "properties": {
                            "default": {
                                "const": false
                            },
                            "activation_code": false
                        }
                    }
                ]
            }),
        ),
        (
            "DownloadRequest/properties/activation_code",
            json!({"writeOnly": true, "pattern": activation_code, "maxLength": 259}),
        ),
        (
            "DownloadRequest/properties/smdp",
            json!({"pattern": format!("^{address}$")}),
        ),
        (
            "DownloadRequest/properties/confirmation_code",
            json!({"writeOnly": true}),
        ),
        (
            "Notification/properties/iccid",
            json!({"pattern": "^[0-9A-F]{1,20}$"}),
        ),
        ("OperationNumber", json!({"pattern": "^[1-9][0-9]*$"})),
        (
            "Operation",
            json!({
                "allOf": [
                    {
                        "if": {
                            "properties": {
                                "state": {
                                    "const": "succeeded"
                                }
                            }
                        },
                        "then": {
                            "required": [
                                "result",
                                "finished_at_s"
                            ]
                        },
                        "else": {
                            "properties": {
                                "result": false
                            }
                        }
                    },
                    {
                        "if": {
                            "properties": {
                                "state": {
                                    "enum": [
                                        "failed",
                                        "cancelled"
                                    ]
                                }
                            }
                        },
                        "then": {
                            "required": [
                                "problem",
                                "finished_at_s"
                            ]
                        },
                        "else": {
                            "properties": {
                                "problem": false
                            }
                        }
                    },
                    {
                        "if": {
                            "properties": {
                                "state": {
                                    "const": "awaiting-answer"
                                }
                            }
                        },
                        "then": {
                            "required": [
                                "offer",
                                "asked_at_s"
                            ]
                        },
                        "else": {
                            "properties": {
                                "offer": false,
                                "asked_at_s": false
                            }
                        }
                    },
                    {
                        "if": {
                            "properties": {
                                "state": {
                                    "enum": [
                                        "queued",
                                        "running",
                                        "awaiting-answer"
                                    ]
                                }
                            }
                        },
                        "then": {
                            "properties": {
                                "finished_at_s": false
                            }
                        }
                    }
                ]
            }),
        ),
        ("ClientProcess/properties/pid", json!({"minimum": 1})),
        ("ClientProcess/properties/name", json!({"minLength": 1})),
        ("Operation/properties/by_itself", json!({"const": true})),
        (
            "Operation/properties/stages",
            json!({"minItems": 1, "maxItems": 64}),
        ),
        (
            "Offer/properties/iccid",
            json!({"pattern": "^[0-9A-F]{1,20}$"}),
        ),
        (
            "Offer/properties/policy_rules",
            json!({
                "items": {
                    "type": "string",
                    "description": "A rule's name: `ppr1` (the profile must not be disabled), `ppr2` (it must not be deleted) or another one of SGP.22."
                }
            }),
        ),
        (
            "Answer/properties/confirmation_code",
            json!({"writeOnly": true}),
        ),
        (
            "Achievement/properties/iccid",
            json!({"pattern": "^[0-9A-F]{1,20}$"}),
        ),
        (
            "Achievement/properties/nothing_to_download",
            json!({"const": true}),
        ),
        (
            "Achievement/properties/nothing_to_change",
            json!({"const": true}),
        ),
        (
            "Achievement/properties/details_unknown",
            json!({"const": true}),
        ),
        (
            "Achievement/properties/warnings",
            json!({
                "items": {
                    "type": "string",
                    "description": "A sentence for people."
                }
            }),
        ),
        (
            "Problem/properties/type",
            json!({"pattern": "^urn:lpad:problem:[a-z0-9-]+$"}),
        ),
        ("Problem/properties/title", json!({"minLength": 1})),
        ("Problem/properties/detail", json!({"minLength": 1})),
        ("Problem/properties/next_step", json!({"minLength": 1})),
        (
            "CardStatus/properties/sw",
            json!({"pattern": "^[0-9A-F]{4}$"}),
        ),
    ]
}

/// A host name with or without a port.
const HOST: &str = r"(?=[^:/$]{1,253}(?:[:/$]|$))(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*(?=[A-Za-z0-9-]*[A-Za-z-])[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?::0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?";
const MATCHING_ID_AND_MORE: &str = r"\$[^\s$\u0000-\u001f\u007f-\u009f]*(?:\$(?:(?:[01]\.[0-3]?[0-9]|2\.[0-9]{1,37})(?:\.[0-9]{1,38})*)?(?:\$[^\s$\u0000-\u001f\u007f-\u009f]*)*)?$";
