-- CRLs: a slot for every CRL that certificates name, and what was published in it, in parts.

-- One publication. Its parts are written before it stands in a slot; the sweep takes those that never did, and those that are over.
create table crl_publication (
  id uuid primary key,
  path text not null,
  -- The fence of the lease under which it was made: once the slot has another one, it cannot be published any more.
  fence bigint not null
);

-- The bytes of a publication. `position` 0 is the head of the outer SEQUENCE, which depends on the signature and is written last.
create table crl_part (
  publication uuid not null references crl_publication (id) on delete cascade,
  position integer not null check (position >= 0),
  bytes bytea not null check (octet_length(bytes) between 1 and 1048576),
  primary key (publication, position)
);
-- A signature's neighbours gain nothing from compression, and reading is faster without.
alter table crl_part alter column bytes set storage external;

-- The scope of a CRL, which is for ever: the full CRL of an authority (shard is null), or one of its shards.
create table crl_slot (
  -- Its place below /crl/ without the suffix: issuing-1, issuing-1/7.
  path text primary key,
  authority text not null references authority (slug),
  shard smallint check (shard >= 0),
  -- Of a shard: its URL as certificates and its issuingDistributionPoint have it, octet by octet (RFC 5280 §5.2.5).
  url text,
  -- Who makes its next CRL, in the server's time; the fence grows with each lease.
  lease_owner uuid,
  lease_until timestamptz,
  fence bigint not null default 0,
  -- What is published: null until the first.
  publication uuid references crl_publication (id),
  number bigint,
  this_update timestamptz,
  next_update timestamptz,
  entries integer check (entries >= 0),
  octets bigint,
  -- Of the whole DER.
  sha256 bytea check (octet_length(sha256) = 32),
  -- What its entries were read from: a revocation that it does not show is new.
  snapshot pg_snapshot,
  -- The publication before it, kept for those who are reading it.
  previous uuid references crl_publication (id),
  unique nulls not distinct (authority, shard),
  check ((shard is null) = (url is null)),
  check (path = authority || coalesce('/' || shard, '')),
  check (num_nulls(publication, number, this_update, next_update, entries, octets, sha256, snapshot) in (0, 8)),
  check (this_update < next_update)
);

create index crl_slot_publication on crl_slot (publication);
create index crl_slot_previous on crl_slot (previous);

-- What was published is followed by what is newer, whoever writes (RFC 5280 §5.2.3, §5.1.2.4).
create function refuse_older_crl() returns trigger language plpgsql as $$
begin
  if (new.path, new.authority, new.shard, new.url) is distinct from (old.path, old.authority, old.shard, old.url) then
    raise exception 'the scope of a CRL does not change' using errcode = 'restrict_violation';
  end if;
  if new.publication is distinct from old.publication and (new.number <= old.number or new.this_update < old.this_update) then
    raise exception 'a CRL is followed by one with a greater number and no earlier thisUpdate' using errcode = 'restrict_violation';
  end if;
  return new;
end
$$;

create trigger crl_slot_order before update on crl_slot for each row execute function refuse_older_crl();
create trigger crl_slot_stays before delete or truncate on crl_slot execute function refuse_change();
