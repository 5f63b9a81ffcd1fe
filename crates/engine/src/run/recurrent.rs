//! Steps of recurrent layers.

use super::Call;
use crate::EngineError;
use crate::team::{Flat, Units};
use secateur_kernels::{Rows, Sequences};
use secateur_plan::Recurrent;

impl Call<'_> {
    /// Directions and rows of the batch are computed apart; inputs are the lengths, both first states,
    /// and the products of each direction's inputs.
    pub(super) fn recurrent(&self, arena: &mut [u8], layer: &Recurrent) -> Result<(), EngineError> {
        let Recurrent {
            directions,
            steps,
            batch,
            batch_first,
        } = layer;
        let (steps, batch, count) = (*steps, *batch, directions.len());
        let Some((first, _)) = directions.first() else {
            return Err(self.misplaced());
        };
        let hidden = first.hidden();
        let each = (steps + first.cell().states()) * hidden;
        let parts = self.apart(arena)?;
        let lengths = self.elements::<i32>(self.operand(&parts.reads, 0)?)?;
        let states = [
            self.floats(self.operand(&parts.reads, 1)?)?,
            self.floats(self.operand(&parts.reads, 2)?)?,
        ];
        let gates = first.cell().gates() * hidden;
        let units = Units {
            range: 0..count * batch,
            // Rows go together through the recurrent product: each thread takes all of its own at once.
            granule: (count * batch).div_ceil(self.team.threads().max(1)),
            out: Flat {
                bytes: parts.out,
                each: each * size_of::<f32>(),
            },
            scratch: parts.scratch,
            scratch_each: (first.scratch(batch) * size_of::<f32>()).next_multiple_of(64),
        };
        units.share(self.team, &|range, out, scratch| {
            let (mut at, mut rest) = (range.start, self.floats_mut(out.bytes)?);
            let scratch = self.floats_mut(scratch)?;
            while at < range.end {
                let (direction, row) = (at / batch, at % batch);
                let rows = row..batch.min(row + range.end - at);
                let (y, later) = rest.split_at_mut(rows.len() * each);
                (at, rest) = (at + rows.len(), later);
                let inputs = self.floats(self.operand(&parts.reads, 3 + direction)?)?;
                let (begin, stride) = match batch_first {
                    true => (direction * hidden, count * hidden),
                    false => (direction * batch * hidden, hidden),
                };
                let mut begins = [None; 2];
                for (to, state) in begins.iter_mut().zip(states) {
                    if let Some(state) = state.get(begin..).filter(|s| !s.is_empty()) {
                        *to = Some(self.kernel(Rows::strided(state, batch, hidden, stride))?);
                    }
                }
                let (recurrence, way) = &directions[direction];
                let sequences = Sequences {
                    inputs,
                    strides: match batch_first {
                        true => [gates, steps * gates],
                        false => [batch * gates, gates],
                    },
                    steps,
                    batch,
                    way: *way,
                    lengths: (!lengths.is_empty()).then_some(lengths),
                    states: begins,
                };
                self.kernel(recurrence.run(&sequences, rows, scratch, y))?;
            }
            Ok(())
        })
    }
}
