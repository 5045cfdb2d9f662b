-- The role that the dashboards read with. It sees what they show and none of the secrets: no account, session or token.
-- Run it as the owner of Tocsin's database, once more after an upgrade, then give the role a password:
--   psql tocsin -f reader.sql -c "alter role tocsin_grafana login password '...'"
-- It sees every site: who may see one alone belongs into the console.

do $$
begin
    if not exists (select from pg_roles where rolname = 'tocsin_grafana') then
        create role tocsin_grafana;
    end if;
end
$$;

alter role tocsin_grafana set default_transaction_read_only = on;
alter role tocsin_grafana set statement_timeout = '30s';

grant usage on schema public to tocsin_grafana;
grant select on
    site, machine_class, machine, sensor, commissioning,
    reading, sensor_signal, sensor_alarm,
    incident, machine_label_in_force, work_order, suppression, suppressed_page, flood, flood_incident,
    outbox, delivery, delivery_attempt,
    bundle, class_binding, audit
to tocsin_grafana;
