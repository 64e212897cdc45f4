-- Custody, authorities, issuance, certificates, access, audit. Times are whole seconds of the clock port unless a column says otherwise.

-- One row an act (RFC 6962 leaf bytes). The position in the tree comes later: holes and order of ids mean nothing.
create table audit_record (
  id uuid primary key,
  bytes bytea not null check (octet_length(bytes) between 2 and 65535),
  leaf_hash bytea not null check (octet_length(leaf_hash) = 32),
  transaction_id xid8 not null default pg_current_xact_id()
);

-- Bearer tokens of the REST interface: only the hash of the secret is here.
create table api_token (
  id uuid primary key,
  namespace text not null,
  role text not null check (role in ('admin', 'requester', 'viewer')),
  secret_hash bytea not null check (octet_length(secret_hash) = 32),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  created_by text not null
);

create table api_token_revocation (
  token_id uuid primary key references api_token (id),
  revoked_at timestamptz not null
);

-- A key pair in a token. Generation is by intent: the row with its CKA_ID is durable before C_GenerateKeyPair, spki and evidence come after it.
create table key_pair (
  id uuid primary key,
  namespace text not null,
  name text not null unique,
  token text not null,
  cka_id bytea not null unique check (octet_length(cka_id) = 16),
  algorithm text not null,
  purposes text[] not null,
  spki bytea,
  spki_sha256 bytea unique check (octet_length(spki_sha256) = 32),
  evidence jsonb,
  created_at timestamptz not null,
  generated_at timestamptz,
  lease_owner uuid,
  lease_until timestamptz,
  fence bigint not null default 0,
  check ((spki is null) = (generated_at is null) and (spki is null) = (spki_sha256 is null) and (spki is null) = (evidence is null))
);

-- Keys that no certificate may be issued for: the service's own, later those revoked for keyCompromise and account keys.
create table reserved_key (
  spki_sha256 bytea primary key check (octet_length(spki_sha256) = 32),
  kind text not null check (kind in ('authority')),
  reserved_at timestamptz not null
);

-- A certification authority: one key, one name, one slug that stands in its certificates' URLs for ever.
create table authority (
  slug text primary key check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
  namespace text not null,
  kind text not null check (kind in ('root', 'issuing')),
  issuer text not null references authority (slug),
  key_pair_id uuid not null unique references key_pair (id),
  certificate bytea not null,
  created_at timestamptz not null
);

-- Frozen profiles: the canonical JSON by its SHA-256. A certificate names the bytes it was made from.
create table profile_version (
  sha256 bytea primary key check (octet_length(sha256) = 32),
  name text not null,
  document text not null,
  created_at timestamptz not null
);

-- The intent: durable before the token signs. INSERT only. Attempt n + 1 is opened in the transaction that closes attempt n.
create table issuance (
  authority text not null,
  serial bytea not null check (octet_length(serial) = 16),
  request_id bytea not null check (octet_length(request_id) = 32),
  attempt integer not null check (attempt > 0),
  request_hash bytea not null check (octet_length(request_hash) = 32),
  namespace text not null,
  principal text not null,
  profile_sha256 bytea not null,
  tbs bytea not null,
  created_at timestamptz not null,
  primary key (authority, serial),
  unique (request_id, attempt)
);

create index issuance_created on issuance (created_at);

-- Every attempt opened before this time has ended: how far settling need not look back.
create table settlement (
  only_row boolean primary key default true check (only_row),
  settled_before timestamptz not null
);

insert into settlement (settled_before) values ('1970-01-01T00:00:00Z');

-- How an attempt ended, once: with a certificate, or (certificate is null) closed without one. Whoever inserts first decides.
create table certificate (
  authority text not null,
  serial bytea not null check (octet_length(serial) = 16),
  namespace text not null,
  profile text not null,
  certificate bytea,
  spki_sha256 bytea not null check (octet_length(spki_sha256) = 32),
  not_before timestamptz not null,
  not_after timestamptz not null,
  recorded_at timestamptz not null,
  primary key (authority, serial)
);

create index certificate_newest on certificate (recorded_at desc, serial desc) where certificate is not null;
create index certificate_newest_of_namespace on certificate (namespace, recorded_at desc, serial desc) where certificate is not null;
create index certificate_by_key on certificate (spki_sha256);

-- Names of certificates, DNS names reversed by label: exact look-up and everything under a domain.
create table certificate_name (
  reversed_name text not null,
  authority text not null,
  serial bytea not null,
  primary key (reversed_name, authority, serial)
);

-- What revocation reads. Closing an attempt writes its serial here, so that it is known as revoked whatever the token signed.
create table revocation (
  authority text not null,
  serial bytea not null check (octet_length(serial) = 16),
  revoked_at timestamptz not null,
  reason smallint not null,
  not_after timestamptz not null,
  primary key (authority, serial)
);

-- Append-only tables refuse UPDATE, DELETE and TRUNCATE from everyone.
create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end
$$;

create trigger audit_record_append_only before update or delete or truncate on audit_record execute function refuse_change();
create trigger issuance_append_only before update or delete or truncate on issuance execute function refuse_change();
create trigger certificate_append_only before update or delete or truncate on certificate execute function refuse_change();
create trigger revocation_append_only before update or delete or truncate on revocation execute function refuse_change();
