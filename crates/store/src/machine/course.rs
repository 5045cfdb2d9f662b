//! The course of a machine's level, as its journal has it: what led up to an incident, and what the incident showed then.

use tocsin_domain::{IncidentId, Level, MachineId, Timestamp};

use crate::row::time;
use crate::{Result, Store};

impl Store {
    /// Levels of a machine's judged steps before an incident's first, by the start of the step, oldest first; at most the
    /// newest `most`. Of an incident that has no step yet, those written so far.
    pub async fn levels_before_incident(
        &self,
        machine: MachineId,
        incident: IncidentId,
        most: u32,
    ) -> Result<Vec<(Timestamp, Level)>> {
        let rows = sqlx::query!(
            r#"select (payload->>'step')::timestamptz as "step!", (payload->>'level')::real as "level!"
               from machine_event
               where machine_id = $1 and kind = 'step' and payload->>'level' is not null
                 and seq < coalesce((select min(seq) from machine_event where incident_id = $2), 9223372036854775807)
               order by seq desc limit $3"#,
            machine.0,
            incident.0,
            i64::from(most),
        )
        .fetch_all(&self.pool)
        .await?;
        let levels = rows.into_iter().rev();
        Ok(levels.map(|row| (row.step.into(), Level(row.level))).collect())
    }

    /// The median level of the last steps of an incident before a time, or of its first steps where it has none before, and
    /// when the last of them was; none where its journal has no judged step.
    pub async fn incident_level_around(&self, incident: IncidentId, at: Timestamp) -> Result<Option<(Timestamp, f32)>> {
        let row = sqlx::query!(
            r#"with steps as (
                   select at, (payload->>'level')::real as level from machine_event
                   where incident_id = $1 and kind = 'step' and payload->>'level' is not null),
               before as (select * from steps where at <= $2 order by at desc limit 9),
               first as (select * from steps order by at limit 9),
               taken as (select * from before union all select * from first where not exists (select 1 from before))
               select max(at) as "at?", percentile_disc(0.5) within group (order by level) as "level?" from taken"#,
            incident.0,
            time(at),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(row.at.map(Timestamp::from).zip(row.level))
    }
}
