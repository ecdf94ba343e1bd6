//! Transcripts: what was said, as a value.

use madrigal_vm::Value;

/// A fresh transcript of these messages.
pub fn of_messages(messages: Vec<Value>) -> Value {
    Value::dict([
        ("_type", Value::from("transcript")),
        ("version", Value::Int(2)),
        ("id", Value::Nil),
        ("state", Value::from("active")),
        ("summary", Value::Nil),
        ("metadata", Value::dict::<&str>([])),
        ("messages", Value::list(messages)),
        ("events", Value::list(Vec::new())),
        ("assets", Value::list(Vec::new())),
    ])
}
