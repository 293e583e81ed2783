/**
 * The first day of term. Only this file knows the store.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Stream } from "effect"
import { Criteria, EventStore } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import { EnrolmentCommand, Office } from "./enrolment.ts"

const { ChangeSeats, Enrol, Leave, Offer, Register } = EnrolmentCommand.cases

const day = Effect.gen(function* () {
  const office = yield* Office
  const ask = (what: string, command: EnrolmentCommand) =>
    office.execute(command).pipe(
      Effect.match({
        onSuccess: ({ events }) => (events.length === 0 ? "nothing to do" : events.map(({ _tag }) => _tag).join(", ")),
        onFailure: (error) => `no, ${error._tag}`
      }),
      Effect.flatMap((answer) => Console.log(`  ${what.padEnd(34)} ${answer}`))
    )
  const enrol = (student: string, course: string) => ask(`${student} wants ${course}`, Enrol.make({ student, course }))

  for (const course of ["logic", "latin", "law", "lace", "lute"]) {
    yield* office.execute(Offer.make({ course, seats: 2 }))
  }
  for (const student of ["ada", "ben", "cleo", "dan"]) {
    yield* office.execute(Register.make({ student }))
  }

  yield* Console.log("Four students want two seats, at the same time")
  yield* Effect.forEach(["ada", "ben", "cleo", "dan"], (student) => enrol(student, "logic"), {
    concurrency: "unbounded"
  })

  yield* Console.log("\nOne student wants four courses, at the same time: three at most, whichever they are")
  yield* Effect.forEach(["latin", "law", "lace", "lute"], (course) => enrol("dan", course), {
    concurrency: "unbounded"
  })

  yield* Console.log("\nA course has fewer seats than it had, but not fewer than are taken")
  yield* ask("logic with one seat", ChangeSeats.make({ course: "logic", seats: 1 }))
  yield* ask("ada leaves logic", Leave.make({ student: "ada", course: "logic" }))
  yield* ask("logic with one seat", ChangeSeats.make({ course: "logic", seats: 1 }))
  yield* enrol("ada", "logic")

  yield* Console.log("\nAll about dan, from the streams of three courses and his own")
  yield* EventStore.read({ criteria: Criteria.tags("student:dan") }).pipe(
    Stream.runForEach(({ position, stream, type }) => Console.log(`  ${position}  ${stream.padEnd(14)} ${type}`))
  )
})

// To keep it all: `SqliteEventStore.layer({ filename: "enrolment.db" })` in place of the memory store.
day.pipe(Effect.provide(Office.layer.pipe(Layer.provideMerge(MemoryEventStore.layer))), NodeRuntime.runMain)
