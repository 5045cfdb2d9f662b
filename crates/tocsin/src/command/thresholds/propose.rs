//! `tocsin thresholds propose`: what is asked for.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use tocsin_contracts::recalibrator::v1::fleet_replay::Budget;
use tocsin_contracts::recalibrator::v1::propose_request::{Method as ProposeMethod, Source};
use tocsin_contracts::recalibrator::v1::{FleetReplay, HeldOutScores, Labels, Percentiles, ProposeRequest, Tail};

use super::period;

#[derive(Debug, Args)]
pub(super) struct Propose {
    /// The class it is for
    #[arg(long)]
    class: String,
    /// The bundle whose scores it is for [default: the champion]
    #[arg(long, default_value = "", hide_default_value = true)]
    bundle: String,
    /// From the scores logged since this time (RFC 3339), instead of those the bundle brings along
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<String>,
    /// Until this time
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<String>,
    /// How the lines are found
    #[arg(long, value_enum, default_value_t = Method::Percentile)]
    method: Method,
    /// The alert line over what the median machine reached, for fleet-replay [default: 1.75]
    #[arg(long, value_name = "FACTOR")]
    alert_factor: Option<f64>,
    /// The page line over the same, for fleet-replay [default: 2.5]
    #[arg(long, value_name = "FACTOR", group = "page_line")]
    page_factor: Option<f64>,
    /// The alert line of shift, which looks both ways, over the same, for fleet-replay [default: 2.0]
    #[arg(long, value_name = "FACTOR")]
    two_sided_factor: Option<f64>,
    /// Instead of a page factor, the most pages a site is to expect in a day: takes the smallest factor, 2.0 to 4.0, that
    /// keeps to it
    #[arg(long, value_name = "PAGES", group = "page_line")]
    budget_pages_per_site_day: Option<f64>,
    /// The same, for a person in a week
    #[arg(long, value_name = "PAGES", group = "page_line")]
    budget_pages_per_person_week: Option<f64>,
    /// How many persons share the pages, for fleet-replay [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    persons: Option<u32>,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// At percentiles of healthy scores, read off where there are at least 2,000
    Percentile,
    /// At percentiles of a distribution fitted to healthy scores: peaks over threshold, generalised Pareto
    Tail,
    /// At percentiles, moved to where readings labelled as a failure between --from and --to are best told from healthy ones
    Labels,
    /// Against each sensor's baseline, at multiples of what healthy machines reached between --from and --to
    FleetReplay,
}

impl Propose {
    pub(super) fn request(self) -> Result<ProposeRequest> {
        let source = match (&self.from, &self.to) {
            (Some(from), Some(to)) => Source::Logged(period(from, to)?),
            _ => Source::HeldOut(HeldOutScores {}),
        };
        let method = match self.method {
            Method::Percentile => {
                self.refuse_factors()?;
                ProposeMethod::Percentiles(Percentiles {})
            }
            Method::Tail => {
                self.refuse_factors()?;
                ProposeMethod::Tail(Tail {})
            }
            Method::Labels => {
                self.refuse_factors()?;
                ProposeMethod::Labels(Labels {})
            }
            Method::FleetReplay => ProposeMethod::FleetReplay(FleetReplay {
                alert_factor: self.alert_factor.unwrap_or_default(),
                page_factor: self.page_factor.unwrap_or_default(),
                budget: self.budget(),
                persons: self.persons.unwrap_or_default(),
                two_sided_factor: self.two_sided_factor.unwrap_or_default(),
            }),
        };
        Ok(ProposeRequest {
            method: Some(method),
            class: self.class,
            bundle: self.bundle,
            source: Some(source),
            reason: self.reason,
        })
    }

    fn budget(&self) -> Option<Budget> {
        let by_site = self.budget_pages_per_site_day.map(Budget::PagesPerSiteDay);
        by_site.or_else(|| self.budget_pages_per_person_week.map(Budget::PagesPerPersonWeek))
    }

    fn refuse_factors(&self) -> Result<()> {
        let given = [
            ("--alert-factor", self.alert_factor.is_some()),
            ("--page-factor", self.page_factor.is_some()),
            ("--two-sided-factor", self.two_sided_factor.is_some()),
            ("--budget-pages-per-site-day", self.budget_pages_per_site_day.is_some()),
            (
                "--budget-pages-per-person-week",
                self.budget_pages_per_person_week.is_some(),
            ),
            ("--persons", self.persons.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => bail!("{name} is for --method fleet-replay"),
            None => Ok(()),
        }
    }
}
