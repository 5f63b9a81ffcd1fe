//! What lies under a tile of output pixels.

use super::{SparseArray, patch_extent};
use crate::Image;
use secateur_plan::IntegerLayer;

/// Output pixels that the lanes work on side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Of which image.
    pub image: usize,
    /// Row and column of its first pixel.
    pub at: [usize; 2],
    /// Height and width.
    pub extent: [usize; 2],
}

impl Tile {
    /// How many.
    pub fn pixels(&self) -> usize {
        self.extent[0] * self.extent[1]
    }

    /// The output pixel of a lane, of all images.
    pub fn pixel(&self, image: &Image, lane: usize) -> usize {
        let [y, x] = self.place(lane);
        self.image * image.pixels() + y * image.window.output[1] + x
    }

    fn place(&self, lane: usize) -> [usize; 2] {
        let [_, width] = self.extent;
        [self.at[0] + lane / width, self.at[1] + lane % width]
    }
}

/// The tiles of all images, in order.
pub(super) fn tiles(image: &Image, [th, tw]: [usize; 2]) -> Vec<Tile> {
    let [height, width] = image.window.output;
    let mut tiles = Vec::new();
    for n in 0..image.batch {
        for top in (0..height).step_by(th) {
            for left in (0..width).step_by(tw) {
                tiles.push(Tile {
                    image: n,
                    at: [top, left],
                    extent: [th.min(height - top), tw.min(width - left)],
                });
            }
        }
    }
    tiles
}

/// The inputs of all lanes by place, `[conv group · depth, lanes]`: zeros beyond the edges.
pub(super) struct Under {
    lanes: usize,
    conv_groups: usize,
    values: Vec<i16>,
    /// Lanes whose input is not zero, by place.
    live: Vec<u8>,
    /// Banks of a buffer that holds the patch row by row; 0 where lanes never meet.
    banks: usize,
    /// Cycles that the lanes take to read an input each.
    meetings: u64,
}

impl Under {
    pub fn new(layer: &IntegerLayer<'_>, image: &Image, array: &SparseArray) -> Self {
        let lanes = array.lanes;
        let [kh, kw] = image.window.kernel;
        let places = image.window.channels * kh * kw;
        Self {
            lanes,
            conv_groups: layer.groups.max(1),
            values: vec![0; places * lanes],
            live: vec![0; places],
            banks: array.patch_banks,
            meetings: 1,
        }
    }

    /// Takes what lies under a tile.
    pub fn fill(&mut self, image: &Image, tile: &Tile) {
        self.values.fill(0);
        self.live.fill(0);
        self.meetings = match self.banks {
            0 => 1,
            banks => meetings(image, tile, banks),
        };
        let w = &image.window;
        let [kh, kw] = w.kernel;
        let of_group = w.channels / self.conv_groups;
        for lane in 0..tile.pixels() {
            for tap in 0..kh * kw {
                let at = image.under(tile.image, tile.place(lane), [tap / kw, tap % kw]);
                for (c, &value) in at.into_iter().flatten().enumerate() {
                    let place = (c / of_group * kh * kw + tap) * of_group + c % of_group;
                    self.values[place * self.lanes + lane] = value;
                    self.live[place] += u8::from(value != 0);
                }
            }
        }
    }

    /// Cycles that the lanes take to read an input each: the most that meet in a bank.
    pub fn meetings(&self) -> u64 {
        self.meetings
    }

    /// Lanes whose input at a place is not zero.
    pub fn live(&self, place: u32) -> u64 {
        self.live[place as usize].into()
    }

    /// Adds to each lane's sum a weight times its input.
    pub fn multiply(&self, place: u32, weight: i8, sums: &mut [i32]) {
        let inputs = &self.values[place as usize * self.lanes..][..self.lanes];
        let weight = i16::from(weight);
        for (sum, &x) in sums.iter_mut().zip(inputs) {
            // 128 times 255 fits, and vectors of 16 bits are twice as wide.
            *sum += i32::from(weight * x);
        }
    }
}

/// The most lanes that read the same bank: whatever the tap and the channel, which move all of them alike.
fn meetings(image: &Image, tile: &Tile, banks: usize) -> u64 {
    let [height, width] = tile.extent;
    let [down, right] = image.window.stride;
    let [_, row] = patch_extent(image, tile.extent);
    let mut readers = vec![0u64; banks];
    for y in 0..height {
        for x in 0..width {
            readers[(y * down * row + x * right) % banks] += 1;
        }
    }
    readers.into_iter().max().unwrap_or(1).max(1)
}
