/**
 * An afternoon at the lending desk. Only this file knows which store it runs on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Stream } from "effect"
import { NewEvent, type RecordedEvent } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as Desk from "./desk.ts"

const show = (event: RecordedEvent.RecordedEvent) =>
  `  ${String(event.position).padStart(2)}  ${`${event.stream} @ ${event.version}`.padEnd(18)} ${event.type.padEnd(
    14
  )} ${JSON.stringify(event.data)}`

const afternoon = Effect.gen(function* () {
  yield* Console.log("Two books, two members, a suggestion")
  yield* Desk.acquire("17", "Emma")
  yield* Desk.acquire("18", "Ulysses")
  yield* Desk.join("ada")
  yield* Desk.join("ben")
  yield* Desk.suggest("Middlemarch")
  const twice = yield* Effect.flip(Desk.acquire("17", "Persuasion"))
  yield* Console.log(`  the barcode 17 again: ${twice._tag}: ${twice.message}`)

  yield* Console.log("\nTwo clerks look at copy 17 at the same time")
  const asAdaSees = yield* Desk.look("17")
  const asBenSees = yield* Desk.look("17")
  yield* Desk.lend(asAdaSees, "ada")
  yield* Console.log("  ada gets it")
  yield* Desk.lend(asBenSees, "ben").pipe(
    Effect.catchTag("VersionConflict", (conflict) => Console.log(`  ben does not: ${conflict.message}`))
  )
  yield* Desk.lookAndLend("17", "ben").pipe(
    Effect.catchTag("NotOnShelf", ({ barcode }) =>
      Console.log(`  ben's clerk looks again: ${barcode} is not on the shelf`)
    )
  )

  yield* Console.log("\nThe book comes back, and the answer to the first message is lost")
  const copy = yield* Desk.look("17")
  const returned = yield* NewEvent.make({ type: "CopyReturned", data: {} })
  const first = yield* Desk.takeBack(copy, returned)
  const second = yield* Desk.takeBack(copy, returned)
  yield* Console.log(`  sent once:  version ${first.version}, repeated: ${first.repeated}`)
  yield* Console.log(`  sent twice: version ${second.version}, repeated: ${second.repeated}`)

  yield* Console.log("\nOne in, one out")
  yield* Desk.note("17", "coffee on page 12")
  yield* Desk.lookAndLend("17", "ada")
  yield* Desk.lookAndLend("18", "ben")
  const swapped = yield* Effect.flip(Desk.swap("17", "18", "ada"))
  const { onShelf } = yield* Desk.look("17")
  yield* Console.log(`  ada wants to swap 17 for 18: ${swapped._tag}; 17 is ${onShelf ? "back" : "still with her"}`)

  yield* Console.log("\nEverything that happened to copy 17, in version order")
  yield* Stream.runForEach(Desk.history("17"), (event) => Console.log(show(event)))
  yield* Console.log("\nAll movements of all copies, in global order")
  yield* Stream.runForEach(Desk.movements, (event) => Console.log(show(event)))
  yield* Console.log("\nWhat ada borrowed, by tag")
  yield* Stream.runForEach(Desk.loansOf("ada"), (event) => Console.log(show(event)))
})

afternoon.pipe(Effect.provide(MemoryEventStore.layer), NodeRuntime.runMain)
