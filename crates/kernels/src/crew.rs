//! Threads that wait awake for the next piece of work: the steps of a network are too short for
//! threads that must be woken.

use std::any::Any;
use std::cell::UnsafeCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{Builder, JoinHandle, yield_now};
use std::time::{Duration, Instant};

/// How long a thread waits awake before it sleeps: longer than what stands between two steps, or
/// between two runs of whoever runs a network again and again.
const AWAKE: Duration = Duration::from_micros(500);
/// Looks between two looks at the clock.
const LOOKS: usize = 64;

/// Some threads beside the one that calls. Handing work to them takes less than a microsecond while
/// they are awake, which they are for half a millisecond after their last work.
///
/// ```
/// use secateur_kernels::Crew;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let crew = Crew::new(2)?;
/// let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
/// crew.work(2, &|_| loop {
///     let piece = next.fetch_add(1, Ordering::Relaxed);
///     if piece >= 10 {
///         return;
///     }
///     sum.fetch_add(piece, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 45);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held by the thread whose work is done.
    caller: Mutex<()>,
}

impl Crew {
    /// Starts `members - 1` threads; the caller is the first member.
    ///
    /// # Errors
    /// Threads that the system does not start.
    pub fn new(members: usize) -> io::Result<Self> {
        let mut crew = Self {
            shared: Arc::default(),
            threads: Vec::new(),
            caller: Mutex::default(),
        };
        for member in 1..members {
            let shared = crew.shared.clone();
            let thread = Builder::new().name(format!("secateur-{member}"));
            crew.threads
                .push(thread.spawn(move || shared.serve(member))?);
        }
        Ok(crew)
    }

    /// Members, the caller included.
    pub fn members(&self) -> usize {
        self.threads.len() + 1
    }

    /// Wakes those that sleep, without waiting for them.
    pub fn wake(&self) {
        if self.shared.asleep.load(Ordering::SeqCst) > 0 {
            self.shared.wake();
        }
    }

    /// Calls `work(0)` here, and `work(m)` on every other member `m < members` that comes before
    /// `work(0)` has ended; gives back once all have ended. A member that sleeps, or works for
    /// another caller, may not come at all: `work` takes pieces until none is left.
    ///
    /// # Panics
    /// If `work` does, here or on another member.
    pub fn work(&self, members: usize, work: &(dyn Fn(usize) + Sync)) {
        let members = members.min(self.members());
        let caller = match self.caller.try_lock() {
            _ if members < 2 => return work(0),
            Ok(caller) => caller,
            // A caller's panic leaves nothing behind.
            Err(TryLockError::Poisoned(caller)) => caller.into_inner(),
            // The others work for another caller.
            Err(TryLockError::WouldBlock) => return work(0),
        };
        let open = self.shared.open(members, work);
        work(0);
        drop(open);
        let panic = lock(&self.shared.panic).take();
        drop(caller);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.wake();
        for thread in self.threads.drain(..) {
            // It catches the panics of work, and has none of its own.
            let _ = thread.join();
        }
    }
}

/// What the members see.
#[derive(Default)]
struct Shared {
    /// A [`State`].
    state: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    ended: AtomicBool,
    /// The first panic of the work that is being done.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Members that sleep, or are about to.
    asleep: AtomicUsize,
    /// Calls to wake.
    wakes: Mutex<u64>,
    woken: Condvar,
}

/// Work that outlives its borrow for the compiler only: whoever opened it closes it first.
#[derive(Clone, Copy)]
struct Job(&'static (dyn Fn(usize) + Sync));

// SAFETY: `job` is the one field that is not `Sync` by itself. It is written by the thread that
// holds `Crew::caller`, while the state is closed and nobody is inside; it is read by members
// that are inside, which they are only after they saw the state open.
unsafe impl Sync for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Which work there is, for how many members, whether one may still enter, and how many are inside.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    const OPEN: u64 = 1 << 32;
    const INSIDE: u64 = 0xffff;

    /// The work after this one.
    fn next(self, members: usize) -> Self {
        let number = (self.number() + 1) << 33;
        Self(number | Self::OPEN | (members.min(0xffff) as u64) << 16)
    }

    fn number(self) -> u64 {
        self.0 >> 33
    }

    fn inside(self) -> u64 {
        self.0 & Self::INSIDE
    }

    /// Whether a member that last did work `done` may enter.
    fn admits(self, member: usize, done: u64) -> bool {
        let members = (self.0 >> 16 & 0xffff) as usize;
        self.0 & Self::OPEN != 0 && self.number() != done && member < members
    }
}

/// Work that members may enter; closed when dropped.
struct Open<'s>(&'s Shared);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let state = &self.0.state;
        let mut now = State(state.fetch_and(!State::OPEN, Ordering::AcqRel));
        let mut looks = 0;
        while now.inside() > 0 {
            looks += 1;
            // One that was interrupted by another program needs the processor.
            match looks % (16 * LOOKS) {
                0 => yield_now(),
                _ => std::hint::spin_loop(),
            }
            now = State(state.load(Ordering::Acquire));
        }
    }
}

impl Shared {
    /// Lets members enter work, until what is given back is dropped. Only the thread that holds
    /// [`Crew::caller`] may call it.
    fn open<'s>(&'s self, members: usize, work: &'s (dyn Fn(usize) + Sync)) -> Open<'s> {
        // Of earlier work whose caller had a panic of its own.
        *lock(&self.panic) = None;
        let next = State(self.state.load(Ordering::Relaxed)).next(members);
        // SAFETY: only the lifetime changes. The work is called by members inside alone; `Open`
        // waits for the last of them before `'s` ends, also when the caller's part panics.
        let work = unsafe {
            std::mem::transmute::<&'s (dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work)
        };
        // SAFETY: the last work is closed and nobody is inside, so that nobody reads.
        unsafe { *self.job.get() = Some(Job(work)) };
        self.state.store(next.0, Ordering::SeqCst);
        let open = Open(self);
        if self.asleep.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
        open
    }

    fn wake(&self) {
        *lock(&self.wakes) += 1;
        self.woken.notify_all();
    }

    /// What a member does until the crew ends.
    fn serve(&self, member: usize) {
        let mut done = 0;
        while let Some(number) = self.enter(member, done) {
            done = number;
            // SAFETY: this member is inside, so that nobody writes.
            if let Some(Job(work)) = unsafe { *self.job.get() }
                && let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(member)))
            {
                lock(&self.panic).get_or_insert(panic);
            }
            self.state.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits for work other than what was done last, and enters it; `None` at the end.
    fn enter(&self, member: usize, done: u64) -> Option<u64> {
        let mut since = Instant::now();
        loop {
            for _ in 0..LOOKS {
                let state = State(self.state.load(Ordering::Acquire));
                if !state.admits(member, done) {
                    std::hint::spin_loop();
                    continue;
                }
                let entered = self.state.compare_exchange(
                    state.0,
                    state.0 + 1,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
                if entered.is_ok() {
                    return Some(state.number());
                }
            }
            if self.ended.load(Ordering::Acquire) {
                return None;
            }
            if since.elapsed() > AWAKE {
                self.sleep(member, done);
                since = Instant::now();
            }
        }
    }

    /// Sleeps until somebody wakes; not at all if there is something to do.
    fn sleep(&self, member: usize, done: u64) {
        let mut wakes = lock(&self.wakes);
        let before = *wakes;
        self.asleep.fetch_add(1, Ordering::SeqCst);
        // Whoever opens work, or ends, after this looks at `asleep`, or is seen here.
        fence(Ordering::SeqCst);
        let busy = State(self.state.load(Ordering::SeqCst)).admits(member, done)
            || self.ended.load(Ordering::SeqCst);
        while !busy && *wakes == before {
            wakes = self
                .woken
                .wait(wakes)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// WebAssembly's threads are not to be had here.
#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    /// The sum of the pieces 0 to 99, taken by whoever comes.
    fn sum(crew: &Crew, members: usize) -> usize {
        let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
        crew.work(members, &|_| {
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= 100 {
                    return;
                }
                sum.fetch_add(piece, Ordering::Relaxed);
            }
        });
        sum.into_inner()
    }

    #[test]
    fn every_piece_is_done_once_whoever_comes() {
        for members in 1..5 {
            let crew = Crew::new(members).unwrap();
            for round in 0..if cfg!(miri) { 3 } else { 300 } {
                assert_eq!(sum(&crew, 1 + round % 6), 4950);
            }
        }
    }

    #[test]
    fn members_that_slept_come_back() {
        let crew = Crew::new(3).unwrap();
        let came = AtomicUsize::new(0);
        for _ in 0..3 {
            std::thread::sleep(4 * AWAKE);
            came.store(0, Ordering::SeqCst);
            crew.work(3, &|_| {
                came.fetch_add(1, Ordering::SeqCst);
                while came.load(Ordering::SeqCst) < 3 {
                    yield_now();
                }
            });
            assert_eq!(came.load(Ordering::SeqCst), 3);
        }
    }

    #[test]
    fn callers_at_once_all_get_their_work_done() {
        let crew = Crew::new(2).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    (0..if cfg!(miri) { 3 } else { 200 })
                        .for_each(|_| assert_eq!(sum(&crew, 2), 4950))
                });
            }
        });
    }

    #[test]
    fn a_panic_of_any_member_reaches_the_caller_and_the_crew_goes_on() {
        let crew = Crew::new(2).unwrap();
        for culprit in 0..2 {
            let came = AtomicBool::new(false);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                crew.work(2, &|member| {
                    came.fetch_or(member == 1, Ordering::SeqCst);
                    while !came.load(Ordering::SeqCst) {
                        yield_now();
                    }
                    assert_ne!(member, culprit, "this one");
                });
            }));
            assert!(caught.is_err());
            assert_eq!(sum(&crew, 2), 4950);
        }
    }
}
