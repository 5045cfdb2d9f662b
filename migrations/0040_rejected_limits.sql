-- Limits that were proposed on a schedule and could not be tested end as rejected, with the reason in their provenance.
alter table threshold_set drop constraint threshold_set_state_check;
alter table threshold_set add constraint threshold_set_state_check
    check (state in ('proposed', 'tested', 'approved', 'active', 'retired', 'rejected'));
