-- What a report on alarms and pages of a period looks for.
create index incident_by_opened on incident (opened_at);
create index delivery_attempt_by_at on delivery_attempt (at) where outcome <> 'refused';
