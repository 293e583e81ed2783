/**
 * Which statements bring the tables of a store up to what this program needs.
 *
 * Migrations are numbered from 1 without a gap. A released one never changes, not even in white space: databases out there
 * were made by it, and `test/golden` holds its text. What has to change is changed by a further one.
 */
import * as Result from "effect/Result"

/**
 * A step: its statements run one by one in a transaction.
 */
export interface Migration {
  readonly id: number
  readonly name: string
  readonly statements: ReadonlyArray<string>
}

/**
 * What to do about the tables when a store is opened.
 *
 * - `auto`: create them or bring them up to date. Safe when many processes start at once.
 * - `check`: look, and refuse to open a store whose tables are not those this program needs.
 * - `off`: nothing at all.
 */
export type Mode = "auto" | "check" | "off"

/**
 * The migrations that are missing in a database at version `found`, which is 0 when there is nothing yet; or why the store
 * must not be opened. `where` names the place, for the message.
 */
export const missing = (options: {
  readonly migrations: ReadonlyArray<Migration>
  readonly found: number
  readonly mode: Mode
  readonly where: string
}): Result.Result<ReadonlyArray<Migration>, string> => {
  const { found, migrations, mode, where } = options
  const needed = migrations.length
  if (found > needed) {
    return Result.fail(
      `${where} is at version ${found}, made by a newer release; this program knows version ${needed} and older ones. ` +
        "Deploy the newer release of the program, or use another place"
    )
  }
  if (mode === "check" && found < needed) {
    return Result.fail(
      (found === 0
        ? `${where} has not been set up. `
        : `${where} is at version ${found}, this program needs version ${needed}. `) +
        'Open the store once with `migrate: "auto"`, as a user who may create tables'
    )
  }
  return Result.succeed(migrations.slice(found))
}

/**
 * A migration as text, for golden files and for people who run it by hand.
 */
export const format = (migration: Migration): string =>
  `-- ${migration.id}: ${migration.name}\n\n${migration.statements.map((statement) => `${statement};\n`).join("\n")}`
