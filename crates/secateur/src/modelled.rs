//! The model of an accelerator, as the compressor asks about it.

use crate::network;
use anyhow::Result;
use secateur_accel::{Evaluated, NetworkCost};
use secateur_compress::policy::{LayerTime, Machine, Unknown};
use secateur_data::Dataset;
use secateur_model::{Graph, Tensor};
use secateur_plan::lower::lower;
use std::collections::BTreeMap;

/// What networks cost on a machine's model: one sample at a time, the first of the data. Layers of floats are a host's, of
/// which it knows nothing.
pub struct ModelledMachine<'a> {
    machine: secateur_accel::Machine,
    data: &'a Dataset,
}

impl<'a> ModelledMachine<'a> {
    /// The model of a machine, for such samples.
    pub fn new(machine: secateur_accel::Machine, data: &'a Dataset) -> Self {
        Self { machine, data }
    }

    fn cost(&self, graph: &Graph) -> Result<NetworkCost> {
        let dims = network::shape_for(graph, self.data, 1)?;
        let mut pixels = vec![0.0; dims.iter().product()];
        let (image, _) = pixels.split_at_mut(self.data.image_len());
        self.data.gather(&[0], image);
        let input = Tensor::f32(&dims, pixels)?;
        let name = network::input(graph)?.name.as_str();
        let (draft, _) = lower(graph)?;
        Ok(Evaluated::new(&draft, &[(name, &input)])?.cost(&self.machine)?)
    }
}

impl Machine for ModelledMachine<'_> {
    fn layers(&mut self, graph: &Graph) -> Result<BTreeMap<String, LayerTime>, Unknown> {
        let cost = self.cost(graph)?;
        let mut layers: BTreeMap<String, LayerTime> = BTreeMap::new();
        for layer in &cost.layers {
            let node = graph.nodes.iter().find(|n| n.name == layer.name);
            let weight = node.and_then(|n| graph.kernel_of(n));
            if let (Some((weight, _)), Some(energy)) = (weight, layer.energy) {
                let known = layers.entry(weight.to_owned()).or_default();
                let cycles = (layer.cycles + layer.dram_wait_cycles) as f64;
                known.microseconds += cycles / self.machine.clock_mhz;
                *known.picojoules.get_or_insert(0.0) += energy.total_pj();
            }
        }
        Ok(layers)
    }

    fn milliseconds(&mut self, _: &Graph) -> Result<Option<f64>, Unknown> {
        Ok(None)
    }

    fn picojoules(&mut self, graph: &Graph) -> Result<Option<f64>, Unknown> {
        let energy = self.cost(graph)?.energy;
        Ok(energy.map(|energy| energy.total_pj()))
    }
}
