//! Following a fleet without following a failure.
//!
//! Sensors and seasons drift, and a baseline that never moves ends in false alarms; one that always moves learns a slow
//! failure as normal. What parts the two is company: a season, a load or a firmware moves the machines of a class
//! together, a failure moves one, with however many sensors it has. So a sensor's recent median is held against what was
//! commissioned, its move is held against the moves of other machines ([`peers`]), and the baseline may follow
//! ([`follow`]):
//!
//! - down, and back up to what was commissioned, but no further down than the rule's bound, so that a return is never
//!   more than a benign change;
//! - up with its class, by as much as the median machine rose, bounded in all from what was commissioned;
//! - not up at all while the machine is suspected of a rise, and not down, but back to where its class is, while it is
//!   suspected of a fall: it stands out of its peers, now or in sum over time ([`Cusum`]).
//!
//! **Invariant:** however often a baseline follows, it never stands more above what was commissioned than the rule says,
//! for moves are counted from there and never from the version before.

mod cusum;
mod follow;
mod machines;
mod peers;
mod round;

pub use cusum::Cusum;
pub use follow::{FollowRule, Suspected, common_rise, follow};
pub use peers::{Compared, Finding, Peers};
pub use round::{Followed, Standing, follow_class};
