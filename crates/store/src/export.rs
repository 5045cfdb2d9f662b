//! Whole tables as JSON, one row a line, all as of one moment.
//!
//! Not checked at compile time: the tables are named by this file, and a row is whatever columns its table has. What people sign
//! in with (accounts, sessions, tokens) is in none of them.

use sqlx::{AssertSqlSafe, Executor};

use crate::{Result, Store, Transaction};

/// The tables that are exported, with the words for what is in them.
pub const TABLES: [(&str, &str); 36] = [
    ("site", "sites"),
    ("machine_class", "machine classes"),
    ("class_severity_zones", "severity zones of classes"),
    ("spectrum_spec", "spectrum specs"),
    ("machine", "machines"),
    ("device", "devices"),
    ("sensor", "sensors"),
    ("bundle", "model versions"),
    ("scorer_build", "builds of the scorer"),
    ("class_binding", "what judged a class, and when"),
    ("threshold_set", "threshold sets"),
    ("threshold_agreement", "who asked for and approved threshold sets"),
    ("threshold_round", "rounds that proposed threshold sets"),
    ("training_job", "training jobs"),
    ("commissioning", "commissioning of sensors"),
    ("baseline", "baselines"),
    ("following_group", "following groups"),
    ("following_round", "following rounds"),
    ("incident", "incidents"),
    ("machine_event", "journals of machines"),
    ("evidence", "evidence of incidents"),
    ("machine_label", "labels"),
    ("suppression", "shelvings"),
    ("suppressed_page", "suppressed pages"),
    ("work_order", "work orders"),
    ("incident_review", "reviews of incidents"),
    ("incident_filter", "saved filters of incidents"),
    ("outbox", "pages"),
    ("delivery", "deliveries of pages"),
    ("delivery_attempt", "attempts at delivery"),
    ("flood", "floods"),
    ("flood_incident", "incidents of floods"),
    ("sensor_alarm", "alarms about sensors"),
    ("sensor_alarm_event", "journals of alarms about sensors"),
    ("reading_rescored", "scores given later"),
    ("audit", "audit entries"),
];

/// Rows fetched at a time.
const ROWS: u32 = 1_000;

/// The database as of one moment.
#[derive(Debug)]
pub struct Snapshot(Transaction);

impl Store {
    /// Holds on to this moment. As long as it is held, Postgres keeps what is deleted meanwhile.
    pub async fn export_snapshot(&self) -> Result<Snapshot> {
        let mut transaction = self.begin().await?;
        transaction
            .execute("set transaction isolation level repeatable read, read only")
            .await?;
        Ok(Snapshot(transaction))
    }
}

impl Snapshot {
    /// Begins to read one of [`TABLES`].
    pub async fn open(&mut self, table: &'static str) -> Result<()> {
        let statement = format!("declare exported no scroll cursor for select row_to_json(t)::text from {table} t");
        self.0.execute(AssertSqlSafe(statement)).await?;
        Ok(())
    }

    /// The next rows of it; none left when empty.
    pub async fn next(&mut self) -> Result<Vec<String>> {
        let statement = format!("fetch {ROWS} from exported");
        Ok(sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_all(&mut *self.0)
            .await?)
    }

    /// Ends with a table, so that another can be opened.
    pub async fn close(&mut self) -> Result<()> {
        self.0.execute("close exported").await?;
        Ok(())
    }
}
