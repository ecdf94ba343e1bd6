//! The natives behind servers: how one starts, gets its messages, answers and ends.
//! The loop that calls the callbacks is in `lib/std/process.harn`.

use super::core::{internal_handle, is_own, object, register_as, task_spec, within};
use super::launch::{Placing, place};
use super::values::{
    AnyPid, Letter, Own, RefObject, Reference, ScriptPid, Starter, down_message, exit_message, failure_of, host,
    option_text, own, pid_value, reason_of, reason_value, ref_of, reference, system_of, target, timed_out,
};
use crate::task::{TaskFault, deadlock};
use madrigal_runtime::Timer;
use madrigal_runtime::process::{Call, ProcessSpec, Reason, Received, Spawned, call};
use madrigal_vm::value::display_duration;
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Outcome, Value, Wait};
use parking_lot::Mutex;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

madrigal_vm::builtins! {
    /// Checks the callbacks and options of a server.
    "__gen_check" (name: string, callbacks: any, options: any) -> nil = check;
    /// Starts the process of a server.
    "__gen_spawn" (name: string, body: closure, linked: bool) -> any = spawn;
    /// The pid of a server that is starting, once it has; its failure otherwise.
    "__gen_started" (starting: any) -> pid = started;
    /// In a new server: takes its name.
    "__gen_begin" (name: string, options: any) -> nil = begin;
    /// In a new server: it has started.
    "__gen_ready" () -> nil = ready;
    /// The next message of a server, as a list; nil when it is to stop.
    "__gen_next" () -> any = next;
    /// What a callback returned: gives the answer; the new state.
    "__gen_step" (callback: string, returned: any, from: any) -> any = step;
    /// Why a server ends that failed with this error, or is to stop.
    "__gen_reason" (error: any) -> any = reason;
    /// Settles why a server that stopped ended.
    "__gen_stopped" () -> nil = stopped;
    /// Asks a server.
    "__gen_call" (server: any, request: any, timeout: any) -> any = gen_call;
    /// Tells a server.
    "__gen_cast" (server: any, message: any) -> bool = cast;
    /// Answers a caller.
    "__gen_reply" (from: ref, answer: any) -> bool = reply;
    /// Stops a server and waits for its end.
    "__gen_stop" (server: any, options: any) -> nil = stop;
    /// Writes a line about this process on standard error.
    "__process_log" (text: any) -> nil = log;
}

const CALLBACKS: [&str; 5] = ["init", "handle_call", "handle_cast", "handle_info", "terminate"];

fn check(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let (name, callbacks, options) = (args.string(0), args.get(1), args.get(2));
    let Value::Dict(callbacks) = callbacks else {
        let got = callbacks.type_name();
        return Err(Fault::type_error(format!("{name}: callbacks must be a dict, got {got}")));
    };
    for callback in CALLBACKS {
        match callbacks.get(callback) {
            None | Some(Value::Nil) => {}
            Some(it) if it.is_callable() => {}
            Some(other) => {
                let got = other.type_name();
                return Err(Fault::type_error(format!("{name}: callback '{callback}' must be a closure, got {got}")));
            }
        }
    }
    if let Some(unknown) = callbacks.keys().find(|it| !CALLBACKS.contains(&it.as_str())) {
        return Err(Fault::thrown(format!("{name}: unknown callback '{unknown}'")));
    }
    if !callbacks.has("init") {
        return Err(Fault::thrown(format!("{name}: callbacks must include 'init'")));
    }
    check_options(&name, options)
}

fn check_options(name: &str, options: &Value) -> Result<(), Fault> {
    match options {
        Value::Nil | Value::Dict(_) => Ok(()),
        other => Err(Fault::type_error(format!("{name}: options must be a dict, got {}", other.type_name()))),
    }
}

/// A server that is starting.
struct StartingObject {
    pid: AnyPid,
    started: Mutex<Option<Call<Value, TaskFault>>>,
}

internal_handle!(StartingObject, "starting");

fn spawn(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let name = args.string(0).to_string();
    let linked = match args.get(2).is_truthy() {
        true => Some(own(cx)?.member()),
        false => None,
    };
    let host = host(cx);
    let system = system_of(host).ok_or_else(|| Fault::thrown("not a process"))?;
    let fuel = host.process.as_ref().and_then(|it| it.fuel());
    let spec = ProcessSpec { task: task_spec(host), seen: true, ..ProcessSpec::default() };
    let start = move |placing: Placing<'_>| {
        let mut starting = None;
        let spawned = system.spawn_with(spec, |context, process| {
            let (answer, call) = call(&process.pid().member());
            starting = Some(call);
            let own = Own { starter: Some(Starter { answer, linked }), ..Own::new(process, system.clone(), fuel) };
            placing.launcher.launch(&placing.body, &[], context, Some(own))
        });
        let spawned: Spawned<Letter, TaskFault, Value> =
            spawned.map_err(|_| Fault::thrown(format!("{name}: the process system has ended")))?;
        let pid = spawned.pid().member();
        Ok(Value::Handle(Handle::new(StartingObject { pid, started: Mutex::new(starting) })))
    };
    Ok(place(args.take(1), start).into())
}

fn started(_: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let starting = object::<StartingObject>(&args, 0);
    let pid = starting.pid.clone();
    let call = starting.started.lock().take();
    Ok(Wait::new("gen_server_start", async move {
        match call {
            Some(call) => match call.await {
                Ok(_) => Ok(pid_value(pid)),
                Err(reason) => Err(failure_of(&reason).unwrap_or_else(|| Fault::thrown(reason_value(&reason)))),
            },
            None => Ok(pid_value(pid)),
        }
    })
    .into())
}

fn begin(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let own = own(cx)?;
    if let Some(starter) = &own.starter {
        own.parent = starter.linked.clone();
    }
    match option_text(args.get(1), "name") {
        Some(name) => register_as(&args.string(0), own, name.as_str()),
        None => Ok(()),
    }
}

fn ready(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    let own = own(cx)?;
    if let Some(starter) = own.starter.take() {
        if let Some(parent) = &starter.linked {
            own.process.link(parent);
        }
        own.process.pid().set_seen(false);
        starter.answer.give(Value::Nil);
    }
    Ok(())
}

/// Numbers of the kinds of message, as the loop tells them apart.
const CALL: i64 = 0;
const CAST: i64 = 1;
const INFO: i64 = 2;

fn letter(own: &mut Own, received: Received<Letter, TaskFault>) -> Value {
    match received {
        Received::Message(Letter::Message(value)) => Value::list(vec![Value::Int(INFO), value]),
        Received::Message(Letter::Cast(value)) => Value::list(vec![Value::Int(CAST), value]),
        Received::Message(Letter::Call(request, answer)) => {
            let from = reference(own.system.next_number(), Reference::Answer(answer));
            Value::list(vec![Value::Int(CALL), request, from])
        }
        Received::Message(Letter::Stop(reason)) => {
            own.stop = Some(reason);
            Value::Nil
        }
        Received::Exit { from: Some(from), reason }
            if own.parent.as_ref().is_some_and(|it| it.number() == from.number()) =>
        {
            own.stop = Some(reason);
            Value::Nil
        }
        Received::Exit { from: None, reason } if reason.kind == madrigal_runtime::process::ReasonKind::Shutdown => {
            // Its system, or its supervisor, asks it to end.
            own.stop = Some(reason);
            Value::Nil
        }
        Received::Exit { from, reason } => Value::list(vec![Value::Int(INFO), exit_message(from, &reason)]),
        Received::Down { monitor, pid, reason } => {
            Value::list(vec![Value::Int(INFO), down_message(monitor, pid, &reason)])
        }
    }
}

fn next(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Outcome, Fault> {
    let own = own(cx)?;
    if own.stop.is_some() {
        return Ok(Value::Nil.into());
    }
    if let Some(received) = own.process.try_recv() {
        return Ok(letter(own, received).into());
    }
    let process = own.process.clone();
    Ok(Wait::new("gen_server", async move {
        // Taken by the next call: what a message means is decided with the state of the process at hand.
        process.arrival(0, None).await;
        Ok(Value::list(vec![Value::Int(-1)]))
    })
    .into())
}

fn bad_return(cx: &mut Cx<'_>, callback: &str, returned: &Value) -> Fault {
    let host = host(cx);
    let number = host.process.as_ref().map_or(0, |it| it.member().number());
    host.run.complain(&format!(
        "process <pid:{number}>: {callback} returned {returned}, which says nothing about its state"
    ));
    Fault::thrown("bad_return")
}

/// What a callback asks for.
struct Asked {
    reply: Option<Value>,
    stop: Option<Value>,
    state: Value,
}

fn asked(is_call: bool, returned: &Value) -> Option<Asked> {
    match returned {
        Value::Dict(dict) => {
            let field = |name: &str| dict.get(name).cloned();
            let only = |names: &[&str]| dict.keys().all(|it| names.contains(&it.as_str()));
            if dict.has("stop") && only(&["stop", "reply", "state"]) {
                let reply = field("reply");
                return (is_call || reply.is_none()).then(|| Asked {
                    reply,
                    stop: field("stop"),
                    state: field("state").unwrap_or_default(),
                });
            }
            if dict.has("noreply") && only(&["noreply"]) {
                return Some(Asked { reply: None, stop: None, state: field("noreply")? });
            }
            (is_call && dict.has("reply") && dict.has("state") && only(&["reply", "state"])).then(|| Asked {
                reply: field("reply"),
                stop: None,
                state: field("state").unwrap_or_default(),
            })
        }
        Value::List(list) => {
            let tag = list.first().and_then(Value::as_str)?;
            let at = |index: usize| list.get(index).cloned();
            match (tag, list.len()) {
                ("reply", 3) if is_call => Some(Asked { reply: at(1), stop: None, state: at(2)? }),
                ("noreply", 2) => Some(Asked { reply: None, stop: None, state: at(1)? }),
                ("stop", 4) if is_call => Some(Asked { reply: at(2), stop: at(1), state: at(3)? }),
                ("stop", 3) => Some(Asked { reply: None, stop: at(1), state: at(2)? }),
                _ => None,
            }
        }
        _ => None,
    }
}

fn step(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let callback = args.string(0);
    let Some(asked) = asked(callback.as_str() == "handle_call", args.get(1)) else {
        return Err(bad_return(cx, &callback, args.get(1)));
    };
    if let (Some(answer), Some(RefObject { of: Reference::Answer(from), .. })) = (asked.reply, ref_of(args.get(2))) {
        from.give(answer);
    }
    if let Some(stop) = asked.stop {
        own(cx)?.stop = Some(reason_of(&stop));
    }
    Ok(asked.state)
}

fn reason(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let failed = args.has(0);
    let own = own(cx)?;
    // A server that was told to end while it handled something failed by that only.
    let reason = own.process.exiting().or_else(|| if failed { None } else { own.stop.clone() });
    Ok(match reason {
        Some(reason) => reason_value(&reason),
        None => Value::dict([("kind", Value::from("error")), ("value", args.get(0).clone())]),
    })
}

fn stopped(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    let own = own(cx)?;
    own.process.end_with(own.stop.take().unwrap_or_else(Reason::normal));
    Ok(())
}

/// The server an argument names; it has to be one that scripts can send to.
fn server(name: &str, cx: &mut Cx<'_>, value: &Value) -> Result<(AnyPid, ScriptPid), Fault> {
    let found = target(name, host(cx), value)?;
    found.and_then(|it| ScriptPid::of(it.clone()).map(|script| (it, script))).ok_or_else(|| Fault::thrown("noproc"))
}

fn server_down(reason: &Reason<TaskFault>) -> Fault {
    Fault::thrown(format!("server down: {}", reason_value(reason)))
}

fn gen_call(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let time = within("process.gen_server_call", args.get(2))?;
    let (member, script) = server("process.gen_server_call", cx, args.get(0))?;
    if is_own(cx, &member) {
        return Err(deadlock("gen_server_call: a server calls itself"));
    }
    let (answer, call) = call(&member);
    script.send(Letter::Call(args.take(1), answer));
    let clock = script.system().clock().clone();
    Ok(Wait::new("gen_server_call", answered(call, time.map(|it| (Timer::after(&clock, it), it))))
        .on(pid_value(member))
        .into())
}

/// The answer of a server, or why there is none.
async fn answered(mut call: Call<Value, TaskFault>, mut time: Option<(Timer, Duration)>) -> Result<Value, Fault> {
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(answered) = Pin::new(&mut call).poll(cx) {
            return Poll::Ready(answered.map_err(|it| server_down(&it)));
        }
        match &mut time {
            Some((timer, time)) => timer.poll_due(cx).map(|()| {
                let shown = display_duration(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
                Err(timed_out(format!("gen_server_call: no reply within {shown}")))
            }),
            None => Poll::Pending,
        }
    })
    .await
}

fn cast(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let letter = Letter::Cast(args.take(1));
    let to = target("process.gen_server_cast", host(cx), args.get(0))?;
    Ok(to.and_then(ScriptPid::of).is_some_and(|it| it.send(letter)))
}

fn reply(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let answer = args.take(1);
    match ref_of(args.get(0)) {
        Some(RefObject { of: Reference::Answer(from), .. }) => Ok(from.give(answer)),
        _ => {
            let got = args.get(0).type_name();
            Err(Fault::type_error(format!("process.gen_server_reply: expected the 'from' of a call, got {got}")))
        }
    }
}

fn stop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    check_options("process.gen_server_stop", args.get(1))?;
    let option = |name: &str| super::values::option(args.get(1), name).cloned();
    let reason = option("reason").map_or_else(Reason::normal, |it| reason_of(&it));
    let time = option("timeout").unwrap_or(Value::Duration(5000));
    let time = within("process.gen_server_stop", &time)?;
    let (member, script) = server("process.gen_server_stop", cx, args.get(0))?;
    if is_own(cx, &member) {
        return Err(deadlock("gen_server_stop: a server waits for its own end"));
    }
    if !member.is_alive() {
        return Err(Fault::thrown("noproc"));
    }
    let (_, mut ended) = call::<Value, TaskFault>(&member);
    script.send(Letter::Stop(reason));
    let clock = script.system().clock().clone();
    let mut timer = time.map(|it| Timer::after(&clock, it));
    Ok(Wait::new("gen_server_stop", async move {
        std::future::poll_fn(move |cx| {
            if Pin::new(&mut ended).poll(cx).is_ready() {
                return Poll::Ready(Ok(Value::Nil));
            }
            match &mut timer {
                Some(timer) => timer.poll_due(cx).map(|()| Err(timed_out("gen_server_stop: still running".to_owned()))),
                None => Poll::Pending,
            }
        })
        .await
    })
    .on(pid_value(member))
    .into())
}

fn log(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let host = host(cx);
    let number = host.process.as_ref().map_or(0, |it| it.member().number());
    host.run.complain(&format!("process <pid:{number}>: {}", args.get(0)));
    Ok(())
}
