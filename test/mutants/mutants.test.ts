import { assert, describe, it } from "@effect/vitest"
import type { DeciderLaws } from "effect-decider/testing"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { account } from "./account.ts"
import { cart } from "./cart.ts"
import { adapt, combine, compose, many } from "./combinators.ts"
import type { Mutant, Subject } from "./Mutant.ts"
import { orders } from "./process.ts"
import { invoices } from "./upcasters.ts"

const subjects: ReadonlyArray<Subject> = [cart, account, many, compose, combine, adapt, orders, invoices]

/** What became of a mutant. Looked at once, since a check takes a moment. */
const verdictOf = (mutant: Mutant): string => {
  const known = verdicts.get(mutant) ?? verdict(mutant.check())
  verdicts.set(mutant, known)
  return known
}
const verdicts = new Map<Mutant, string>()

const verdict = ({ failure }: DeciderLaws.Report<unknown, unknown, unknown>): string => {
  if (failure === undefined) {
    return "survives"
  }
  switch (failure._tag) {
    case "Violated":
      return failure.name === undefined ? failure.law : `${failure.law}: ${failure.name}`
    case "Unreached":
      return `unreached: ${[...failure.commands, ...failure.events, ...failure.laws].slice(0, 3).join(", ")}`
    default:
      return failure._tag
  }
}

describe.each(subjects)("$name", ({ check, mutants }) => {
  it("keeps the laws", () => {
    assert.isUndefined(check().failure)
  })

  it.each(mutants)("$bug", (mutant) => {
    const seen = verdictOf(mutant)
    assert.strictEqual(seen === "survives", mutant.survives !== undefined, seen)
  })
})

describe("the kit", () => {
  const all = subjects.flatMap(({ mutants }) => mutants)

  it("kills nearly all of many mutants", () => {
    const survivors = all.filter(({ survives }) => survives !== undefined)
    assert.isAtLeast(all.length, 40)
    assert.isAtLeast((all.length - survivors.length) / all.length, 0.95)
  })

  it("kills them for the reason that is written down", () => {
    const table = [
      "# Mutants",
      "",
      "Deciders and combinators with one mistake each, and the law that finds it with the default seed. Written by",
      "`UPDATE_MUTANTS=1 npx vitest run test/mutants`, and compared by the test.",
      ...subjects.flatMap(({ mutants, name }) => [
        "",
        `## ${name[0]!.toUpperCase()}${name.slice(1)}`,
        "",
        "| what is wrong | found by |",
        "|---|---|",
        ...mutants.map(
          (mutant) =>
            `| ${mutant.bug} | ${verdictOf(mutant)}${mutant.survives === undefined ? "" : `: ${mutant.survives}`} |`
        )
      ]),
      ""
    ].join("\n")
    const file = Path.join(import.meta.dirname, "README.md")
    if (process.env["UPDATE_MUTANTS"] === "1") {
      Fs.writeFileSync(file, table)
    }
    assert.strictEqual(table, Fs.readFileSync(file, "utf8"))
  })
})
