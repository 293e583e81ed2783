/**
 * A day in a tea shop, on event-sourced deciders. `npm run demo`, then again, and with `-- --postgres` or `-- --memory`.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Redacted } from "effect"
import { EventStore, Subscription } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { accessSync, constants, mkdirSync } from "node:fs"
import { parseArgs } from "node:util"
import { fromEnvironment } from "../../scripts/EmbeddedPostgres.ts"
import * as Books from "./books.ts"
import * as Counter from "./counter.ts"
import { bold, cyan, dim, green, line, money, number, progress, red, unread, yellow } from "./terminal.ts"

const usage = `npm run demo -- [--memory | --sqlite | --postgres] [--orders N]

  --sqlite      the default: events in ./data/shop.db
  --postgres    a PostgreSQL started here with its data in ./data/postgres, or the one of DATABASE_URL
  --memory      nothing is kept
  --orders N    how many customers come that day; 400 by default`

const options = {
  memory: { type: "boolean" },
  sqlite: { type: "boolean" },
  postgres: { type: "boolean" },
  orders: { type: "string", default: "400" },
  help: { type: "boolean" }
} as const

const readArguments = () => {
  try {
    const { values } = parseArgs({ options })
    if ([values.memory, values.sqlite, values.postgres].filter(Boolean).length > 1) {
      throw new Error("One store at a time: --memory, --sqlite or --postgres")
    }
    const orders = Number(values.orders)
    if (!Number.isSafeInteger(orders) || orders < 1) {
      throw new Error(`--orders takes a number from 1, not "${values.orders}"`)
    }
    return { ...values, orders }
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`)
    process.exit(2)
  }
}

const args = readArguments()
if (args.help) {
  console.log(usage)
  process.exit(0)
}

const makeFolder = Effect.sync(() => {
  try {
    mkdirSync("data", { recursive: true })
    accessSync("data", constants.W_OK)
  } catch (error) {
    console.error(
      `Cannot write to ./data: ${error instanceof Error ? error.message : error}\n` +
        "Run the demo in a folder you may write to, or with `-- --memory`."
    )
    process.exit(1)
  }
})

const where = args.memory
  ? { name: "memory (nothing is kept)", layer: MemoryEventStore.layer }
  : args.postgres
    ? {
        name: "PostgreSQL",
        layer: Layer.unwrap(
          Effect.gen(function* () {
            yield* makeFolder
            const { url } = yield* fromEnvironment({ directory: "data/postgres" })
            return PgEventStore.layer({ url: Redacted.make(url) })
          })
        )
      }
    : {
        name: "SQLite, data/shop.db",
        layer: Layer.unwrap(Effect.as(makeFolder, SqliteEventStore.layer({ filename: "data/shop.db" })))
      }

const day = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  yield* Books.upTo(yield* store.head)
  const before = yield* Books.now
  const today = before.isOpen ? before.day : before.day + 1
  line(`\n${bold("The tea shop")} ${dim(`· ${where.name}`)}`)
  if (before.events > 0) {
    line(dim(`  ${number(before.events)} events from before are in the books`))
  }
  if (before.isOpen) {
    line(yellow(`  Day ${today} was interrupted, or another demo is at it. Going on where it stands.`))
  } else {
    yield* Counter.open(today, args.orders)
    yield* Books.upTo(yield* store.head)
  }

  const { orders: total } = yield* Books.now
  const known = yield* Books.list(Books.Orders, `${today}.`)
  const waiting = Array.from({ length: total }, (_, i) => i + 1).filter((nr) => !known.has(`${today}.${nr}`))
  line(
    `\n${bold(`Day ${today}`)}: ${number(waiting.length)} customers` +
      (waiting.length < total ? ` of ${number(total)} are still to be served` : "") +
      `, sixteen at a time ${dim(`· kill -9 ${process.pid} and start again, if you like`)}`
  )

  // Paid for, but the program was killed before the coin fell.
  yield* Effect.forEach(
    [...known].filter(([, { coins, placed }]) => placed !== null && coins === 0),
    ([order]) => Counter.tip(order),
    { discard: true }
  )

  let done = total - waiting.length
  let declined = 0
  let elsewhere = 0
  let shown = 0
  const started = performance.now()
  const told = new Set<string>()
  yield* Effect.forEach(
    waiting,
    (nr) =>
      Effect.gen(function* () {
        // The memory store answers at once: without a pause for what comes from outside, Ctrl-C would wait for the evening.
        yield* Effect.yieldNow
        const wish = yield* Counter.wish(today, nr)
        const outcome = yield* Counter.serve(wish)
        done++
        declined += outcome._tag === "Declined" ? 1 : 0
        elsewhere += outcome._tag === "Elsewhere" ? 1 : 0
        const kind = outcome._tag === "Declined" ? outcome.reason.replace(/\d+/, "n") : outcome._tag
        // The first orders of a day, and the first of each other kind, are worth a line.
        if (shown < 4 || (outcome._tag !== "Placed" && !told.has(kind))) {
          shown++
          told.add(kind)
          line(said(wish, outcome))
        }
        progress(done, total, `${number(done)} of ${number(total)} served, ${number(declined)} declined`)
      }),
    { concurrency: 16, discard: true }
  )
  const seconds = (performance.now() - started) / 1000
  const closed = yield* Counter.close(today)
  yield* Books.upTo(closed)
  const { events } = yield* Books.now
  const orders = [...(yield* Books.list(Books.Orders)).values()]
  printBooks(
    yield* Books.list(Books.Teas),
    events,
    orders.reduce((coins, order) => coins + order.coins, 0)
  )
  const problems = yield* Books.audit
  for (const problem of problems ?? []) {
    line(red(`  ✗ ${problem}`))
  }
  if (problems === undefined) {
    line(yellow("  Another demo is still writing; it will look whether the books agree."))
  } else if (problems.length === 0) {
    const placed = orders.filter((order) => order.placed !== null).length
    line(green(`  ✓ the books agree: ${number(placed)} orders placed, each charged once, nothing oversold`))
    line(green("  ✓ and the same comes of folding all events anew"))
  }
  const recorded = events - before.events
  line(
    `\n  ${number(recorded)} events · ${number(declined)} refusals · ${number(Counter.racesLost.count)} lost races decided ` +
      `again · ${number(recorded / seconds)} events/s` +
      (elsewhere === 0 ? "" : ` · ${number(elsewhere)} customers served elsewhere`)
  )
  line(dim(args.memory ? "" : `  Run it again: day ${today + 1} follows.`))
  if (problems !== undefined && problems.length > 0) {
    process.exitCode = 1
  }
})

const said = ({ customer, price, product, units }: Counter.Wish, outcome: Counter.Outcome): string => {
  switch (outcome._tag) {
    case "Placed":
      return `  ${green("✓")} ${customer} buys ${units} × ${product} for ${money(units * price)}`
    case "Declined":
      return `  ${red("✗")} ${customer} wants ${units} × ${product}: ${outcome.reason}`
    case "Elsewhere":
      return `  ${yellow("–")} ${customer} was served by another demo on the same data`
  }
}

const printBooks = (teas: Map<string, Books.Line>, events: number, coins: number): void => {
  line(`\n${bold("The books")} ${dim(`after ${number(events)} events`)}\n`)
  line(
    dim(
      `  ${"tea".padEnd(12)}${"delivered".padStart(10)}${"sold".padStart(8)}${"left".padStart(8)}${"revenue".padStart(14)}`
    )
  )
  let revenue = 0
  for (const [product, { delivered, revenue: earned, sold }] of [...teas].toSorted(([a], [b]) => a.localeCompare(b))) {
    revenue += earned
    line(
      `  ${product.padEnd(12)}${number(delivered).padStart(10)}${number(sold).padStart(8)}` +
        `${number(delivered - sold).padStart(8)}${money(earned).padStart(14)}`
    )
  }
  line(
    `  ${bold("total".padEnd(38) + money(revenue).padStart(14))}   ${cyan(`${number(coins)} coins in the tip jar`)}\n`
  )
}

const live = Layer.mergeAll(Counter.layer, Books.layer, Subscription.layer).pipe(Layer.provideMerge(where.layer))

// What the program expects may fail is told in a sentence. A defect keeps its stack.
const failed = (error: Error) =>
  Effect.sync(() => {
    line()
    console.error(red(error.message))
    process.exitCode = 1
  })

day.pipe(Effect.raceFirst(unread), Effect.provide(live), Effect.catch(failed), NodeRuntime.runMain)
