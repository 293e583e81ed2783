import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule, Stream } from "effect"
import { Criteria, EventStore, StoreError } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { DeciderLaws, Scenario } from "effect-decider/testing"
import * as Postgres from "../../test/support/Postgres.ts"
import {
  CourseFull,
  Enrolment,
  EnrolmentCommand,
  EnrolmentEvent,
  EnrolmentEvents,
  maxCourses,
  Office,
  TooFewSeats,
  TooManyCourses
} from "./enrolment.ts"

const { ChangeSeats, Enrol, Leave, Offer, Register } = EnrolmentCommand.cases
const { CourseOffered, StudentEnrolled, StudentRegistered } = EnrolmentEvent.cases

describe("enrolment, decided", () => {
  const history = [
    CourseOffered.make({ course: "logic", seats: 1 }),
    StudentRegistered.make({ student: "ada" }),
    StudentRegistered.make({ student: "ben" })
  ]

  it("a seat is taken once, and free again when it is left", () => {
    Scenario.given(Enrolment, history)
      .when(Enrol.make({ course: "logic", student: "ada" }))
      .then([StudentEnrolled.make({ course: "logic", student: "ada" })])
      .when(Enrol.make({ course: "logic", student: "ben" }))
      .thenRefused(new CourseFull({ seats: 1 }))
      .when(ChangeSeats.make({ course: "logic", seats: 0 }))
      .thenRefused(new TooFewSeats({ taken: 1 }))
      .when(Enrol.make({ course: "logic", student: "ada" }))
      .thenNothing()
  })

  it("keeps its rules in whatever state it can come to", () => {
    DeciderLaws.assert({
      decider: Enrolment,
      command: EnrolmentCommand,
      event: EnrolmentEvents,
      idempotent: ({ _tag }) => _tag !== "Offer",
      invariants: {
        state: {
          "no student attends more courses than allowed": ({ enrolled }) =>
            enrolled.every(({ student }) => enrolled.filter((one) => one.student === student).length <= maxCourses),
          "no course has more students than seats": ({ enrolled, seats }) =>
            Object.keys(seats).every(
              (course) => enrolled.filter((one) => one.course === course).length <= seats[course]!
            )
        }
      }
    })
  })
})

const stores: Record<string, Layer.Layer<EventStore.EventStore, unknown>> = {
  memory: MemoryEventStore.layer,
  SQLite: SqliteEventStore.layer({ filename: ":memory:" }),
  PostgreSQL: PgEventStore.layerClient().pipe(Layer.provide(Postgres.layer()))
}

describe.each(Object.entries(stores))("enrolment on %s", (_, store) => {
  const test = (name: string, program: Effect.Effect<unknown, unknown, Office | EventStore.EventStore>) =>
    it.live(name, () => Effect.provide(program, Layer.provideMerge(Office.layer, store), { local: true }))

  // Who is overtaken again and again tries again: each time somebody else has got on.
  const execute = (command: EnrolmentCommand) =>
    Effect.flatMap(Office, (office) =>
      Effect.retry(office.execute(command), {
        while: (error) => error instanceof StoreError.AppendConditionFailed,
        schedule: Schedule.spaced("5 millis")
      })
    )

  test(
    "whatever many ask for at the same time, no rule is broken",
    Effect.gen(function* () {
      const courses = ["logic", "latin", "law", "lace"]
      const students = Array.from({ length: 8 }, (_, i) => `student ${i}`)
      yield* Effect.forEach(courses, (course) => execute(Offer.make({ course, seats: 5 })))
      yield* Effect.forEach(students, (student) => execute(Register.make({ student })), { concurrency: "unbounded" })
      const answers = yield* Effect.forEach(
        students.flatMap((student) => courses.map((course) => Enrol.make({ course, student }))),
        (command) => Effect.map(Effect.result(execute(command)), (result) => ({ command, result })),
        { concurrency: "unbounded" }
      )
      const events = yield* Stream.runCollect(EventStore.read({ criteria: Criteria.types("StudentEnrolled") }))
      const count = (tag: string) => events.filter(({ tags }) => tags.includes(tag)).length
      assert.isTrue(courses.every((course) => count(`course:${course}`) <= 5))
      assert.isTrue(students.every((student) => count(`student:${student}`) <= maxCourses))
      // Nobody has left since, so who was refused for a reason would still be.
      for (const { command, result } of answers) {
        if (result._tag === "Failure") {
          assert.isTrue(
            result.failure instanceof CourseFull
              ? count(`course:${command.course}`) === 5
              : result.failure instanceof TooManyCourses && count(`student:${command.student}`) === maxCourses
          )
        }
      }
      assert.strictEqual(events.length, answers.filter(({ result }) => result._tag === "Success").length)
    })
  )

  test(
    "a command that is sent twice is carried out once",
    Effect.gen(function* () {
      const office = yield* Office
      yield* execute(Offer.make({ course: "logic", seats: 1 }))
      yield* execute(Register.make({ student: "ada" }))
      const enrol = office.execute(Enrol.make({ course: "logic", student: "ada" }), { commandId: "form 7" })
      const first = yield* enrol
      yield* execute(Leave.make({ course: "logic", student: "ada" }))
      assert.deepStrictEqual(yield* enrol, first)
      const events = yield* Stream.runCollect(EventStore.read({ criteria: Criteria.tags("student:ada") }))
      assert.deepStrictEqual(
        events.map(({ stream, type }) => `${stream} ${type}`),
        ["student-ada StudentRegistered", "course-logic StudentEnrolled", "course-logic StudentLeft"]
      )
    })
  )
})
