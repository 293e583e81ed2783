/**
 * A decider by itself, then the same kind of thing behind an event store. Only this file picks the store.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Result, Stream } from "effect"
import { Category, Decider, EventStore } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import { Light, type LightCommand } from "./light.ts"
import { MachineCategory, Machines } from "./machines.ts"
import { Command, type Event } from "./vending.ts"

const { Choose, InsertCoin, ReturnCoins, Scrap, Stock } = Command.cases

const tags = (events: ReadonlyArray<{ readonly _tag: string }>) =>
  events.length === 0 ? "nothing to do" : events.map(({ _tag }) => _tag).join(", ")

// Pure: three calls of functions.
const light = Effect.gen(function* () {
  yield* Console.log("A light switch, without any store")
  const flick: ReadonlyArray<LightCommand> = [{ _tag: "TurnOn" }, { _tag: "TurnOn" }, { _tag: "TurnOff" }]
  let state = Light.initialState
  for (const command of flick) {
    const events = Result.getOrThrow(Light.decide(command, state))
    state = Decider.foldFrom(Light, state, events)
    yield* Console.log(`  ${command._tag.padEnd(8)} → ${tags(events).padEnd(14)} the light is ${state}`)
  }
})

const euros = (cents: number) => (cents / 100).toFixed(2)

const detail = (event: Event) => {
  switch (event._tag) {
    case "Stocked":
      return `Stocked ${event.units} × ${event.slot} at ${euros(event.price)}`
    case "CoinInserted":
      return `CoinInserted ${euros(event.coin)}`
    case "ItemSold":
      return `ItemSold ${event.slot} for ${euros(event.price)}`
    case "CoinsReturned":
      return `CoinsReturned ${euros(event.amount)}`
    case "Scrapped":
      return "Scrapped"
  }
}

// Effectful: `execute` loads the stream, folds it, decides, and appends.
const machine = Effect.gen(function* () {
  yield* Console.log("\nA vending machine, on an event store")
  const machines = yield* Machines
  const press = (command: Command) =>
    machines.execute("lobby", command).pipe(
      Effect.map(
        ({ events, state, version }) =>
          `${(events.length === 0 ? "nothing to do" : events.map(detail).join(", ")).padEnd(41)} ` +
          `(version ${version}, credit ${euros(state.credit)})`
      ),
      // Refusals are typed: leave one out here and the type of the program says so.
      Effect.catchTags({
        CoinNotAccepted: ({ coin }) => Effect.succeed(`no: it does not take ${euros(coin)}`),
        SoldOut: ({ slot }) => Effect.succeed(`no: ${slot} is sold out`),
        NotEnoughCredit: ({ missing }) => Effect.succeed(`no: ${euros(missing)} is missing`),
        StreamTerminated: (error) => Effect.succeed(`no: ${error.message}`)
      }),
      Effect.flatMap((answer) => Console.log(`  ${command._tag.padEnd(11)} → ${answer}`))
    )
  yield* press(Stock.make({ slot: "A1", units: 1, price: 130 }))
  yield* press(Choose.make({ slot: "A1" }))
  yield* press(InsertCoin.make({ coin: 5 }))
  yield* press(InsertCoin.make({ coin: 100 }))
  yield* press(InsertCoin.make({ coin: 50 }))
  yield* press(Choose.make({ slot: "A1" }))
  yield* press(Choose.make({ slot: "A1" }))
  yield* press(ReturnCoins.make({}))
  yield* press(Scrap.make({}))
  yield* press(InsertCoin.make({ coin: 50 }))

  yield* Console.log("\nWhat is stored")
  const store = yield* EventStore.EventStore
  yield* Stream.runForEach(store.readStream(Category.stream(MachineCategory, "lobby")), (event) =>
    Console.log(`  ${event.stream} @ ${event.version}  ${event.type.padEnd(13)} ${JSON.stringify(event.data)}`)
  )
})

const layer = Layer.provideMerge(Machines.layer, MemoryEventStore.layer)

light.pipe(Effect.andThen(machine), Effect.provide(layer), NodeRuntime.runMain)
