-- Until when every reading of a machine is folded though nothing is open: a flagged reading that came too late, or from a
-- spool that was still catching up, decided nothing itself and counts in the windows of those that come after it.
alter table machine_state add column hot_until timestamptz;
