/**
 * What a function of the PostgreSQL store relies on, as statements that fail where it is not so.
 */

/**
 * A statement that fails unless each statement sees what was committed before it began.
 */
export const readCommitted = (what: string): string =>
  `if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception '${what} needs the isolation level READ COMMITTED, not %',
      upper(current_setting('transaction_isolation')) using errcode = '25001';
  end if;`

/**
 * A statement that fails on a server that does not write.
 */
export const primary = (what: string): string =>
  `if pg_is_in_recovery() then
    raise exception '${what} needs the primary server, this is a standby' using errcode = '25006';
  end if;`
