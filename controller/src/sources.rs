//! Where hints come from, besides descriptions: they only make things sooner.

pub mod lifecycle_queue;
