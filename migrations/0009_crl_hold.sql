-- CRLs that a directory has and the database lacks: it was restored from a backup. Nothing follows them before an operator has agreed.
create table crl_hold (
  path text primary key references crl_slot (path),
  -- Of the newest one that was found, which the slot's authority has signed.
  number bigint not null,
  this_update timestamptz not null,
  sha256 bytea not null check (octet_length(sha256) = 32),
  held_at timestamptz not null default clock_timestamp(),
  -- How many of its revocations the database lacked; null until all of them are recorded.
  taken_over bigint check (taken_over >= 0),
  -- From then on the slot may be published in again.
  released_at timestamptz,
  check (released_at is null or taken_over is not null)
);
