//! Finding secrets in texts: well-known formats of keys, and random-looking texts that are given to secret-like names.

use crate::host::run;
use madrigal_vm::{Args, Cx, Fault, Value};
use regex::Regex;
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

madrigal_vm::builtins! {
    /// The secrets in a text: dicts with detector, place, a redacted form and a fingerprint.
    "secret_scan" (content: string) -> list = secret_scan;
}

/// A detector: its name, the title of what it finds, its pattern. The secret is the last group that matched.
const DETECTORS: [(&str, &str, &str); 10] = [
    ("aws_access_key_id", "AWS access key", r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    ("github_token", "GitHub token", r"\b(gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b"),
    ("gitlab_token", "GitLab token", r"\b(glpat-[A-Za-z0-9_-]{20,})"),
    ("npm_token", "npm token", r"\b(npm_[A-Za-z0-9]{36})\b"),
    ("openai_api_key", "OpenAI API key", r"\b(sk-(?:proj-)?[A-Za-z0-9_-]{20,})"),
    ("slack_token", "Slack token", r"\b(xox[abprs]-[A-Za-z0-9-]{10,})"),
    ("slack_webhook", "Slack webhook", r"(https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,})"),
    ("stripe_key", "Stripe key", r"\b((?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,})\b"),
    ("private_key", "Private key", r"(-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----)"),
    (ASSIGNMENT, "Secret in an assignment", ASSIGNED),
];

/// The detector whose finds have to look random.
const ASSIGNMENT: &str = "high_entropy_assignment";

const ASSIGNED: &str = r#"(?i)[A-Za-z0-9_.-]*(?:secret|token|password|passwd|api_?key|access_?key|private_?key|credential)[A-Za-z0-9_.-]*["']?\s*(?:=|:|=>)\s*["']?([A-Za-z0-9+/=_.~-]{20,})"#;

/// Least bits of entropy of a character of what looks random.
const ENTROPY_MIN: f64 = 3.5;

/// The compiled detectors of a run.
#[derive(Default)]
pub(crate) struct Detectors(OnceLock<Vec<Regex>>);

impl Detectors {
    fn all(&self) -> &[Regex] {
        self.0.get_or_init(|| {
            DETECTORS.iter().map(|(.., pattern)| Regex::new(pattern).expect("the detectors are valid")).collect()
        })
    }
}

/// Bits of entropy of a character (Shannon).
fn entropy(text: &str) -> f64 {
    let mut counts = [0usize; 256];
    text.bytes().for_each(|byte| counts[byte as usize] += 1);
    let total = text.len() as f64;
    let shares = counts.iter().filter(|it| **it > 0).map(|it| *it as f64 / total);
    shares.map(|share| -share * share.log2()).sum()
}

fn secret_scan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    if args.get(0).is_nil() {
        return Err(Fault::runtime("secret_scan: content is required"));
    }
    let text = args.string(0);
    let mut found: Vec<(usize, usize, usize)> = Vec::new();
    for (detector, pattern) in run(cx).detectors.all().iter().enumerate() {
        for captures in pattern.captures_iter(&text) {
            let Some(secret) = captures.get(1) else { continue };
            let known = found.iter().any(|(_, start, end)| secret.start() < *end && *start < secret.end());
            let plain = DETECTORS[detector].0 == ASSIGNMENT && entropy(secret.as_str()) < ENTROPY_MIN;
            if !known && !plain {
                found.push((detector, secret.start(), secret.end()));
            }
        }
    }
    found.sort_by_key(|it| it.1);
    Ok(Value::list(found.into_iter().map(|(detector, start, end)| finding(&text, detector, start, end)).collect()))
}

fn finding(text: &str, detector: usize, start: usize, end: usize) -> Value {
    let (name, title, _) = DETECTORS[detector];
    let secret = &text[start..end];
    let line_start = text[..start].rfind('\n').map_or(0, |it| it + 1);
    let column = text[line_start..start].chars().count() + 1;
    let digest = Sha256::digest(secret.as_bytes());
    let fingerprint: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Value::dict([
        ("detector", Value::from(name)),
        ("source", Value::from("builtin")),
        ("title", Value::from(title)),
        ("line", Value::from(text[..start].matches('\n').count() + 1)),
        ("column_start", Value::from(column)),
        ("column_end", Value::from(column + secret.chars().count())),
        ("start_offset", Value::from(start)),
        ("end_offset", Value::from(end)),
        ("redacted", Value::from(redacted(secret))),
        ("fingerprint", Value::from(fingerprint)),
    ])
}

/// The first and last four characters of what is long enough to keep the rest secret.
fn redacted(secret: &str) -> String {
    let characters: Vec<char> = secret.chars().collect();
    if characters.len() < 16 {
        return "[redacted]".to_owned();
    }
    let piece = |range: &[char]| range.iter().collect::<String>();
    format!("{}...{}", piece(&characters[..4]), piece(&characters[characters.len() - 4..]))
}
