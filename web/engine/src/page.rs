//! What the page has open, what it gives and what it is answered.

use crate::network::Network;
use crate::{describe, picture, time, twin};
use secateur_io::Form;
use serde::Serialize;

/// Networks that are open at a time, at most: a page that forgets to close them shall not fill the memory.
const MOST: usize = 8;

/// The networks that a page has open, what it gave last and the last answer.
#[derive(Default)]
pub struct Page {
    given: Vec<u8>,
    answer: Vec<u8>,
    networks: [Option<Network>; MOST],
}

impl Page {
    /// Room for so many bytes, unless there is not so much memory. What was given before is gone.
    pub fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        // A file of many megabytes is not kept for a picture of a few.
        self.given = Vec::new();
        self.given.try_reserve_exact(bytes).ok()?;
        self.given.resize(bytes, 0);
        Some(&mut self.given)
    }

    /// The last answer: JSON, numbers, or why there is none.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// Opens the network whose file's bytes were given; answers with what it is, as JSON.
    pub fn open(&mut self, form: &Form) -> Option<usize> {
        let bytes = std::mem::take(&mut self.given);
        let opened = Network::open(&bytes, form);
        self.keep(opened)
    }

    /// Opens the twin of a network: the same in f32, with nothing left out.
    pub fn twin(&mut self, network: usize) -> Option<usize> {
        let opened = self.network(network).and_then(twin::of);
        self.keep(opened)
    }

    /// Runs a network on the f32 numbers that were given, which stay; answers with its first output.
    pub fn run(&mut self, network: usize) -> bool {
        let ran = self.network(network).and_then(|n| n.run(&self.given));
        self.answer_with(ran.map(|output| {
            let bytes = output.iter().flat_map(|x| x.to_le_bytes());
            bytes.collect()
        }))
    }

    /// Times the steps of so many runs on the numbers that were given; answers with the mean of each,
    /// as JSON.
    pub fn time(&mut self, network: usize, runs: usize) -> bool {
        let network = self.network(network);
        let steps = network.and_then(|network| time::steps(network, &self.given, runs));
        self.answer_with(steps.and_then(|steps| json(&steps)))
    }

    /// Draws which weights of a layer are left, at most `side` pixels wide and high; answers with width,
    /// height and a byte a pixel.
    pub fn picture(&mut self, network: usize, weight: usize, side: usize) -> bool {
        let network = self.network(network);
        let drawn = network.and_then(|network| picture::of(&network.graph, weight, side));
        self.answer_with(drawn)
    }

    /// Forgets a network; what is not open is forgotten already.
    pub fn close(&mut self, network: usize) {
        if let Some(slot) = self.networks.get_mut(network) {
            *slot = None;
        }
    }

    fn network(&self, number: usize) -> Result<&Network, String> {
        let found = self.networks.get(number).and_then(Option::as_ref);
        found.ok_or_else(|| format!("no network {number} is open"))
    }

    /// Keeps a network and describes it.
    fn keep(&mut self, opened: Result<Network, String>) -> Option<usize> {
        let free = self.networks.iter().position(Option::is_none);
        let kept = opened.and_then(|network| {
            let number = free.ok_or_else(|| format!("{MOST} networks are open already"))?;
            Ok((number, json(&describe::of(&network))?, network))
        });
        match kept {
            Ok((number, description, network)) => {
                self.networks[number] = Some(network);
                self.answer = description;
                Some(number)
            }
            Err(reason) => {
                self.answer = reason.into_bytes();
                None
            }
        }
    }

    /// Whether there is an answer; why not is one, too.
    fn answer_with(&mut self, result: Result<Vec<u8>, String>) -> bool {
        let well = result.is_ok();
        self.answer = result.unwrap_or_else(String::into_bytes);
        well
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|e| e.to_string())
}
