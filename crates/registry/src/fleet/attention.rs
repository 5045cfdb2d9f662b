//! Which machines a person should look at first.

use std::time::Duration;

use tocsin_domain::{Severity, Timestamp};
use tocsin_store::fleet::MachineOverview;

/// How much a machine needs attention; the first most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Attention {
    /// Under page, and nobody has taken it.
    UnacknowledgedPage,
    /// Under page, in somebody's hands.
    AcknowledgedPage,
    /// Under alert.
    Alert,
    /// No data for a while, or never any: not the same as healthy.
    Silent,
    /// Nothing to do.
    Normal,
}

fn attention(machine: &MachineOverview, now: Timestamp, silent_after: Duration) -> Attention {
    match &machine.open_incident {
        Some(incident) if incident.severity == Severity::Page && !incident.acknowledged => {
            Attention::UnacknowledgedPage
        }
        Some(incident) if incident.severity == Severity::Page => Attention::AcknowledgedPage,
        Some(_) => Attention::Alert,
        None if machine.received_at.is_none_or(|at| now.since(at) > silent_after) => Attention::Silent,
        None => Attention::Normal,
    }
}

/// Orders machines by attention, then by level, then by name.
pub(super) fn sort(machines: &mut [MachineOverview], now: Timestamp, silent_after: Duration) {
    machines.sort_by(|a, b| {
        let level = |machine: &MachineOverview| machine.open_incident.as_ref().map_or(0.0, |incident| incident.level.0);
        let name = |machine: &'_ MachineOverview| (machine.machine.site_name.clone(), machine.machine.name.clone());
        let rank = |machine: &MachineOverview| attention(machine, now, silent_after);
        rank(a)
            .cmp(&rank(b))
            .then_with(|| level(b).total_cmp(&level(a)))
            .then_with(|| name(a).cmp(&name(b)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{ClassId, IncidentId, Level, MachineId, SiteId, Slug};
    use tocsin_store::fleet::{Machine, OpenIncidentSummary};

    const NOW: Timestamp = Timestamp::MIN;

    fn machine(name: &str, received_at: Option<Timestamp>, incident: Option<(Severity, bool, f32)>) -> MachineOverview {
        let slug = |text: &str| Slug::parse("name", text).unwrap();
        MachineOverview {
            machine: Machine {
                id: MachineId(1),
                site: SiteId(1),
                class: ClassId(1),
                site_name: slug("lisbon"),
                name: slug(name),
                class_name: slug("cnc"),
            },
            sensors: 1,
            newest_reading_at: received_at,
            received_at,
            verdict: None,
            open_incident: incident.map(|(severity, acknowledged, level)| OpenIncidentSummary {
                id: IncidentId(1),
                severity,
                acknowledged,
                level: Level(level),
            }),
        }
    }

    #[test]
    fn who_needs_attention_comes_first_and_silence_comes_before_health() {
        let now = NOW + Duration::from_secs(1000);
        let fresh = Some(now);
        let mut machines = vec![
            machine("b-normal", fresh, None),
            machine("a-normal", fresh, None),
            machine("never-heard", None, None),
            machine("gone-quiet", Some(NOW), None),
            machine("alert-low", fresh, Some((Severity::Alert, false, 1.1))),
            machine("alert-high", fresh, Some((Severity::Alert, true, 1.9))),
            machine("page-taken", fresh, Some((Severity::Page, true, 9.0))),
            machine("page-quiet", Some(NOW), Some((Severity::Page, false, 2.5))),
        ];
        sort(&mut machines, now, Duration::from_mins(10));
        let order: Vec<&str> = machines.iter().map(|machine| machine.machine.name.as_str()).collect();
        let expected = [
            "page-quiet",
            "page-taken",
            "alert-high",
            "alert-low",
            "gone-quiet",
            "never-heard",
            "a-normal",
            "b-normal",
        ];
        assert_eq!(order, expected);
    }
}
