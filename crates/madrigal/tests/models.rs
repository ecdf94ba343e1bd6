//! Real providers against a server on loopback that answers well, badly, in pieces, or not at all.

#[path = "support/provider.rs"]
mod provider;
#[path = "support/run.rs"]
#[allow(dead_code)]
mod run;

use madrigal::{Options, Permissions, Source};
use provider::{Answer, End, Provider};

/// Runs a program that finds the server as `URL`; what it printed, and the requests.
fn ask(answers: Vec<Answer>, program: &str) -> (String, Vec<String>) {
    let provider = Provider::start(answers);
    let text = program.replace("URL", &format!("http://{}", provider.address));
    let options = Options { workers: Some(2), permissions: Permissions::default(), ..Options::default() };
    let ran = run::run_with(Source::text("models.harn", text), options).expect("it ends");
    assert_eq!(ran.stderr, "", "{}", ran.stdout);
    (ran.stdout, provider.requests())
}

const OPENAI: [&str; 5] = [
    r#"{"id":"1","model":"m-1","choices":[{"index":0,"delta":{"role":"assistant","content":"He"}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"llö"}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"a\""}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"finish_reason":"tool_calls"}]}"#,
    r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#,
];

const SHOW: &str = r#"
println("${r.text} ${r.tool_calls} ${r.stop_reason} ${r.input_tokens} ${r.output_tokens} ${r.model} ${r.usage.estimated}")
"#;

const SHOWN: &str = "Hellö [{arguments: {a: 1}, id: c1, name: f}] tool_use 7 3 m-1 false\n";

fn register(protocol: &str) -> String {
    format!(
        r#"provider_register("p", {{protocol: "{protocol}", base_url: "URL", auth_style: "none", default_model: "m-1"}})"#
    )
}

fn one(protocol: &str, options: &str) -> String {
    format!("{}\nlet r = llm_call(\"hi\", \"sys\", {{provider: \"p\"{options}}})\n{SHOW}", register(protocol))
}

#[test]
fn three_protocols_give_the_same_result() {
    let mut openai = OPENAI.to_vec();
    openai.push("[DONE]");
    let (out, requests) = ask(vec![Answer::events(&openai, End::Close)], &one("openai", ""));
    assert_eq!(out, SHOWN);
    assert!(requests[0].starts_with("POST /chat/completions "), "{}", requests[0]);
    assert!(requests[0].contains(r#"{"content":"sys","role":"system"},{"content":"hi","role":"user"}"#));

    let anthropic = [
        r#"{"type":"message_start","message":{"model":"m-1","usage":{"input_tokens":7,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hellö"}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"c1","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\": "}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":3}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let (out, requests) = ask(vec![Answer::events(&anthropic, End::Close)], &one("anthropic", ""));
    assert_eq!(out, SHOWN);
    assert!(requests[0].starts_with("POST /messages ") && requests[0].contains(r#""system":"sys""#), "{}", requests[0]);
    assert!(requests[0].contains("anthropic-version: 2023-06-01"));

    let ollama = concat!(
        r#"{"model":"m-1","message":{"role":"assistant","content":"Hellö"},"done":false}"#,
        "\n",
        r#"{"model":"m-1","message":{"content":"","tool_calls":[{"id":"c1","function":{"name":"f","arguments":{"a":1}}}]},"done":false}"#,
        "\n",
        r#"{"model":"m-1","message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":3}"#,
        "\n"
    );
    let answer = Answer::stream("application/x-ndjson", &[ollama.as_bytes()], End::Close);
    let (out, requests) = ask(vec![answer], &one("ollama", ""));
    assert_eq!(out, SHOWN);
    assert!(requests[0].starts_with("POST /api/chat "), "{}", requests[0]);
}

#[test]
fn whole_bodies_and_streams_cut_anywhere_give_the_same_result() {
    let body = r#"{"model":"m-1","choices":[{"message":{"content":"Hellö","tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
    let (out, requests) = ask(vec![Answer::new("200 OK", &[], body)], &one("openai", ", stream: false"));
    assert_eq!(out, SHOWN);
    assert!(!requests[0].contains(r#""stream":true"#));

    let mut events = OPENAI.to_vec();
    events.push("[DONE]");
    let text: String = events.iter().map(|it| format!("data: {it}\r\n\r\n")).collect();
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let (out, _) = ask(vec![Answer::stream("text/event-stream", &bytes, End::Close)], &one("openai", ""));
    assert_eq!(out, SHOWN);
}

#[test]
fn a_finish_reason_completes_an_answer_even_when_the_server_stalls() {
    let answers = vec![Answer::events(&OPENAI[..4], End::Close)];
    let (out, _) = ask(answers, &one("openai", ""));
    assert!(out.starts_with("Hellö [{arguments: {a: 1}, id: c1, name: f}] tool_use"), "{out}");
}

fn failing(options: &str) -> String {
    format!(
        "{}\nlet e = llm_call_safe(\"hi\", nil, {{provider: \"p\"{options}}}).error\nprintln(\"${{e.category}} ${{e.reason}} ${{e.partial_text}} ${{e.attempts}}\")\n",
        register("openai")
    )
}

#[test]
fn broken_streams_are_errors_with_what_came_before() {
    let check = |answer: Answer, options: &str, expected: &str| {
        let (out, _) = ask(vec![answer], &failing(options));
        assert_eq!(out.trim_end(), expected);
    };
    check(Answer::events(&OPENAI[..2], End::Close), "", "transient_network truncated_stream Hellö 1");
    check(Answer::events(&[OPENAI[0], "{nonsense"], End::Close), "", "server_error malformed_chunk He 1");
    check(Answer::events(&OPENAI[..1], End::Stall), ", idle_timeout: 50ms", "timeout idle He 1");
    check(
        Answer::events(&[OPENAI[0], r#"{"error":{"type":"overloaded_error","message":"busy"}}"#], End::Close),
        "",
        "overloaded server_error He 1",
    );
    check(
        Answer::stream(
            "text/event-stream",
            &[b"data: {\"choices\":[{\"delta\":{\"content\":\"\xC3\"}}]}\n\n"],
            End::Close,
        ),
        "",
        "server_error malformed_chunk  1",
    );
    let huge = r#"{"choices":[{"delta":{"tool_calls":[{"index":9999999,"function":{"name":"f"}}]}}]}"#;
    check(Answer::events(&[huge], End::Close), "", "server_error malformed_chunk  1");
    check(Answer::new("200 OK", &[], "<html>"), ", stream: false", "server_error malformed_chunk nil 1");
}

#[test]
fn throttled_calls_wait_as_long_as_the_server_says() {
    let busy = || Answer::new("429 Too Many Requests", &["retry-after-ms: 120"], r#"{"error":{"message":"slow"}}"#);
    let mut events = OPENAI.to_vec();
    events.push("[DONE]");
    let answers = vec![busy(), busy(), Answer::events(&events, End::Close)];
    let program = format!(
        "{}\nlet t = monotonic_ms()\nlet r = llm_call(\"hi\", nil, {{provider: \"p\", llm_retries: 3, llm_backoff_ms: 1}})\nprintln(\"${{r.text}} ${{r.usage.attempts}} ${{monotonic_ms() - t >= 240}}\")\n",
        register("openai")
    );
    let (out, requests) = ask(answers, &program);
    assert_eq!((out.as_str(), requests.len()), ("Hellö 3 true\n", 3));
}

#[test]
fn refusals_are_not_repeated() {
    let answer = Answer::new("401 Unauthorized", &["x-request-id: r9"], r#"{"error":{"message":"no such key"}}"#);
    let program = format!(
        "{}\nlet e = llm_call_safe(\"hi\", nil, {{provider: \"p\", llm_retries: 3}}).error\nprintln(\"${{e.category}} ${{e.status}} ${{e.request_id}} ${{e.message}} ${{e.attempts}}\")\n",
        register("openai")
    );
    let (out, _) = ask(vec![answer], &program);
    assert_eq!(out, "auth 401 r9 p: HTTP 401: no such key 1\n");
}

#[test]
fn a_cancelled_call_closes_its_connection() {
    // The server ends only when the client has gone, and the test only when the server has.
    let program = format!(
        "{}\nlet task = spawn {{ llm_call(\"hi\", nil, {{provider: \"p\"}}) }}\nsleep(50ms)\ncancel(task)\nprintln(try {{ await(task) }})\n",
        register("openai")
    );
    let (out, requests) = ask(vec![Answer::events(&OPENAI[..1], End::Stall)], &program);
    assert_eq!((out.as_str(), requests.len()), ("Result.Err(kind:cancelled:VM cancelled by host)\n", 1));
}

#[test]
fn a_stream_that_is_closed_closes_its_connection() {
    let program = format!(
        "{}\nlet ch = llm_stream(\"hi\", nil, {{provider: \"p\"}})\nprintln(receive(ch))\nclose_channel(ch)\n",
        register("openai")
    );
    let (out, _) = ask(vec![Answer::events(&OPENAI[..1], End::Stall)], &program);
    assert_eq!(out, "He\n");
}

#[test]
fn completions_have_an_endpoint_or_are_emulated() {
    let body = r#"{"choices":[{"text":"42","finish_reason":"stop"}]}"#;
    let program = r#"
provider_register("c", {base_url: "URL/v1/", auth_style: "none", default_model: "m", completion_endpoint: "/completions"})
let r = llm_completion("x = ", ";", nil, {provider: "c", stream: false})
println("${r.text} ${r.stop_reason} ${r.emulated}")
"#;
    let (out, requests) = ask(vec![Answer::new("200 OK", &[], body)], program);
    assert_eq!(out, "42 end_turn nil\n");
    assert!(requests[0].starts_with("POST /v1/completions "), "{}", requests[0]);
    assert!(requests[0].contains(r#""prompt":"x = ""#) && requests[0].contains(r#""suffix":";""#));

    let body = r#"{"choices":[{"message":{"content":"42"},"finish_reason":"stop"}]}"#;
    let program = r#"
provider_register("c", {base_url: "URL/v1", auth_style: "none", default_model: "m"})
println(llm_completion("x = ", ";", nil, {provider: "c", stream: false}).emulated)
"#;
    let (out, _) = ask(vec![Answer::new("200 OK", &[], body)], program);
    assert_eq!(out, "true\n");
}

#[test]
fn arguments_that_are_not_json_never_reach_a_handler() {
    let call = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{not json"}}]},"finish_reason":"tool_calls"}]}"#;
    let program = format!(
        "{}\nlet tools = tool_define(tool_registry(), \"f\", \"\", {{handler: {{ a -> println(\"called\") }}}})\nlet r = llm_call(\"hi\", nil, {{provider: \"p\", tools: tools}})\nlet c = r.tool_calls[0]\ntry {{ tool_call(tools, c.name, c.arguments) }} catch e {{ println(e.error) }}\n",
        register("openai")
    );
    let (out, _) = ask(vec![Answer::events(&[call], End::Close)], &program);
    assert_eq!(out, "invalid_arguments\n");
}
