//! Progress of long work: a bar on a terminal, elsewhere a line now and then where it is known how much
//! there is to do.

use crate::host::{self, Progress};
use crate::{interrupt, units};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Bars are not drawn more often than this, so that what is measured or
/// trained is left alone.
const EVERY: Duration = Duration::from_millis(100);

/// Where there is no terminal, a line is written no more often than this: a log shall show that
/// something goes on, and little else.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// A bar with the time left; gone when it is dropped.
pub struct Bar {
    bar: ProgressBar,
    drawn: Instant,
    begun: Instant,
    /// What was done by then.
    from: usize,
    /// When the last line was written.
    told: Instant,
    /// Whether its lines say how much time is left; where not, what is [noted](Self::note) does.
    timed: bool,
}

impl Bar {
    /// A bar for work of a name, which may still have to find out how much it is.
    pub fn new(what: &str) -> Self {
        let style =
            ProgressStyle::with_template("{msg:14} {bar:30} {percent:>3} %  {eta} left  {prefix}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = match host::is_there() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new(1),
        };
        let bar = bar.with_style(style);
        Self::of(bar.with_message(what.to_owned()), true)
    }

    fn of(bar: ProgressBar, timed: bool) -> Self {
        let now = Instant::now();
        Self {
            bar,
            drawn: now,
            begun: now,
            from: 0,
            told: now,
            timed,
        }
    }

    /// A bar beside which only what is [noted](Self::note) stands.
    pub fn plain(what: &str) -> Self {
        let mut bar = Self::new(what);
        bar.timed = false;
        let style = ProgressStyle::with_template("{msg} {bar:16} {percent:>3} %  {prefix}");
        bar.bar
            .set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }

    /// Whether it is time to be drawn again.
    pub fn is_due(&self) -> bool {
        self.drawn.elapsed() >= EVERY
    }

    /// Says how it goes.
    pub fn note(&self, how: &str) {
        self.bar.set_prefix(how.to_owned());
    }

    /// A sign of life, with the time it has taken, for work of unknown length.
    pub fn spinner(what: &str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = match host::is_there() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new_spinner(),
        };
        let bar = bar.with_style(style).with_message(what.to_owned());
        bar.enable_steady_tick(EVERY);
        Self::of(bar, false)
    }

    /// The work goes on from where it was broken off: what was done before says nothing of how long the rest takes.
    pub fn going_on_from(mut self, done: usize) -> Self {
        self.from = done;
        self
    }

    /// Moves the bar; says whether the work goes on.
    pub fn advance(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        let due = self.is_due();
        if due {
            self.drawn = Instant::now();
            self.bar.set_length(total as u64);
            self.bar.set_position(done as u64);
        }
        if host::is_there() {
            let (what, note) = (self.bar.message(), self.bar.prefix());
            let progress = Progress {
                what: &what,
                done,
                total,
                note: &note,
            };
            return host::progress((due || done >= total).then_some(progress));
        }
        if self.bar.is_hidden() && self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            self.tell(done, total);
        }
        interrupt::go_on()
    }

    fn tell(&self, done: usize, total: usize) {
        let share = done as f64 / total.max(1) as f64;
        let mut line = format!("{}: {:.0} %", self.bar.message(), 100.0 * share);
        let each =
            self.begun.elapsed().as_secs_f64() / done.saturating_sub(self.from).max(1) as f64;
        let left = each * total.saturating_sub(done) as f64;
        let left = (self.timed && done > 0).then(|| format!("{} left", units::long(left)));
        let noted = self.bar.prefix();
        for part in left.iter().chain((!noted.is_empty()).then_some(&noted)) {
            line.push_str(", ");
            line.push_str(part);
        }
        // A log that is gone is no reason to stop.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// Moves the bar of a training; the loss stands beside it, where there is one.
    pub fn train(&mut self, done: usize, total: usize, loss: f32) -> ControlFlow<()> {
        if loss.is_finite() && self.is_due() {
            self.note(&format!("loss {loss:.4}"));
        }
        self.advance(done, total)
    }

    /// Says what is being done now.
    pub fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
