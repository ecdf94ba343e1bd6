//! Natives of `std/concurrent`: its options, remembered results, spaced-out calls. What calls back is in Harn.

use super::host;
use super::sync::{RunObject, handle_object, receiver};
use madrigal_runtime::sync::Once;
use madrigal_runtime::{Clock, RateLimiter};
use madrigal_vm::effect::ParallelMode;
use madrigal_vm::value::structural_key;
use madrigal_vm::{Args, Cx, Effect, Fault, Handle, Outcome, Value, Wait};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

madrigal_vm::builtins! {
    /// How many tasks the options of a bounded helper allow at a time.
    "__concurrent_tasks" (name: string, options: dict) -> int = concurrent_tasks;
    /// An option, or its default.
    "__option" (options: dict, name: string, default: any) -> any = option;
    /// As `parallel each`, without its results.
    "__parallel_discard" (source: any, body: closure, cap: int) -> nil = parallel_discard;
    /// Results of `f` by its arguments.
    "__cache" (f: closure, options: dict) -> cache = cache;
    /// The place of the result for these arguments.
    "__cache_slot" (cache: cache, arguments: list) -> cache_slot = cache_slot;
    /// Waits for the result, as `[result]`, or for the turn to make it.
    "__cache_enter" (slot: cache_slot) -> any = cache_enter;
    /// The result, as `[result]`, or a turn to make it, whoever else has one.
    "__cache_peek" (slot: cache_slot) -> any = cache_peek;
    /// Remembers a result.
    "__cache_keep" (cache: cache, slot: cache_slot, turn: any, result: any) -> nil = cache_keep;
    /// Spaces out calls of `f`.
    "__limiter" (f: closure, options: dict) -> limiter = limiter;
    /// Waits for the turn to call.
    "__limiter_wait" (limiter: limiter) -> nil = limiter_wait;
}

fn concurrent_tasks(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = args.string(0);
    match args.dict(1).and_then(|it| it.get("concurrent_tasks")) {
        None | Some(Value::Nil) => Ok(Value::Int(2)),
        Some(given) => match given.as_int() {
            Some(tasks) if tasks > 0 => Ok(Value::Int(tasks)),
            Some(tasks) => Err(Fault::thrown(format!("{name}: concurrent_tasks must be > 0, got {tasks}"))),
            None => {
                let got = given.type_name();
                Err(Fault::type_error(format!("{name}: concurrent_tasks must be an int, got {got}")))
            }
        },
    }
}

fn option(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let found = args.dict(0).and_then(|it| it.get(args.string(1).as_str()).cloned());
    Ok(found.unwrap_or_else(|| args.take(2)))
}

fn parallel_discard(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let (source, body, max_concurrent) = (args.take(0), args.take(1), args.take(2));
    Ok(Effect::Parallel { mode: ParallelMode::Discard, source, body, max_concurrent }.into())
}

/// A duration among the options.
fn time(name: &str, option: &str, args: &Args<'_>) -> Result<Option<Duration>, Fault> {
    let Some(given) = args.dict(1).and_then(|it| it.get(option)).filter(|it| !it.is_nil()) else { return Ok(None) };
    match given.as_millis().map(u64::try_from) {
        Some(Ok(millis)) if millis > 0 => Ok(Some(Duration::from_millis(millis))),
        Some(_) => Err(Fault::thrown(format!("{name}: {option} must be > 0, got {given}"))),
        None => {
            let got = given.type_name();
            Err(Fault::type_error(format!("{name}: {option} must be a duration or int milliseconds, got {got}")))
        }
    }
}

/// A positive number among the options.
fn number(name: &str, option: &str, args: &Args<'_>) -> Result<Option<usize>, Fault> {
    let Some(given) = args.dict(1).and_then(|it| it.get(option)).filter(|it| !it.is_nil()) else { return Ok(None) };
    match given.as_int().map(usize::try_from) {
        Some(Ok(count)) if count > 0 => Ok(Some(count)),
        Some(_) => Err(Fault::thrown(format!("{name}: {option} must be > 0, got {given}"))),
        None => Err(Fault::type_error(format!("{name}: {option} must be an int, got {}", given.type_name()))),
    }
}

fn callable(name: &str, args: &Args<'_>) -> Result<(), Fault> {
    if args.get(0).is_callable() {
        return Ok(());
    }
    Err(Fault::type_error(format!("{name}: expected a closure, got {}", args.get(0).type_name())))
}

/// Remembered results; the one not asked for longest goes first.
struct Cache {
    limit: Option<usize>,
    expires_ns: Option<u64>,
    clock: Clock,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_key: HashMap<String, (Arc<Slot>, u64)>,
    /// Keys by the time of their last use.
    by_use: BTreeMap<u64, String>,
    uses: u64,
}

/// The place of one result.
struct Slot {
    once: Once<Value, Fault>,
    /// When the result is to be forgotten.
    until_ns: Mutex<Option<u64>>,
}

struct CacheObject(Cache);
struct SlotObject(Arc<Slot>);

handle_object!(CacheObject, "cache");
handle_object!(SlotObject, "cache_slot");

impl Slots {
    /// The slot of a key, now the one used last; a fresh one if there is none that holds.
    fn used(&mut self, key: String, now: u64) -> Arc<Slot> {
        self.uses += 1;
        let known = self.by_key.remove(&key);
        let slot = known.and_then(|(slot, used)| {
            self.by_use.remove(&used);
            let expired = slot.until_ns.lock().is_some_and(|until| until <= now);
            (!expired).then_some(slot)
        });
        let slot = slot.unwrap_or_else(|| Arc::new(Slot { once: Once::new(), until_ns: Mutex::new(None) }));
        self.by_use.insert(self.uses, key.clone());
        self.by_key.insert(key, (slot.clone(), self.uses));
        slot
    }

    fn forget_oldest(&mut self) -> Option<Arc<Slot>> {
        let (_, key) = self.by_use.pop_first()?;
        self.by_key.remove(&key).map(|it| it.0)
    }
}

fn cache(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    callable("cached", &args)?;
    let limit = number("cached", "limit", &args)?;
    let expires = time("cached", "expires", &args)?;
    let clock = host(cx).context.runtime().clock().clone();
    let expires_ns = expires.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
    Ok(Value::Handle(Handle::new(CacheObject(Cache { limit, expires_ns, clock, slots: Mutex::default() }))))
}

fn cache_slot(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let cache = &receiver::<CacheObject>("cached", &args)?.0;
    let key = structural_key(args.get(1));
    let mut slots = cache.slots.lock();
    let slot = slots.used(key, cache.clock.now_ns());
    let mut forgotten = Vec::new();
    while cache.limit.is_some_and(|limit| slots.by_key.len() > limit) {
        forgotten.extend(slots.forget_oldest());
    }
    drop(slots);
    drop(forgotten);
    Ok(Value::Handle(Handle::new(SlotObject(slot))))
}

fn cache_enter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let once = &receiver::<SlotObject>("cached", &args)?.0.once;
    super::sync::enter_once(cx, "cached", once, &args)
}

fn cache_peek(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let once = &receiver::<SlotObject>("cached", &args)?.0.once;
    match once.try_get() {
        Some(value) => Ok(Value::list(vec![value])),
        // A turn of its own: whoever ends last is remembered.
        None => Ok(Value::Handle(Handle::new(RunObject::none()))),
    }
}

fn cache_keep(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<(), Fault> {
    let value = args.take(3);
    let cache = &receiver::<CacheObject>("cached", &args)?.0;
    let slot = match args.get(1) {
        Value::Handle(handle) => handle.downcast::<SlotObject>().map(|it| it.0.clone()),
        _ => None,
    };
    let Some(slot) = slot else { return Ok(()) };
    *slot.until_ns.lock() = cache.expires_ns.map(|it| cache.clock.now_ns().saturating_add(it));
    match super::sync::take_run(args.get(2)) {
        Some(run) => run.finish(Ok(value)),
        None => slot.once.set(value),
    }
    Ok(())
}

struct LimiterObject(RateLimiter);

handle_object!(LimiterObject, "limiter");

fn limiter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    callable("throttled", &args)?;
    let limit = number("throttled", "limit", &args)?.unwrap_or(1);
    let period = time("throttled", "period", &args)?.unwrap_or(Duration::from_secs(1));
    let limiter = RateLimiter::new(host(cx).context.runtime().clock(), limit, period);
    Ok(Value::Handle(Handle::new(LimiterObject(limiter))))
}

fn limiter_wait(_: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let limiter = &receiver::<LimiterObject>("throttled", &args)?.0;
    if limiter.try_acquire() {
        return Ok(Outcome::from(Value::Nil));
    }
    let acquiring = limiter.acquire();
    Ok(Wait::new("throttled", async move {
        acquiring.await;
        Ok(Value::Nil)
    })
    .into())
}
