//! Which of many connections were woken: only they are looked at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use duologue_core::pool::ConnId;

use crate::hub::lock;

/// Who was woken since the pool's task looked last.
#[derive(Default)]
pub(super) struct Woken {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: Vec<ConnId>,
    task: Option<Waker>,
}

impl Woken {
    /// The task that looks.
    pub(super) fn register(&self, waker: &Waker) {
        let mut state = lock(&self.state);
        match &mut state.task {
            Some(task) => task.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// To be looked at next time; wakes nobody.
    pub(super) fn add(&self, conn: ConnId) {
        lock(&self.state).connections.push(conn);
    }

    pub(super) fn take(&self) -> Vec<ConnId> {
        std::mem::take(&mut lock(&self.state).connections)
    }
}

/// The bell of one connection: it rings at most once until it is heard.
pub(super) struct Bell {
    conn: ConnId,
    rang: AtomicBool,
    woken: Arc<Woken>,
}

impl Bell {
    pub(super) fn new(conn: ConnId, woken: &Arc<Woken>) -> Arc<Self> {
        Arc::new(Self { conn, rang: AtomicBool::new(false), woken: Arc::clone(woken) })
    }

    /// The waker to look with: what rings from now on is heard.
    pub(super) fn listen(self: &Arc<Self>) -> Waker {
        self.rang.store(false, Ordering::SeqCst);
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rang.swap(true, Ordering::SeqCst) {
            return;
        }
        let task = {
            let mut state = lock(&self.woken.state);
            state.connections.push(self.conn);
            state.task.clone()
        };
        task.into_iter().for_each(Waker::wake);
    }
}
