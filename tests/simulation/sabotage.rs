//! Ways to break the product from outside, to see that the simulation notices: in the schema, or in statements on their
//! way to the database. Nothing in the product knows of them.

use clap::ValueEnum;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// A machine forgets now and then that it has an incident open, and nothing forbids a second one
    DoubleOpen,
    /// A page now and then counts as delivered before it was sent
    LostPage,
    /// Nobody waits for a machine's lock, and nothing else holds two folds of it apart
    SkipLock,
    /// An incident that is over opens again when somebody acknowledges it
    Resurrect,
    /// A page now and then is not written to the outbox
    ForgetOutbox,
}

/// What guards a journal beside the machine's lock.
const GUARD: &str = "and s.last_seq = u.last_seq";

impl Sabotage {
    /// What is done to the schema, statements apart by empty lines.
    pub(crate) fn schema(self) -> &'static str {
        match self {
            Self::DoubleOpen => {
                "drop index incident_one_open;
                 create function forget() returns trigger language plpgsql as $$ begin
                     if new.last_seq % 11 = 0 then new.open_incident_id := null; end if;
                     return new;
                 end $$;
                 create trigger forget before update on machine_state for each row execute function forget();"
            }
            Self::LostPage => {
                "create function lose() returns trigger language plpgsql as $$ begin
                     if new.delivery_id % 7 = 0 then new.state := 'delivered'; end if;
                     return new;
                 end $$;
                 create trigger lose before insert on delivery for each row execute function lose();"
            }
            Self::SkipLock => "alter table machine_event drop constraint machine_event_pkey;",
            Self::Resurrect => {
                "create function resurrect() returns trigger language plpgsql as $$ begin
                     if old.state = 'returned_unacknowledged' and new.state = 'normal' then
                         new.state := 'active_acknowledged';
                         new.closed_at := null;
                     end if;
                     return new;
                 end $$;
                 create trigger resurrect before update on incident for each row execute function resurrect();"
            }
            Self::ForgetOutbox => {
                "create function skip() returns trigger language plpgsql as $$ begin
                     if new.outbox_id % 5 = 0 then return null; end if;
                     return new;
                 end $$;
                 create trigger skip before insert on outbox for each row execute function skip();"
            }
        }
    }

    /// What a statement becomes on its way; none when it stays as it is.
    pub(crate) fn rewrite(self, text: &str) -> Option<String> {
        if self != Self::SkipLock {
            return None;
        }
        if text.contains("from machine_state") && text.contains("for update") {
            return Some(text.replace(" for update skip locked", "").replace(" for update", ""));
        }
        text.contains(GUARD).then(|| text.replace(GUARD, ""))
    }
}
