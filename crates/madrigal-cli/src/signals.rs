//! Signals: the first SIGINT or SIGTERM lets the program clean up, the second ends the process; SIGQUIT and SIGUSR1
//! print the task tree. A thread with a small tokio runtime of its own waits for them, so that it works whatever the
//! program's threads are doing.

use madrigal::Interrupter;
use std::io::Write;
use std::process::exit;
use std::sync::mpsc;
use std::thread;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Watches for signals until the process ends. They are caught from the moment this returns.
pub fn watch(interrupter: Interrupter) {
    let (ready, is_ready) = mpsc::channel();
    let watcher = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            let Ok(mut signals) = Signals::catch() else { return };
            // The receiver waits for exactly this.
            let _ = ready.send(());
            signals.serve(&interrupter).await;
        });
    };
    // A machine without room for one more thread still runs the program; signals then end it as they always did.
    if thread::Builder::new().name("signals".to_owned()).spawn(watcher).is_ok() {
        let _ = is_ready.recv();
    }
}

/// How many tasks are named.
const SHOWN_MAX: usize = 10;

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    user: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    async fn serve(&mut self, interrupter: &Interrupter) {
        let mut interrupted = false;
        loop {
            let (name, status) = self.next(interrupter).await;
            if interrupted {
                exit(status);
            }
            interrupted = true;
            let (ids, count) = interrupter.live_tasks(SHOWN_MAX);
            interrupter.interrupt(name);
            let more = if count > ids.len() { format!(" and {} more", count - ids.len()) } else { String::new() };
            let tasks = ids.join(", ");
            complain(&format!("{name}: waiting for {tasks}{more} to clean up; once more ends at once\n"));
        }
    }

    /// The next signal that is to end the program, with the exit status it stands for.
    async fn next(&mut self, interrupter: &Interrupter) -> (&'static str, i32) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return ("SIGINT", 130),
                _ = self.terminate.recv() => return ("SIGTERM", 143),
                _ = self.quit.recv() => complain(&interrupter.task_tree()),
                _ = self.user.recv() => complain(&interrupter.task_tree()),
            }
        }
    }
}

fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
