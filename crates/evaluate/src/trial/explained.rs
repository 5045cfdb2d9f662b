//! Whether the bins that a page names explain it: with them at the baseline, would there have been a page?

use tocsin_domain::Scores;

use super::{Course, Deciding, Scratch, Trial, score, state};
use crate::life::MachineLife;

impl Trial {
    /// How many pages of a machine's course name bins without which their deciding reading would have been below the page
    /// line: by the code that writes the pages.
    pub fn pages_explained(&self, life: &MachineLife, course: &Course) -> usize {
        course.pages.iter().filter(|page| self.explains(life, page)).count()
    }

    /// The reading is the newest of the deciding sensor.
    fn explains(&self, life: &MachineLife, page: &Deciding) -> bool {
        let of_sensor = |(sensor, _): &&(usize, usize)| life.sensors[*sensor].id == page.sensor;
        let newest = life.arrivals[..=page.arrival].iter().rev().find(of_sensor);
        let Some((of, reference, reading)) = newest.and_then(|(sensor, reading)| {
            let reference = self.references[*sensor].as_ref()?;
            Some((&life.sensors[*sensor], reference, *reading))
        }) else {
            return false;
        };
        let (mut scratch, mut scores) = (Scratch::default(), Scores::default());
        score(reference, of, reading, &self.rules, &mut scratch, &mut scores);
        let judged = (&scores, state(reference, of, reading), false);
        let deviations = (scratch.z.as_slice(), reference.baseline.line_weights());
        self.limits.decisive_bins(page.detector, deviations, judged).is_some()
    }
}
