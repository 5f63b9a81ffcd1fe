//! Data sets and pre-processing, every set checked by hash.
