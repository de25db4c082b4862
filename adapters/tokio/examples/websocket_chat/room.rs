//! The room: what was said, in order, each thing once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::watch;

/// Messages that are kept for pages that come back.
const HISTORY: usize = 1000;

pub(crate) struct Room {
    /// Another number after every start: a page must not ask this room for what another one numbered.
    epoch: u64,
    said: Mutex<VecDeque<Value>>,
    /// The number of the newest message.
    newest: watch::Sender<u64>,
    over: watch::Sender<bool>,
}

impl Room {
    pub(crate) fn new() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Self { epoch, said: Mutex::default(), newest: watch::Sender::new(0), over: watch::Sender::new(false) }
    }

    /// Everybody is to leave.
    pub(crate) fn end(&self) {
        self.over.send_replace(true);
    }

    /// A page that comes, and what it has already, from the query of its address.
    pub(crate) fn visit(&self, target: &str) -> Visit<'_> {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let number = |name: &str| {
            let mut fields = query.split('&').filter_map(|field| field.split_once('='));
            fields.find(|(field, _)| *field == name).and_then(|(_, value)| value.parse::<u64>().ok())
        };
        let newest = self.newest.subscribe();
        let known = number("epoch") == Some(self.epoch);
        let has = if known { number("last").unwrap_or(0).min(*newest.borrow()) } else { 0 };
        Visit { room: self, newest, over: self.over.subscribe(), has }
    }
}

/// One page, while it is connected.
pub(crate) struct Visit<'a> {
    room: &'a Room,
    newest: watch::Receiver<u64>,
    over: watch::Receiver<bool>,
    has: u64,
}

impl Visit<'_> {
    pub(crate) fn welcome(&self) -> Value {
        json!({ "type": "welcome", "epoch": self.room.epoch, "from": self.has })
    }

    /// The next message that the page does not have.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let said = self.room.said.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = *self.newest.borrow_and_update();
        let oldest = newest + 1 - said.len() as u64;
        if self.has >= newest {
            return None;
        }
        if self.has + 1 < oldest {
            let missed = oldest - 1 - self.has;
            self.has = oldest - 1;
            return Some(json!({ "type": "gap", "missed": missed, "seq": self.has }));
        }
        let message = said.get((self.has + 1 - oldest) as usize).cloned();
        self.has += 1;
        message
    }

    /// Waits until something new was said (true), or everybody is to leave (false).
    pub(crate) async fn news(&mut self) -> bool {
        // The room outlives its visits.
        tokio::select! {
            _ = self.newest.changed() => true,
            _ = self.over.wait_for(|over| *over) => false,
        }
    }

    /// Something is said; again, if the page does not know that it was heard.
    pub(crate) fn say(&self, id: &Value, from: &Value, text: &Value) {
        let mut said = self.room.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.iter().any(|message| &message["id"] == id) {
            return;
        }
        if said.len() == HISTORY {
            said.pop_front();
        }
        self.room.newest.send_modify(|newest| {
            *newest += 1;
            said.push_back(json!({ "type": "message", "seq": *newest, "id": id, "from": from, "text": text }));
        });
    }
}
