/**
 * The isolation level that a function of the PostgreSQL store relies on.
 */

/**
 * A statement that fails unless each statement sees what was committed before it began.
 */
export const readCommitted = (what: string): string =>
  `if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception '${what} needs the isolation level READ COMMITTED, not %',
      upper(current_setting('transaction_isolation')) using errcode = '25001';
  end if;`
