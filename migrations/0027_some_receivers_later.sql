-- A mail can be taken for some of its receivers and put off for others: those it is still owed to. Null: all of them.
alter table delivery add column remaining text[] check (remaining <> '{}');
