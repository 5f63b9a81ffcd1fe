//! Lowering, format choice and the static memory plan.
