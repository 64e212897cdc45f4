-- A campaign ends when it has looked through the certificates after every attempt had ended that it may have to revoke: those opened before
-- this time, and what took their place. Decided when its second pass begins.
alter table revocation_campaign add column awaited_until timestamptz;
-- Whether such an attempt was open when the present pass began.
alter table revocation_campaign add column awaits boolean not null default false;

-- Who ended it before it was through, and why.
alter table revocation_campaign
  add column stopped_by text,
  add column stop_reason text,
  add check ((stopped_by is null) = (stop_reason is null)),
  add check (stopped_by is null or ended_at is not null);

create index revocation_campaign_running_of_namespace on revocation_campaign (namespace) where ended_at is null;
