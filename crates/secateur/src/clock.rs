//! How long it will take, from how long it took.

use std::time::Instant;

/// Time left, by work that is counted in samples trained on.
pub struct Clock {
    start: Instant,
    done: f64,
}

impl Clock {
    /// Nothing is done yet.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            done: 0.0,
        }
    }

    /// So much work is done since the start.
    pub fn at(&mut self, done: f64) {
        self.done = done;
    }

    /// Seconds that so much more work takes; nothing while there is little to tell it by.
    pub fn left(&self, work: f64) -> Option<f64> {
        let elapsed = self.start.elapsed().as_secs_f64();
        (self.done > 0.0 && elapsed > 0.5).then(|| elapsed * work / self.done)
    }
}
