/**
 * A visit to the auction house, by HTTP: what a client sends and what it gets.
 */
import { Console, Effect } from "effect"
import { HttpApiClient } from "effect/http-api"
import { Api, type Entry } from "./api.ts"
import { bid } from "./client.ts"

const euros = (cents: number) => (cents / 100).toFixed(2)

const line = (what: string, answer: string) => Console.log(`  ${what.padEnd(44)} ${answer}`)

/** Says what came of a command: its receipt, or the problem by its name. */
const told = <E extends { readonly _tag: string; readonly message: string }, R>(
  what: string,
  command: Effect.Effect<{ readonly body: { readonly version: number } }, E, R>
) =>
  command.pipe(
    Effect.match({
      onSuccess: ({ body }) => `version ${body.version}`,
      onFailure: ({ _tag, message }) => `${_tag}: ${message}`
    }),
    Effect.flatMap((answer) => line(what, answer))
  )

export const visit = Effect.fnUntraced(function* (baseUrl: string) {
  const client = yield* HttpApiClient.make(Api, { baseUrl })
  const { commands, queries } = client
  const known = (yield* queries.lots({ headers: {}, query: {} })).body ?? []
  const number = `${known.length + 1}`
  const params = { number }

  yield* Console.log(`${known.length} lots in the catalogue. A violin comes in as lot ${number}`)
  const consignment = { params, headers: {}, payload: { seller: "ada", title: "A violin", start: 100_00 } }
  const consigned = yield* commands.consign(consignment)
  yield* line("it is consigned", `version ${consigned.body.version}`)
  yield* told("once more, which changes nothing", commands.consign(consignment))

  yield* Console.log("\nTwo clerks open the same form")
  const form = yield* queries.lot({ params, headers: {}, query: { after: consigned.body.position } })
  const save = (title: string) =>
    commands.describe({ params, headers: { "if-match": Number(form.headers.etag.slice(1, -1)) }, payload: { title } })
  yield* told("the first one saves", save("A violin, about 1750"))
  yield* told("the second one saves", save("A fiddle"))
  yield* told(
    "somebody saves without having looked",
    commands.describe({ params, headers: {}, payload: { title: "Wood" } })
  )

  yield* Console.log("\nBids")
  const ben = (amount: number) => ({
    params,
    headers: { "idempotency-key": "ben-1" },
    payload: { bidder: "ben", amount }
  })
  yield* told("Ben bids 100.00", commands.bid(ben(100_00)))
  yield* told("his answer got lost, he sends it again", commands.bid(ben(100_00)))
  yield* told("with the same key he bids 200.00", commands.bid(ben(200_00)))
  yield* told("Cleo bids 105.00", bid(client, number, { bidder: "cleo", amount: 105_00 }))
  yield* told("Ada bids for her own violin", bid(client, number, { bidder: "ada", amount: 500_00 }))

  const crowd = yield* Effect.forEach(
    Array.from({ length: 16 }, (_, i) => 110_00 + i * 5_00),
    (amount) => Effect.exit(bid(client, number, { bidder: "somebody", amount })),
    { concurrency: "unbounded" }
  )
  const taken = crowd.filter(({ _tag }) => _tag === "Success").length
  yield* Console.log(
    `  Sixteen at once: ${taken} were taken, ${crowd.length - taken} were too low when their turn came`
  )

  const { body: receipt } = yield* bid(client, number, { bidder: "cleo", amount: 400_00 })
  yield* Console.log("\nThe catalogue")
  const query = { after: receipt.position }
  const show = ({ bidder, bids, price, status, title }: Entry) =>
    Console.log(`  ${title}: ${status}, ${bids} bids, ${euros(price)} by ${bidder}`)
  const shown = yield* queries.lot({ params, headers: {}, query })
  yield* Effect.forEach(shown.body === undefined ? [] : [shown.body], show)
  const again = yield* queries.lot({ params, headers: { "if-none-match": shown.headers.etag }, query })
  yield* Console.log(
    `  asked again with its ETag ${shown.headers.etag}: ${again.body === undefined ? "not modified" : "changed"}`
  )

  yield* Console.log("\nThe hammer falls")
  const end = yield* commands.hammer({ params, headers: {} })
  yield* told("Dan bids 1000.00", bid(client, number, { bidder: "dan", amount: 1000_00 }))
  const sold = yield* queries.lot({ params, headers: {}, query: { after: end.body.position } })
  yield* Effect.forEach(sold.body === undefined ? [] : [sold.body], show)
})
