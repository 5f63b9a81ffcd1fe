//! Non-maximum suppression.

use super::Detection;

/// The detections that no better one of their class overlaps by more than `overlap` (intersection
/// over union), the best first; of equally good ones the earlier wins. At most `most` are kept.
pub fn suppress(mut found: Vec<Detection>, overlap: f32, most: usize) -> Vec<Detection> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Detection> = Vec::new();
    for new in found {
        if kept.len() == most {
            break;
        }
        let hides = |old: &Detection| old.class == new.class && old.bbox.iou(&new.bbox) > overlap;
        if !kept.iter().any(hides) {
            kept.push(new);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::BBox;
    use super::*;
    use proptest::prelude::*;

    /// Takes the best that is left and removes what it hides, until nothing is left.
    fn naive(mut left: Vec<Detection>, overlap: f32) -> Vec<Detection> {
        let mut kept = Vec::new();
        while !left.is_empty() {
            let better = |b: usize, i: usize| if left[i].score > left[b].score { i } else { b };
            let best = left.remove((0..left.len()).fold(0, better));
            left.retain(|o| o.class != best.class || o.bbox.iou(&best.bbox) <= overlap);
            kept.push(best);
        }
        kept
    }

    fn detections() -> impl Strategy<Value = Vec<Detection>> {
        let one = (0u32..2, 0u8..8, 0f32..0.6, 0f32..0.6, 0.1f32..0.4);
        prop::collection::vec(
            one.prop_map(|(class, score, x, y, side)| Detection {
                class,
                score: f32::from(score) / 8.0,
                bbox: BBox::new(x, y, x + side, y + side),
            }),
            0..30,
        )
    }

    proptest! {
        #[test]
        fn agrees_with_the_slow_way(found in detections(), overlap in 0f32..1.0) {
            let kept = suppress(found.clone(), overlap, usize::MAX);
            prop_assert_eq!(&kept, &naive(found.clone(), overlap));
            prop_assert_eq!(&suppress(kept.clone(), overlap, usize::MAX), &kept);
            let most = kept.len() / 2;
            prop_assert_eq!(&suppress(found, overlap, most)[..], &kept[..most]);
        }
    }
}
