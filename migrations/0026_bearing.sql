-- The bearing that a sensor listens to, by its geometry: where its faults would show. JSON of a `Bearing`; null: not known.
alter table sensor add column bearing jsonb;
