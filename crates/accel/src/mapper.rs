//! How a layer goes through the scratchpads: the order of its loops, and what of it stays on the chip, so that the
//! fewest bytes come from beyond it.
//!
//! A layer is cut into *bands* of output rows and *blocks* of outputs. Either a block of weights stays while all bands
//! pass by, or a band stays while all blocks do. The fewest bands that fit are taken, and the order that moves less; of
//! equal ones the first, so that a layer is always mapped alike.

use serde::Serialize;

/// What a layer reads and gives, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extents {
    /// Weights of each block of outputs; none for operators without weights.
    pub blocks: Vec<u64>,
    /// Inputs.
    pub inputs: u64,
    /// Outputs.
    pub outputs: u64,
    /// Rows of outputs: what a band cannot be smaller than one of.
    pub rows: u64,
    /// Inputs that a band shares with the next: they are still there when it comes.
    pub halo: u64,
    /// Blocks that their scratchpad holds at a time.
    pub held_blocks: u64,
    /// Of steps that are worked on together, the rows of tiles of each: a band is whole ones. Empty for one alone.
    pub together: Vec<u64>,
    /// Of these: what flows between them, of which a band is on the chip.
    pub between: u64,
    /// Of what they give, what has to be there beside a band: steps run ahead of those that read several of their rows.
    pub ahead: u64,
}

/// What stays while the rest passes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Weights come once, inputs for every block.
    WeightsStay,
    /// Inputs come once, weights for every band.
    PixelsStay,
}

/// How inputs and outputs lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// Both whole on the chip.
    Both,
    /// Inputs whole on the chip, outputs leave band by band.
    Inputs,
    /// Outputs whole on the chip, inputs come band by band.
    Outputs,
    /// Neither: both pass by in bands.
    Neither,
}

/// How a layer goes through the scratchpads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// The order of its loops.
    pub order: Order,
    /// What of it is on the chip.
    pub held: Held,
    /// Bands of output rows.
    pub bands: u64,
    /// Blocks of outputs.
    pub blocks: u64,
    /// Whether all of them are there at a time.
    pub weights_held: bool,
    /// Bytes that it needs of the scratchpad for activations.
    pub activation_bytes: u64,
}

impl Held {
    /// All there are, the best first.
    pub(crate) const ALL: [Self; 4] = [Self::Both, Self::Inputs, Self::Outputs, Self::Neither];

    /// Whether the inputs are whole on the chip.
    pub fn inputs(self) -> bool {
        matches!(self, Self::Both | Self::Inputs)
    }

    /// Whether the outputs are.
    pub fn outputs(self) -> bool {
        matches!(self, Self::Both | Self::Outputs)
    }
}

impl Extents {
    /// All weights.
    pub fn weights(&self) -> u64 {
        self.blocks.iter().sum()
    }

    /// Bytes of the scratchpad that a layer cannot do without.
    pub fn least_activation_bytes(&self) -> u64 {
        self.activation_bytes(Held::Neither, self.rows.max(1))
    }

    /// Bytes of the scratchpad for activations: what passes by in bands is there twice, the band that is worked on and
    /// the next.
    fn activation_bytes(&self, held: Held, bands: u64) -> u64 {
        let band = |all: u64, halo: u64| match bands {
            1 => all,
            _ => (2 * self.of_band(all, bands) + halo).min(all),
        };
        let inputs = match held.inputs() {
            true => self.inputs,
            false => band(self.inputs, self.halo),
        };
        let outputs = match held.outputs() {
            true => self.outputs,
            false => band(self.outputs, 0),
        };
        inputs + outputs + self.of_band(self.between, bands) + self.ahead
    }

    /// Of so many bytes those of the largest band.
    fn of_band(&self, all: u64, bands: u64) -> u64 {
        let whole_tiles = |&rows: &u64| (all * rows.div_ceil(bands)).div_ceil(rows.max(1));
        let together = self.together.iter().map(whole_tiles);
        together.max().unwrap_or_else(|| all.div_ceil(bands))
    }

    /// The mapping with the fewest bytes from beyond the chip of those that hold so much on it; `None` where none fits.
    pub fn map(&self, held: Held, free_bytes: u64) -> Option<Mapping> {
        let most = match (held, self.together.is_empty()) {
            (Held::Both, true) => 1,
            _ => self.rows.max(1),
        };
        // The fewest bands that fit: more only add halos and passes over weights.
        let fits = |bands: &u64| self.activation_bytes(held, *bands) <= free_bytes;
        let bands = (1..=most).find(fits)?;
        let mapping = |order| Mapping {
            order,
            held,
            bands,
            blocks: self.blocks.len().max(1) as u64,
            weights_held: self.blocks.len() as u64 <= self.held_blocks,
            activation_bytes: self.activation_bytes(held, bands),
        };
        // Steps that are worked on together are so band by band.
        let orders = match self.together.is_empty() {
            true => &[Order::WeightsStay, Order::PixelsStay][..],
            false => &[Order::PixelsStay],
        };
        let total = |m: &Mapping| m.weights(self) + m.inputs(self);
        orders.iter().copied().map(mapping).min_by_key(total)
    }

    /// Parts one scratchpad among weights and what passes by: blocks are joined, as many as make the fewest bytes from
    /// beyond the chip. Two lie there, the one that is worked on and the next, or one where there is no more room. `None`
    /// where not even that fits.
    pub fn part(&self, bytes: u64) -> Option<(Self, Mapping)> {
        let joined = |at_once: usize, there: u64| {
            let blocks = self.blocks.chunks(at_once).map(|c| c.iter().sum());
            let joined = Self {
                blocks: blocks.collect(),
                held_blocks: there,
                ..self.clone()
            };
            let there = there.min(joined.blocks.len() as u64);
            let weights = there * joined.blocks.iter().max().copied().unwrap_or(0);
            let mapping = joined.map(Held::Neither, bytes.checked_sub(weights)?)?;
            Some((joined, mapping))
        };
        let best = |there| {
            let ways = (1..=self.blocks.len().max(1)).rev();
            let ways = ways.filter_map(|at_once| joined(at_once, there));
            ways.min_by_key(|(extents, mapping)| mapping.weights(extents) + mapping.inputs(extents))
        };
        best(2).or_else(|| best(1))
    }
}

impl Mapping {
    /// Bytes of weights from beyond the chip: where not all blocks are there at a time, each comes for each band.
    pub fn weights(&self, extents: &Extents) -> u64 {
        match (self.order, self.weights_held) {
            (Order::PixelsStay, false) => self.bands * extents.weights(),
            _ => extents.weights(),
        }
    }

    /// Bytes of inputs that pass by; none where they are held.
    pub fn inputs(&self, extents: &Extents) -> u64 {
        if self.held.inputs() {
            return 0;
        }
        match (self.order, self.bands) {
            (Order::WeightsStay, 2..) => self.blocks * extents.inputs,
            _ => extents.inputs,
        }
    }

    /// How many times the blocks are gone through.
    pub fn passes(&self) -> u64 {
        match self.order {
            Order::WeightsStay => 1,
            Order::PixelsStay => self.bands,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> Extents {
        Extents {
            blocks: vec![300, 300, 200],
            inputs: 1000,
            outputs: 2000,
            rows: 10,
            halo: 20,
            held_blocks: 1,
            ..Extents::default()
        }
    }

    #[test]
    fn what_fits_is_held() {
        let both = layer().map(Held::Both, 3000).unwrap();
        assert_eq!((both.bands, both.inputs(&layer())), (1, 0));
        assert_eq!(layer().map(Held::Both, 2999), None);
        let inputs = layer().map(Held::Inputs, 2000).unwrap();
        assert_eq!((inputs.bands, inputs.activation_bytes), (4, 2000));
    }

    #[test]
    fn the_order_with_fewer_bytes_is_taken() {
        // Three bands: weights three times are 2400 + 1000, inputs three times 800 + 3000.
        let wide = layer().map(Held::Neither, 2999).unwrap();
        assert_eq!((wide.order, wide.bands), (Order::PixelsStay, 3));
        assert_eq!(
            (wide.weights(&layer()), wide.inputs(&layer())),
            (2400, 1000)
        );
        // Ten bands: weights ten times are 8000.
        let narrow = layer().map(Held::Neither, 620).unwrap();
        assert_eq!((narrow.order, narrow.bands), (Order::WeightsStay, 10));
        assert_eq!(
            (narrow.weights(&layer()), narrow.inputs(&layer())),
            (800, 3000)
        );
        assert_eq!(layer().least_activation_bytes(), 620);
        assert_eq!(layer().map(Held::Neither, 619), None);
    }

    #[test]
    fn weights_that_are_all_there_come_once_whatever_the_order() {
        let two = Extents {
            blocks: vec![400, 400],
            held_blocks: 2,
            ..layer()
        };
        let mapping = two.map(Held::Neither, 620).unwrap();
        assert_eq!(mapping.weights(&two) + mapping.inputs(&two), 1800);
    }

    #[test]
    fn of_what_flows_between_steps_a_band_is_there() {
        let together = Extents {
            held_blocks: 3,
            together: vec![10, 30],
            between: 5000,
            ahead: 100,
            ..layer()
        };
        // Five bands: 1000 + 100 between, 420 of inputs, 800 of outputs. Four would have three of ten rows.
        let mapping = together.map(Held::Neither, 2320).unwrap();
        assert_eq!((mapping.order, mapping.bands), (Order::PixelsStay, 5));
        assert_eq!(together.map(Held::Neither, 3419).unwrap().bands, 5);
        assert_eq!(together.map(Held::Neither, 3420).unwrap().bands, 4);
        let moved = (mapping.weights(&together), mapping.inputs(&together));
        assert_eq!(moved, (800, 1000));
        // Inputs and outputs may be there whole all the same.
        let both = together.map(Held::Both, 4100).unwrap();
        assert_eq!((both.bands, both.inputs(&together)), (5, 0));
    }

    #[test]
    fn a_shared_scratchpad_is_parted_for_the_fewest_bytes() {
        let layer = Extents {
            blocks: vec![100; 8],
            inputs: 1000,
            outputs: 10,
            rows: 10,
            held_blocks: 2,
            ..Extents::default()
        };
        let parted = |bytes| {
            let (extents, mapping) = layer.part(bytes).unwrap();
            let bytes = mapping.weights(&extents) + mapping.inputs(&extents);
            (extents.blocks.len(), mapping.bands, bytes)
        };
        // Everything at once; weights whole and inputs in bands; neither.
        assert_eq!(parted(1810), (1, 1, 1800));
        assert_eq!(parted(1300), (1, 5, 1800));
        assert_eq!(parted(420), (8, 10, 8800));
        // No room for the next block beside the one that is worked on.
        assert_eq!(parted(310), (8, 10, 8800));
        assert!(layer.part(300).is_none());
    }
}
