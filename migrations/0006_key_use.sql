-- One key is an account's or a certificate's, also where both ask in the same instant (RFC 8555 §11.1): each takes the key's lock, and looks for the
-- other once it has it. Accounts look in a statement of their own, intents in these functions: a volatile one sees what was committed until it
-- looks, the statement that calls it what was committed before it began.

-- Takes the lock of a key, by its SHA-256, alone, until the transaction ends.
create function lock_key(key bytea) returns void language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(encode(key, 'hex'), 0));
end;
$$;

-- Whether a key may be in no certificate. Until the transaction ends the answer stands: the lock is shared by all who put the key into certificates.
create function key_is_reserved(key bytea) returns boolean language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended(encode(key, 'hex'), 0));
  return exists (select from reserved_key where spki_sha256 = key);
end;
$$;
