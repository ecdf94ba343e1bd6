//! `stream.broadcast`: one source for several readers. Whoever finds nothing for itself pulls for all.
//! Invariant: only who holds the turn adds items, and only when no live branch is `buffer` items behind.

use super::{Items, next_item};
use crate::task::deadlock;
use madrigal_runtime::sync::Lock;
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Value, Wait};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

madrigal_vm::builtins! {
    /// `count` sources that each give all items of `source`, none more than `buffer` ahead of the slowest.
    "__broadcast" (source: stream, count: int, buffer: int) -> list = broadcast;
}

struct Hub {
    source: Value,
    buffer: usize,
    turn: Lock,
    state: Mutex<State>,
}

struct State {
    /// What each branch has not taken yet; none for a branch that was dropped.
    queues: Vec<Option<VecDeque<Result<Value, Fault>>>>,
    ended: bool,
    /// Who waits for a slow branch.
    waiting: Option<Waker>,
}

impl Hub {
    /// What there is for a branch: an item, a failure, or `Unset` at the end.
    fn take(&self, branch: usize) -> Option<Result<Value, Fault>> {
        let mut state = self.state.lock();
        let item = state.queues[branch].as_mut().and_then(VecDeque::pop_front);
        if item.is_none() && state.ended {
            return Some(Ok(Value::Unset));
        }
        let waker = state.waiting.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        item
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.queues.iter().flatten().all(|it| it.len() < self.buffer) {
            return Poll::Ready(());
        }
        state.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn deliver(&self, item: &Result<Value, Fault>) {
        let mut state = self.state.lock();
        if matches!(item, Ok(Value::Unset) | Err(_)) {
            state.ended = true;
        }
        if !matches!(item, Ok(Value::Unset)) {
            state.queues.iter_mut().flatten().for_each(|it| it.push_back(item.clone()));
        }
    }
}

/// What one of the readers iterates over. Dropping it lets the others go on without it.
struct Branch {
    hub: Arc<Hub>,
    index: usize,
}

impl Drop for Branch {
    fn drop(&mut self) {
        let (queue, waker) = {
            let mut state = self.hub.state.lock();
            (state.queues[self.index].take(), state.waiting.take())
        };
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl HandleObject for Branch {
    fn type_name(&self) -> &'static str {
        "branch"
    }

    fn display(&self) -> String {
        "<branch>".to_owned()
    }

    fn identity(&self) -> Option<u64> {
        None
    }

    fn is_iterable(&self) -> bool {
        true
    }
}

fn broadcast(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let number = |at: usize| args.int(at).and_then(|it| usize::try_from(it).ok()).unwrap_or(1).max(1);
    let (count, buffer) = (number(1), number(2));
    madrigal_vm::methods::check_items("stream.broadcast", Some(count))?;
    let state = State { queues: vec![Some(VecDeque::new()); count], ended: false, waiting: None };
    let hub = Arc::new(Hub { source: args.take(0), buffer, turn: Lock::named("broadcast"), state: Mutex::new(state) });
    let branch = |index| Value::Handle(Handle::new(Branch { hub: hub.clone(), index }));
    Ok(Value::list((0..count).map(branch).collect()))
}

/// The stream that has to run for a branch; none when `source` is no branch.
pub fn source_of(source: &Value) -> Option<&Value> {
    match source {
        Value::Handle(handle) => handle.downcast::<Branch>().map(|it| &it.hub.source),
        _ => None,
    }
}

/// The wait for the next item of a branch, whose stream was started; none when `source` is no branch.
pub fn next_of_branch(source: &Value, reader: Option<Items>) -> Option<Wait> {
    let Value::Handle(handle) = source else { return None };
    let branch = handle.downcast::<Branch>()?;
    let (hub, index) = (branch.hub.clone(), branch.index);
    let Value::Handle(stream) = hub.source.clone() else { return None };
    let next = async move {
        loop {
            if let Some(item) = hub.take(index) {
                return item;
            }
            let held = |_| deadlock("stream.broadcast: this task is pulling the source already");
            let _turn = hub.turn.acquire().await.map_err(held)?;
            if let Some(item) = hub.take(index) {
                return item;
            }
            poll_fn(|cx| hub.poll_room(cx)).await;
            let item = next_item(stream.clone(), reader.clone()).await;
            hub.deliver(&item);
        }
    };
    Some(Wait::new("the next item of a broadcast", next).inside())
}
