-- ACME (RFC 8555): accounts, orders, authorizations, challenges. Ids are 128 random bits in base64url, 22 characters.

-- Account keys may be in no certificate (RFC 8555 §11.1), and keys proven compromised in none either.
alter table reserved_key drop constraint reserved_key_kind_check;
alter table reserved_key add constraint reserved_key_kind_check check (kind in ('authority', 'account', 'compromised'));
create index reserved_key_compromised on reserved_key (spki_sha256) where kind = 'compromised';

-- Whether the dates were asked for: then they stand in the certificate as they are, however late it is signed.
alter table issuance add column exact_dates boolean not null default false;

-- Credentials of external account binding (RFC 8555 §7.3.4).
create table acme_external_account_key (
  id text primary key,
  namespace text not null,
  directory text not null,
  mac_key bytea not null check (octet_length(mac_key) >= 32),
  -- How many accounts may be made with it; null: any number.
  uses_allowed integer check (uses_allowed > 0),
  uses integer not null default 0,
  -- What its accounts may ask for; both null: whatever the directory allows; one null: nothing of its kind.
  names text[],
  ip_ranges text[],
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  check (uses_allowed is null or uses <= uses_allowed)
);

-- The id stands in the account's URL, which is an identity: it never changes.
create table acme_account (
  id text primary key,
  directory text not null,
  namespace text not null,
  jwk jsonb not null,
  -- RFC 7638, SHA-256 in base64url.
  thumbprint text not null,
  status text not null check (status in ('valid', 'deactivated', 'revoked')),
  contact text[] not null,
  -- URL of the terms that were agreed to.
  terms_agreed text,
  external_account_key text references acme_external_account_key (id),
  -- The binding as it was sent: a JWS object.
  external_account_binding jsonb,
  created_at timestamptz not null,
  unique (directory, thumbprint)
);

create index acme_account_newest on acme_account (namespace, created_at desc, id desc);

-- What was asked for. The status is derived from the authorizations and from the attempt that stands under request_id.
create table acme_order (
  id text primary key,
  account_id text not null references acme_account (id),
  -- The identity of its issuance, known before it begins.
  request_id bytea not null unique check (octet_length(request_id) = 32),
  -- [{"type", "value"}], canonical and sorted; wildcards with "*.".
  identifiers jsonb not null,
  profile text not null,
  not_before timestamptz,
  not_after timestamptz,
  -- certID of the certificate this order replaces (RFC 9773 §5), as it was given.
  replaces text,
  -- Why it is invalid: a problem document. Null while it is not.
  error jsonb,
  created_at timestamptz not null,
  expires_at timestamptz not null
);

create index acme_order_of_account on acme_order (account_id, created_at desc, id desc);
create index acme_order_expiry on acme_order (expires_at);

-- The open order of each set of account, identifiers, profile, dates and replaced certificate: equal requests meet here.
create table acme_open_order (
  digest bytea primary key check (octet_length(digest) = 32),
  order_id text not null references acme_order (id) on delete cascade deferrable initially deferred
);

create index acme_open_order_id on acme_open_order (order_id);

-- Which order replaces a certificate (RFC 9773 §5). Outlives the order where that was issued, until the certificate itself is over.
create table acme_replacement (
  authority text not null,
  serial bytea not null,
  order_id text not null,
  expires_at timestamptz not null,
  primary key (authority, serial)
);

create index acme_replacement_order on acme_replacement (order_id);
create index acme_replacement_expiry on acme_replacement (expires_at);

create table acme_authorization (
  id text primary key,
  account_id text not null references acme_account (id),
  type text not null check (type in ('dns', 'ip')),
  -- Canonical, without "*.".
  value text not null,
  wildcard boolean not null,
  -- Past expires_at it reads as expired.
  status text not null check (status in ('pending', 'valid', 'invalid', 'deactivated', 'revoked')),
  created_at timestamptz not null,
  expires_at timestamptz not null
);

create index acme_authorization_of_name on acme_authorization (account_id, type, value, wildcard, expires_at desc);
create index acme_authorization_expiry on acme_authorization (expires_at);

create table acme_order_authorization (
  order_id text not null references acme_order (id) on delete cascade,
  position smallint not null,
  authorization_id text not null references acme_authorization (id),
  primary key (order_id, position)
);

create index acme_order_authorization_back on acme_order_authorization (authorization_id);

create table acme_challenge (
  id text primary key,
  authorization_id text not null references acme_authorization (id) on delete cascade,
  position smallint not null,
  type text not null,
  -- 32 random octets in base64url.
  token text not null check (length(token) = 43),
  status text not null check (status in ('pending', 'processing', 'valid', 'invalid')),
  -- Built when the response arrived, from the account key of that moment (RFC 8555 §8.3).
  key_authorization text,
  error jsonb,
  validated_at timestamptz,
  -- Attempts that found no answer.
  attempts smallint not null default 0,
  attempted_at timestamptz,
  next_attempt_at timestamptz,
  -- Whose turn it is, by a name of that turn alone; times of the server.
  lease_owner text,
  lease_until timestamptz,
  -- What was asked and seen, without a received octet.
  evidence jsonb,
  unique (authorization_id, position),
  check ((status = 'processing') = (next_attempt_at is not null)),
  check (status = 'pending' or key_authorization is not null)
);

-- One challenge of an authorization is validated at a time (RFC 8555 §7.1.6: the first that is met decides).
create unique index acme_challenge_at_work on acme_challenge (authorization_id) where status = 'processing';

create index acme_challenge_due on acme_challenge (next_attempt_at) where status = 'processing';

-- Keys that seal nonces: every instance has them. A key seals from a minute after its creation, and is honoured long after its successor does.
create table acme_nonce_key (
  id smallint primary key check (id between 0 and 255),
  secret bytea not null check (octet_length(secret) = 32),
  created_at timestamptz not null
);

-- Spent nonces, by the hour they were minted in, modulo 3. Unlogged: a crash of the server empties them, and the epoch with them.
create table acme_nonce (
  slot smallint not null,
  nonce bytea not null,
  primary key (slot, nonce)
) partition by list (slot);

create unlogged table acme_nonce_0 partition of acme_nonce for values in (0);
create unlogged table acme_nonce_1 partition of acme_nonce for values in (1);
create unlogged table acme_nonce_2 partition of acme_nonce for values in (2);

-- The one row is lost with the spent nonces: nonces of an earlier epoch are refused.
create unlogged table acme_nonce_epoch (
  only_row boolean primary key default true check (only_row),
  epoch bytea not null check (octet_length(epoch) = 4)
);

-- Token buckets of rate limits. Unlogged: a crash refills them.
create unlogged table acme_bucket (
  key text primary key,
  tokens double precision not null,
  refilled_at timestamptz not null
);
