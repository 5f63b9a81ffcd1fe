// What is verilated: shared by the build script, which makes the models, and the library, which names them.

/// A module with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Design {
    /// Its name here.
    pub name: &'static str,
    /// The top module.
    pub top: &'static str,
    /// What differs from its defaults.
    pub parameters: &'static [(&'static str, u32)],
}

/// All of them.
pub const DESIGNS: &[Design] = &[
    Design {
        name: "requantizer",
        top: "requantizer_bench",
        parameters: &[],
    },
    Design {
        name: "mac8",
        top: "mac_bench",
        parameters: &[],
    },
    Design {
        name: "mac8_free",
        top: "mac_bench",
        parameters: &[("GATED", 0)],
    },
    Design {
        name: "mac16",
        top: "mac_bench",
        parameters: &[("W_BITS", 16), ("X_BITS", 16), ("SUM_BITS", 48)],
    },
    Design {
        name: "eie_4",
        top: "eie",
        parameters: &[
            ("ELEMENTS", 4),
            ("QUEUE_SLOTS", 2),
            ("GAP_BITS", 2),
            ("CODE_BITS", 6),
            ("LINE_BITS", 32),
            ("COLUMNS", 200),
            ("LINES", 2048),
            ("ROWS", 32),
            ("X_BITS", 8),
            ("SUM_BITS", 40),
        ],
    },
    Design {
        name: "eie_16",
        top: "eie",
        parameters: &[
            ("ELEMENTS", 16),
            ("COLUMNS", 512),
            ("LINES", 2048),
            ("ROWS", 32),
        ],
    },
    Design {
        name: "eie_64",
        top: "eie",
        parameters: &[],
    },
    Design {
        name: "sparse_4x8",
        top: "sparse_bench",
        parameters: &[],
    },
    Design {
        name: "sparse_3x16",
        top: "sparse_bench",
        parameters: &[
            ("GROUPS", 3),
            ("LANES", 16),
            ("PATCH_BYTES", 4096),
            ("BEAT_BYTES", 16),
            ("SLOTS", 16),
            ("GAP_BITS", 5),
            ("REQUANTIZED", 4),
        ],
    },
];
