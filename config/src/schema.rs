//! The JSON Schema of the configuration file, for editors.
//!
//! It is printed from the same list of keys that the file is read by, `crate::raw`. A string with `${…}` in it may stand wherever a
//! string, a number or a flag may, since only the running program knows what it stands for.

use serde_json::{Map, Value, json};

use crate::raw::{Key, Preset, ROOT, Shape, TableDef};

/// What a string with a reference in it looks like.
const REFERENCE: &str = r"\$\{[^}]+\}";

/// The schema, in JSON Schema draft 2020-12.
pub fn schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lb",
        "$defs": {
            "reference": { "type": "string", "pattern": format!("^{REFERENCE}$"), "description": "Filled in from the environment." },
            "duration": { "type": "string", "pattern": format!("^[0-9]+(ms|s|m|h|d)$|{REFERENCE}") },
            "size": { "type": "string", "pattern": format!("^[0-9]+(B|[kKMGT]B|[KMGT]iB)$|{REFERENCE}") },
        },
    });
    if let (Value::Object(schema), Value::Object(root)) = (&mut schema, table(&ROOT)) {
        schema.extend(root);
    }
    schema
}

fn table(def: &TableDef) -> Value {
    let properties: Map<String, Value> = def.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = def.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut table = json!({ "type": "object", "description": def.about, "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        table["required"] = required.into();
    }
    table
}

fn property(key: &Key) -> Value {
    let mut property = shape(&key.shape);
    property["description"] = key.about.into();
    // The defaults of a table are those of its keys.
    if let Some(default) = key.default.as_ref().filter(|default| !matches!(default, Preset::Table)) {
        property["default"] = preset(default);
    }
    property
}

fn shape(shape: &Shape) -> Value {
    let or_reference = |value: Value| json!({ "anyOf": [value, { "$ref": "#/$defs/reference" }] });
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Pattern(pattern) => json!({ "type": "string", "pattern": format!("{pattern}|{REFERENCE}") }),
        Shape::OneOf(names) => or_reference(json!({ "enum": names })),
        Shape::Duration => json!({ "$ref": "#/$defs/duration" }),
        Shape::Size => json!({ "$ref": "#/$defs/size" }),
        Shape::Number(numbers) => or_reference(json!({ "enum": numbers })),
        Shape::Integer(least, most) => or_reference(json!({ "type": "integer", "minimum": least, "maximum": most })),
        Shape::Percent => or_reference(json!({ "type": "number", "minimum": 0, "maximum": 100 })),
        Shape::Boolean => or_reference(json!({ "type": "boolean" })),
        Shape::List(entry) => json!({ "type": "array", "items": self::shape(entry) }),
        Shape::Table(def) => table(def),
        Shape::Map(entry) => json!({ "type": "object", "additionalProperties": self::shape(entry) }),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(self::shape).collect::<Vec<_>>() }),
    }
}

fn preset(preset: &Preset) -> Value {
    match preset {
        Preset::Text(text) => (*text).into(),
        Preset::Integer(number) => (*number).into(),
        Preset::Boolean(flag) => (*flag).into(),
        Preset::List(list) => list.iter().map(self::preset).collect(),
        Preset::Table => json!({}),
    }
}
