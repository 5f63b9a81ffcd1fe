//! Memory of megabytes, for every layer of every step: clearing it, and asking the system for it, costs as much as
//! a layer's work.

use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Elements of the largest buffer that is kept: 32 MiB.
const MOST: usize = 1 << 23;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer with anything in it, which its thread keeps for the next layer.
pub(super) struct Scratch {
    values: Vec<f32>,
    elements: usize,
}

impl Scratch {
    /// Of so many elements.
    pub fn new(elements: usize) -> Self {
        let kept = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
        let mut values = match kept.len() >= elements {
            true => kept,
            false => vec![0.0; elements],
        };
        if cfg!(test) {
            values.fill(f32::NAN);
        }
        Self { values, elements }
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.elements]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.elements]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        if values.len() <= MOST {
            // A thread that ends has nothing to keep it in.
            _ = KEPT.try_with(|kept| kept.borrow_mut().push(values));
        }
    }
}

/// Elements that a thread clears at once.
const BLOCK: usize = 1 << 12;

/// So many zeros, written by all threads.
pub(super) fn zeros(elements: usize) -> Vec<f32> {
    if elements < 16 * BLOCK {
        return vec![0.0; elements];
    }
    let blocks = (0..elements.div_ceil(BLOCK)).into_par_iter();
    let blocks: Vec<[f32; BLOCK]> = blocks.map(|_| [0.0; BLOCK]).collect();
    let mut values = blocks.into_flattened();
    values.truncate(elements);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_kept_and_have_the_length_that_was_asked_for() {
        let mut large = Scratch::new(100);
        large.fill(1.0);
        drop(large);
        let mut small = Scratch::new(10);
        assert_eq!(small.len(), 10);
        small.fill(2.0);
        assert!(small.values.len() >= 100 && Scratch::new(3).len() == 3);
        drop(Scratch::new(MOST + 1));
        assert!(KEPT.with_borrow(|kept| kept.iter().all(|b| b.len() <= MOST)));
    }

    #[test]
    fn zeros_are_as_many_as_were_asked_for() {
        for elements in [0, 7, 16 * BLOCK, 20 * BLOCK + 3] {
            assert_eq!(zeros(elements), vec![0.0; elements]);
        }
    }
}
