//! What running a network costs, as somebody else knows it.

use secateur_model::Graph;
use std::collections::BTreeMap;

/// Why a machine does not know.
pub type Unknown = Box<dyn std::error::Error + Send + Sync>;

/// What one layer costs, for one sample.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LayerTime {
    /// Time.
    pub microseconds: f64,
    /// Energy, where the machine knows it.
    pub picojoules: Option<f64>,
}

/// Where a network will run. Compression knows no kernels and no clock of theirs: whoever calls
/// it does.
pub trait Machine {
    /// What each layer costs in this network, by the name of its weight; nothing where it is not known.
    ///
    /// # Errors
    /// A network that the machine cannot run.
    fn layers(&mut self, graph: &Graph) -> Result<BTreeMap<String, LayerTime>, Unknown>;

    /// Milliseconds of one sample through the whole network, where they are known.
    ///
    /// # Errors
    /// A network that the machine cannot run.
    fn milliseconds(&mut self, graph: &Graph) -> Result<Option<f64>, Unknown>;

    /// Picojoules of one sample through the whole network, where they are known.
    ///
    /// # Errors
    /// A network that the machine cannot run.
    fn picojoules(&mut self, graph: &Graph) -> Result<Option<f64>, Unknown> {
        let _ = graph;
        Ok(None)
    }
}

/// A machine of which nothing is known.
pub struct NoMachine;

impl Machine for NoMachine {
    fn layers(&mut self, _: &Graph) -> Result<BTreeMap<String, LayerTime>, Unknown> {
        Ok(BTreeMap::new())
    }

    fn milliseconds(&mut self, _: &Graph) -> Result<Option<f64>, Unknown> {
        Ok(None)
    }
}
