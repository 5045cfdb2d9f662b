//! What people do to a machine and its incidents, as far as the journal and the outbox must show it. Each is called when
//! its transaction has committed, and answers whether it could be done.

use super::Machine;

/// An operator does not want to hear of a machine.
pub(crate) const SHELVED: &str = "shelved";
/// It is being worked on.
pub(crate) const OUT_OF_SERVICE: &str = "out_of_service";

/// What keeps a machine's pages from people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    kind: &'static str,
    /// It ends with the incident.
    pub(super) one_shot: bool,
}

impl Machine {
    /// What keeps its pages from people; none when nothing does.
    pub(crate) fn service(&self) -> Option<Service> {
        self.service
    }

    /// Somebody acknowledged its incident `nth`; whether that was something to do.
    pub(crate) fn acknowledge(&mut self, nth: usize) -> bool {
        let Some(incident) = self.incidents.get_mut(nth).filter(|incident| !incident.is_acknowledged) else {
            return false;
        };
        incident.is_acknowledged = true;
        incident.untold = None;
        incident.kept = None;
        incident.events.push(("acknowledged", "", None));
        incident.alarm.acknowledge();
        // A page that was kept is news to nobody: what people heard last is that somebody has it.
        if incident.closed_at.is_none() && incident.pages.last().is_some_and(|(action, ..)| *action == "trigger") {
            incident.pages.push(("acknowledge", "acknowledged", None));
        }
        true
    }

    /// Somebody said something about its incident `nth`, open or not.
    pub(crate) fn comment(&mut self, nth: usize) -> bool {
        let incident = self.incidents.get_mut(nth);
        incident
            .map(|incident| incident.events.push(("commented", "", None)))
            .is_some()
    }

    /// Whoever had taken its incident `nth` handed it over.
    pub(crate) fn hand_over(&mut self, nth: usize) -> bool {
        let incident = self.incidents.get_mut(nth);
        let taken = incident.filter(|incident| incident.state() == "active_acknowledged");
        taken
            .map(|incident| incident.events.push(("handed_over", "", None)))
            .is_some()
    }

    /// Somebody shelved it or took it out of service. A shelf is renewed by another or by an outage, an outage by no shelf.
    pub(crate) fn suppress(&mut self, kind: &'static str, one_shot: bool) -> bool {
        let before = self.service;
        if kind == SHELVED && before.is_some_and(|before| before.kind == OUT_OF_SERVICE) {
            return false;
        }
        self.service = Some(Service { kind, one_shot });
        if let Some(open) = self.open_mut() {
            if before.is_some() {
                open.events.push(("restored", "", None));
            }
            open.events.push(("suppressed", kind, None));
        }
        true
    }

    /// People hear of it again, and of what was kept if it is still so and nobody's.
    pub(crate) fn restore(&mut self) -> bool {
        let was = self.service.take();
        if let Some(open) = self.open_mut().filter(|_| was.is_some()) {
            let kept = open.kept.take().filter(|_| !open.is_acknowledged);
            open.pages.extend(kept);
            open.events.push(("restored", "", None));
        }
        was.is_some()
    }
}
