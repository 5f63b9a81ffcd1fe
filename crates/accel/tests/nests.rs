//! Nests of loops beside the statistics that come with Timeloop's example designs: every access, cycle and energy.

#![allow(clippy::unwrap_used)] // helpers of tests

use secateur_accel::nest::{Nest, NestCost, Operand};

use Operand::{Inputs, Outputs, Weights};

/// Reads, fills and updates of one part.
type Accesses = (Operand, [u64; 3]);

struct Published {
    name: &'static str,
    cycles: u64,
    multipliers: u64,
    /// In microjoules.
    energy: f64,
    /// In femtojoules for each multiplication: multipliers, then levels, the outermost first.
    each: &'static [f64],
    accesses: &'static [(&'static str, u64, &'static [Accesses])],
}

const PUBLISHED: [Published; 4] = [
    Published {
        name: "eyeriss-like",
        cycles: 86_016,
        multipliers: 126,
        energy: 59.28,
        each: &[207.69, 3380.86, 375.27, 112.37, 1006.69, 386.77],
        accesses: &[
            (
                "DRAM",
                1,
                &[
                    (Weights, [13_824, 0, 0]),
                    (Inputs, [157_296, 0, 0]),
                    (Outputs, [0, 0, 401_408]),
                ],
            ),
            (
                "global buffer",
                1,
                &[
                    (Inputs, [1_354_752, 157_296, 0]),
                    (Outputs, [0, 0, 401_408]),
                ],
            ),
            ("input scratchpad", 126, &[(Inputs, [86_016, 10_752, 0])]),
            ("weight scratchpad", 126, &[(Weights, [86_016, 1_536, 0])]),
            ("sum scratchpad", 126, &[(Outputs, [57_344, 0, 86_016])]),
        ],
    },
    Published {
        name: "simba-like",
        cycles: 225_792,
        multipliers: 48,
        energy: 239.15,
        each: &[315.0, 3272.35, 404.87, 9512.16, 2273.35, 6264.98, 22.78],
        accesses: &[
            (
                "DRAM",
                1,
                &[
                    (Weights, [864, 0, 0]),
                    (Inputs, [151_875, 0, 0]),
                    (Outputs, [0, 0, 401_408]),
                ],
            ),
            (
                "global buffer",
                1,
                &[
                    (Inputs, [170_100, 151_875, 0]),
                    (Outputs, [802_816, 0, 1_204_224]),
                ],
            ),
            ("input buffer", 12, &[(Inputs, [225_792, 56_700, 0])]),
            ("weight buffer", 48, &[(Weights, [32_256, 18, 0])]),
            ("sum buffer", 48, &[(Outputs, [200_704, 50_176, 225_792])]),
            ("weight register", 48, &[(Weights, [225_792, 32_256, 0])]),
        ],
    },
    Published {
        name: "output-stationary",
        cycles: 677_376,
        multipliers: 16,
        energy: 118.46,
        each: &[315.0, 6761.72, 1187.66, 2238.89, 144.0, 144.0, 138.67],
        accesses: &[
            (
                "DRAM",
                1,
                &[
                    (Weights, [13_824, 0, 0]),
                    (Inputs, [157_296, 0, 0]),
                    (Outputs, [0, 0, 401_408]),
                ],
            ),
            (
                "global buffer",
                1,
                &[
                    (Weights, [774_144, 13_824, 0]),
                    (Inputs, [677_376, 157_296, 0]),
                ],
            ),
            ("scratchpad", 16, &[(Outputs, [652_288, 0, 677_376])]),
            ("weight register", 16, &[(Weights, [677_376, 48_384, 0])]),
            ("input register", 16, &[(Inputs, [677_376, 677_376, 0])]),
            (
                "output register",
                16,
                &[(Outputs, [652_288, 652_288, 677_376])],
            ),
        ],
    },
    Published {
        name: "weight-stationary",
        cycles: 903_168,
        multipliers: 12,
        energy: 151.67,
        each: &[315.0, 6544.64, 6712.38, 6.22, 144.0, 144.0, 128.0],
        accesses: &[
            (
                "DRAM",
                1,
                &[
                    (Weights, [864, 0, 0]),
                    (Inputs, [151_875, 0, 0]),
                    (Outputs, [0, 0, 401_408]),
                ],
            ),
            (
                "global buffer",
                1,
                &[
                    (Weights, [24_192, 864, 0]),
                    (Inputs, [2_709_504, 151_875, 0]),
                    (Outputs, [3_211_264, 0, 3_612_672]),
                ],
            ),
            ("scratchpad", 12, &[(Weights, [2_016, 2_016, 0])]),
            ("weight register", 12, &[(Weights, [903_168, 2_016, 0])]),
            ("input register", 12, &[(Inputs, [903_168, 903_168, 0])]),
            (
                "output register",
                12,
                &[(Outputs, [802_816, 802_816, 903_168])],
            ),
        ],
    },
];

#[test]
fn every_access_and_energy_is_the_published_one() {
    for published in PUBLISHED {
        let name = published.name;
        let cost = Nest::builtin(name).unwrap().cost().unwrap();
        assert_eq!(cost.multiplies, 10_838_016, "{name}");
        assert_eq!(cost.cycles, published.cycles, "{name}");
        assert_eq!(cost.multipliers_used, published.multipliers, "{name}");
        assert_eq!(cost.least_words, 554_147, "{name}");
        assert_eq!(cost.levels.len(), published.accesses.len(), "{name}");
        for (level, (called, parts, operands)) in cost.levels.iter().zip(published.accesses) {
            assert_eq!((level.name.as_str(), level.parts), (*called, *parts));
            let found = level.operands.iter().map(|o| {
                let accesses = [o.reads, o.fills, o.updates].map(|words| words / level.parts);
                (o.operand, accesses)
            });
            assert_eq!(found.collect::<Vec<_>>(), *operands, "{name}: {called}");
        }
        let found = cost.total_pj() / 1e6;
        assert!((found - published.energy).abs() < 0.006, "{name}: {found}");
        for (found, &each) in femtojoules(&cost).into_iter().zip(published.each) {
            assert!((found - each).abs() < 0.006, "{name}: {found} {each}");
        }
    }
}

/// For each multiplication: of multipliers, then of levels.
fn femtojoules(cost: &NestCost) -> Vec<f64> {
    let levels = cost.levels.iter().map(|level| level.pj());
    let all = std::iter::once(cost.multiply_pj).chain(levels);
    all.map(|pj| pj * 1e3 / cost.multiplies as f64).collect()
}

#[test]
fn a_memory_that_is_too_slow_sets_the_cycles() {
    let mut nest = Nest::builtin("eyeriss-like").unwrap();
    nest.levels[1].words_a_cycle = Some(8.0);
    // 1 354 752 words are read from the global buffer.
    assert_eq!(nest.cost().unwrap().cycles, 169_344);
}
