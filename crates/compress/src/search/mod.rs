//! The automatic loop: try a recipe, retrain, score, go further or back, keep the best.

mod bracket;
mod drive;
mod goal;
mod journal;
mod knob;
mod policy_knob;
mod rate_knob;
mod training;

pub use bracket::{Bracket, Next, Side, Stop};
pub use drive::{Found, Search, search};
pub use goal::{Goal, Limit, Objective, Tried};
pub use journal::{Candidate, Journal, Silent};
pub use knob::{Context, Knob, Plan};
pub use policy_knob::PolicyKnob;
pub use rate_knob::RateKnob;
pub use training::{Training, affordable};
