-- Revocation status: what CRLs and OCSP answers are made from.

-- Which shard of its authority's CRL a certificate's distribution point names; null: the full CRL. Decided once, with the serial.
alter table issuance add column shard smallint check (shard >= 0);

alter table revocation add column shard smallint check (shard >= 0);
-- Of the transaction that wrote or changed the row: readers ask for what their last snapshot did not show, so no late commit is missed.
alter table revocation add column transaction_id xid8 not null default pg_current_xact_id();

create index revocation_transaction on revocation (transaction_id);
create index revocation_of_shard on revocation (authority, shard, serial) include (not_after, revoked_at, reason) where shard is not null;

-- A revocation is for good. What may become known later is that the key was compromised, and since when (CAB Forum BR 7.2.2).
create function refuse_other_revocation() returns trigger language plpgsql as $$
begin
  if (new.authority, new.serial, new.not_after, new.shard) is distinct from (old.authority, old.serial, old.not_after, old.shard)
    or old.reason = 1 or new.reason <> 1 or new.revoked_at > old.revoked_at
  then
    raise exception 'a revocation changes to keyCompromise and in no other way' using errcode = 'restrict_violation';
  end if;
  new.transaction_id := pg_current_xact_id();
  return new;
end
$$;

drop trigger revocation_append_only on revocation;
create trigger revocation_append_only before delete or truncate on revocation execute function refuse_change();
create trigger revocation_change before update on revocation for each row execute function refuse_other_revocation();
