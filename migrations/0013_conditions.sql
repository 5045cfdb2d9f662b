-- Baselines know how their sensor's spectra go with speed and load, and in which conditions that was learned. As the
-- detectors write it; null: the readings it was learned on told neither.
alter table baseline add column trend bytea;
