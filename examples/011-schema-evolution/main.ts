/**
 * Today's program on yesterday's events. Only this file knows which store it runs on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Stream } from "effect"
import { Category, EventStore } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as Archive from "./archive.ts"
import { MembershipCategory, MembershipCommand, Memberships } from "./membership.ts"

const program = Effect.gen(function* () {
  const memberships = yield* Memberships
  yield* Archive.restore("ada")
  yield* Archive.restore("ben")
  yield* memberships.execute("ada", MembershipCommand.cases.GiveTerm.make({ months: 2 }))

  yield* Console.log("As it is stored, in the shapes of three releases")
  yield* Stream.runForEach(EventStore.readStream(Category.stream(MembershipCategory, "ada")), (event) =>
    Console.log(`  ${event.version}  ${event.type} v${event.schemaVersion} ${JSON.stringify(event.data)}`)
  )
  yield* Console.log("\nAs today's program reads it")
  yield* Stream.runForEach(memberships.history("ada"), ({ event, recorded, state }) =>
    Console.log(`  ${recorded.version}  ${event._tag.padEnd(13)} ${state.months} months, ${state.paid / 100} EUR paid`)
  )
  const { state, version } = yield* memberships.state("ada")
  yield* Console.log(`\n${state.member?.name} is spoken to in "${state.member?.language}"; the stream is at ${version}`)
})

program.pipe(Effect.provide(Layer.provideMerge(Memberships.layer, MemoryEventStore.layer)), NodeRuntime.runMain)
