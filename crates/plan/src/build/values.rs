//! Where values are, in which layouts, and the conversions between them.

use super::Build;
use crate::PlanError;
use crate::plan::{Action, Layout, Operand};
use secateur_model::{Constant, DType, ModelError, Shape, Tensor};
use std::sync::Arc;

/// A value of the graph: its type, its extents, and where it is to be had.
pub struct Value {
    pub dtype: DType,
    pub shape: Shape,
    /// The buffer that holds it as the graph sees it.
    pub plain: Option<usize>,
    /// The buffer that holds it with the channels of these images
    /// (`[n, c, h, w]`) innermost; the value itself may be those images
    /// flattened.
    pub last: Option<(usize, [usize; 4])>,
    /// What it is, where that is known beforehand.
    pub known: Option<Arc<Tensor>>,
}

impl Value {
    pub fn new(dtype: DType, shape: Shape) -> Self {
        Self {
            dtype,
            shape,
            plain: None,
            last: None,
            known: None,
        }
    }
}

/// Whether both layouts of images are the same.
fn layouts_agree([_, c, h, w]: [usize; 4]) -> bool {
    c == 1 || h * w == 1
}

impl Build<'_> {
    pub(super) fn value(&self, name: &str) -> Result<&Value, PlanError> {
        let missing = || ModelError::Graph(format!("nothing computes `{name}`"));
        Ok(self.values.get(name).ok_or_else(missing)?)
    }

    fn value_mut(&mut self, name: &str) -> Result<&mut Value, PlanError> {
        let missing = || ModelError::Graph(format!("nothing computes `{name}`"));
        Ok(self.values.get_mut(name).ok_or_else(missing)?)
    }

    /// The type and the extents of a value or a constant.
    pub(super) fn described(&self, name: &str) -> Result<(DType, Shape), PlanError> {
        if let Some(value) = self.values.get(name) {
            return Ok((value.dtype, value.shape.clone()));
        }
        match self.planner.draft().graph.constants.get(name) {
            Some(Constant::Tensor(tensor)) => Ok((tensor.dtype(), tensor.shape().clone())),
            Some(Constant::Weight(weight)) => Ok((DType::F32, weight.shape().clone())),
            None => Err(ModelError::Graph(format!("nothing computes `{name}`")).into()),
        }
    }

    /// The extents of a value or a constant.
    pub(super) fn shape_of_value(&self, name: &str) -> Result<Shape, PlanError> {
        Ok(self.described(name)?.1)
    }

    /// Whether [`Self::known`] has it, without making a tensor of it.
    pub(super) fn is_known(&self, name: &str) -> bool {
        match self.values.get(name) {
            Some(value) => value.known.is_some(),
            None => self.planner.draft().graph.constants.contains_key(name),
        }
    }

    /// A constant, or a value that was computed while planning.
    pub(super) fn known(&self, name: &str) -> Option<Arc<Tensor>> {
        if let Some(value) = self.values.get(name) {
            return value.known.clone();
        }
        let constant = self.planner.draft().graph.constants.get(name)?;
        Some(Arc::new(constant.to_tensor()))
    }

    /// The buffer that holds a value as the graph sees it.
    pub(super) fn plain(&mut self, name: &str) -> Result<usize, PlanError> {
        if !self.values.contains_key(name)
            && let Some(tensor) = self.known(name)
        {
            self.define_known(name, tensor);
        }
        let value = self.value(name)?;
        if let Some(buffer) = value.plain {
            return Ok(buffer);
        }
        let (dtype, shape) = (value.dtype, value.shape.clone());
        let buffer = if let Some((last, images)) = value.last {
            if layouts_agree(images) {
                self.alias(last, name, &shape, Layout::Plain)
            } else {
                let to = self.buffer(name, dtype, &shape, Layout::Plain)?;
                let [batch, channels, ..] = images;
                let action = Action::ToChannelsFirst { batch, channels };
                self.simple(
                    &format!("{name}: to NCHW"),
                    action,
                    &[last],
                    to,
                    "nhwc_to_nchw",
                );
                to
            }
        } else if let Some(tensor) = value.known.clone() {
            let to = self.buffer(name, dtype, &shape, Layout::Plain)?;
            self.simple(
                &format!("{name}: load"),
                Action::Load(tensor),
                &[],
                to,
                "copy",
            );
            to
        } else {
            return Err(ModelError::Graph(format!("`{name}` is not computed yet")).into());
        };
        self.value_mut(name)?.plain = Some(buffer);
        Ok(buffer)
    }

    /// The buffer that holds a value of rank 4 with its channels innermost.
    pub(super) fn channels_last(&mut self, name: &str) -> Result<(usize, [usize; 4]), PlanError> {
        let needs_images = |shape: &Shape| {
            ModelError::Graph(format!("`{name}` must be [n, c, h, w], found {shape}"))
        };
        if let Some(value) = self.values.get(name)
            && let Some(last) = value
                .last
                .filter(|(_, images)| value.shape.dims() == images)
        {
            return Ok(last);
        }
        let plain = self.plain(name)?;
        let value = self.value(name)?;
        let (dtype, shape) = (value.dtype, value.shape.clone());
        let &[n, c, h, w] = shape.dims() else {
            return Err(needs_images(&shape).into());
        };
        let images = [n, c, h, w];
        let buffer = if layouts_agree(images) {
            self.alias(plain, name, &shape, Layout::ChannelsLast)
        } else {
            let to = self.buffer(name, dtype, &shape, Layout::ChannelsLast)?;
            let action = Action::ToChannelsLast {
                batch: n,
                channels: c,
            };
            self.simple(
                &format!("{name}: to NHWC"),
                action,
                &[plain],
                to,
                "nchw_to_nhwc",
            );
            to
        };
        self.value_mut(name)?.last = Some((buffer, images));
        Ok((buffer, images))
    }

    /// The layout in which a value is to be had without a conversion.
    pub(super) fn present_layout(&self, name: &str) -> Layout {
        match self.values.get(name) {
            Some(v)
                if v.plain.is_none()
                    && v.last.is_some_and(|(_, images)| v.shape.dims() == images) =>
            {
                Layout::ChannelsLast
            }
            _ => Layout::Plain,
        }
    }

    /// A value in one of the layouts.
    pub(super) fn in_layout(&mut self, name: &str, layout: Layout) -> Result<usize, PlanError> {
        match layout {
            Layout::Plain => self.plain(name),
            Layout::ChannelsLast => Ok(self.channels_last(name)?.0),
        }
    }

    /// Defines a value by a new buffer, and gives its index.
    pub(super) fn define(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &Shape,
        layout: Layout,
    ) -> Result<usize, PlanError> {
        let buffer = self.buffer(name, dtype, shape, layout)?;
        self.define_in(name, buffer);
        Ok(buffer)
    }

    /// Defines a value by the buffer that holds it.
    pub(super) fn define_in(&mut self, name: &str, buffer: usize) {
        let held = &self.buffers[buffer];
        let mut value = Value::new(held.dtype, held.shape.clone());
        match (held.layout, held.shape.dims()) {
            (Layout::ChannelsLast, &[n, c, h, w]) => value.last = Some((buffer, [n, c, h, w])),
            _ => value.plain = Some(buffer),
        }
        self.values.insert(name.into(), value);
    }

    /// Defines a value that is known.
    pub(super) fn define_known(&mut self, name: &str, tensor: Arc<Tensor>) {
        let mut value = Value::new(tensor.dtype(), tensor.shape().clone());
        value.known = Some(tensor);
        self.values.insert(name.into(), value);
    }

    /// Defines a value as another one under a shape of as many elements.
    pub(super) fn define_reshaped(
        &mut self,
        name: &str,
        of: &str,
        shape: &Shape,
    ) -> Result<(), PlanError> {
        // Images flattened to rows stay as they lie: an integer layer that
        // follows takes their order into its columns.
        let source = self.value(of)?;
        let flattened = source
            .last
            .filter(|(_, [n, c, h, w])| shape.dims() == [*n, c * h * w] && source.plain.is_none());
        let dtype = source.dtype;
        let mut value = Value::new(dtype, shape.clone());
        match flattened {
            Some((buffer, images)) => {
                let alias = self.alias(buffer, name, shape, Layout::ChannelsLast);
                value.last = Some((alias, images));
            }
            None => {
                let plain = self.plain(of)?;
                value.plain = Some(self.alias(plain, name, shape, Layout::Plain));
            }
        }
        self.values.insert(name.into(), value);
        Ok(())
    }

    /// A node's input as an operand in the graph's layout.
    pub(super) fn operand(&mut self, name: Option<&str>) -> Result<Operand, PlanError> {
        let Some(name) = name else {
            return Ok(Operand::Absent);
        };
        match self.known(name) {
            Some(tensor) => Ok(Operand::Constant(tensor)),
            None => Ok(Operand::Buffer(self.plain(name)?)),
        }
    }
}
