-- Halting issuance, revocations that were asked for under a key, and revocations of many certificates at once.

-- While a row is open nothing is issued but what the service needs for itself. Rows stay: they say who halted it, when and why.
create table issuance_halt (
  id text primary key,
  halted_at timestamptz not null,
  halted_by text not null,
  reason text not null,
  resumed_at timestamptz,
  resumed_by text,
  resume_reason text,
  check ((resumed_at is null) = (resumed_by is null) and (resumed_at is null) = (resume_reason is null))
);

create unique index issuance_halted on issuance_halt ((true)) where resumed_at is null;

-- The caller's own name for a revocation (Idempotency-Key), of whatever was revoked under it.
create table revocation_request (
  request_id bytea primary key check (octet_length(request_id) = 32),
  request_hash bytea not null check (octet_length(request_hash) = 32),
  authority text not null,
  serial bytea not null,
  recorded_at timestamptz not null
);

-- A revocation of all that a filter finds, within a namespace. Whoever holds the lock of its row does the next batch, and moves the position with it.
create table revocation_campaign (
  id text primary key,
  request_id bytea not null unique check (octet_length(request_id) = 32),
  request_hash bytea not null check (octet_length(request_hash) = 32),
  namespace text not null,
  principal text not null,
  -- What the door called the call that began it.
  door_request_id text not null,
  filter jsonb not null,
  reason smallint not null,
  created_at timestamptz not null,
  ended_at timestamptz,
  revoked bigint not null default 0,
  -- It looks through certificates by recorded_at and serial, again from shortly before its beginning, until a pass finds none.
  pass integer not null default 1,
  revoked_in_pass bigint not null default 0,
  after_recorded_at timestamptz,
  after_serial bytea,
  check ((after_recorded_at is null) = (after_serial is null))
);

create index revocation_campaign_running on revocation_campaign (created_at) where ended_at is null;
