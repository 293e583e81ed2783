/**
 * Random programs on the store and on a model of it, which must answer alike. When they do not, the program is shrunk to
 * the shortest one that still shows it.
 *
 * The model is the contract once more, as plainly as it can be said: one list of events, searched from the start. It shares
 * no code with any store, so that a fault has to be made twice to stay hidden.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Criteria from "../../../store/Criteria.ts"
import type { Write, Written } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { NewEvent } from "../../../store/NewEvent.ts"
import type { RecordedEvent } from "../../../store/RecordedEvent.ts"
import type * as Position from "../../../store/Position.ts"
import {
  AppendConditionFailed,
  IdempotencyViolation,
  StreamTombstoned,
  VersionConflict
} from "../../../store/StoreError.ts"
import { Chance } from "../chance.ts"
import { difference, show } from "../difference.ts"
import * as Kit from "./kit.ts"
import {
  everything,
  format,
  generate,
  names,
  type NamedCondition,
  type NamedWrite,
  smaller,
  type Step,
  tagsOf,
  typeOf
} from "./programs.ts"

interface Stored {
  readonly stream: string
  readonly version: number
  readonly event: string
}

interface Model {
  readonly log: Array<Stored>
  readonly closed: Set<string>
}

const conflict = (stream: string, actual: number) => ({ failed: "conflict", stream, actual })

const forbidden = { failed: "forbidden" }

const tombstoned = (stream: string, version: number) => ({ failed: "tombstoned", stream, version })

const violation = (stream: string | undefined, events: ReadonlyArray<string>) => ({
  failed: "violation",
  stream,
  events
})

/** The model: what each step answers, and what there is afterwards. */
const expected = (model: Model, step: Step): unknown => {
  const { closed, log } = model
  const of = (stream: string) => log.filter((one) => one.stream === stream)
  switch (step.do) {
    case "append": {
      const verdicts = step.writes.map((write) => judge(write, of(write.stream), closed))
      const isRepeat = (i: number) => verdicts[i]!.is === "repeat"
      const some = step.writes.filter((_, i) => isRepeat(i))
      if (some.length > 0 && !step.writes.every((write, i) => write.events.length === 0 || isRepeat(i))) {
        return violation(
          undefined,
          some.flatMap((write) => write.events)
        )
      }
      const failed = verdicts.find(
        (verdict, i) => verdict.is === "failure" && (some.length === 0 || step.writes[i]!.events.length > 0)
      )
      if (failed?.is === "failure") {
        return failed.answer
      }
      const { unless } = step
      if (
        unless !== undefined &&
        some.length === 0 &&
        log.slice(Math.max(0, log.length - unless.last)).some(({ event }) => isMeant(unless, event))
      ) {
        return forbidden
      }
      return step.writes.map(({ events, expected, stream }, i) => {
        const verdict = verdicts[i]!
        if (verdict.is === "repeat") {
          return { stream, version: verdict.after + events.length, events: events.length, repeated: true }
        }
        if (verdict.is === "failure") {
          // A check beside a repeat: it held when the original was made.
          const version = typeof expected === "number" ? expected : expected === "none" ? 0 : of(stream).length
          return { stream, version, events: 0, repeated: false }
        }
        for (const event of events) {
          log.push({ stream, version: of(stream).length + 1, event })
        }
        return { stream, version: of(stream).length, events: events.length, repeated: false }
      })
    }
    case "transaction": {
      const inner: Model = { log: [...log], closed: new Set(closed) }
      const answers = step.steps.map((one) => expected(inner, one))
      if (step.commits) {
        log.splice(0, log.length, ...inner.log)
        for (const stream of inner.closed) {
          closed.add(stream)
        }
      }
      return answers
    }
    case "close":
      if (of(step.stream).length === 0) {
        return conflict(step.stream, 0)
      }
      closed.add(step.stream)
      return of(step.stream).length
    case "load":
      return { events: of(step.stream).slice(step.after), version: of(step.stream).length }
    case "readStream":
      return directed(
        of(step.stream).filter(({ version }) => version > step.after && version <= step.upTo),
        step
      )
    case "version":
      return of(step.stream).length
    case "read":
      return directed(
        log.filter(({ event }) => isMeant(step, event)),
        step
      )
    case "streams":
      return names.flatMap((stream) => (of(stream).length === 0 ? [] : [{ stream, version: of(stream).length }]))
  }
}

interface Meant {
  readonly tag: string | undefined
  readonly type: string | undefined
}

const isMeant = ({ tag, type }: Meant, event: string): boolean =>
  (tag === undefined || tagsOf(event).includes(tag)) && (type === undefined || typeOf(event) === type)

const criteriaOf = ({ tag, type }: Meant): Criteria.Criteria =>
  tag === undefined && type === undefined
    ? Criteria.all
    : Criteria.anyOf({
        ...(tag === undefined ? {} : { tags: [tag] as const }),
        ...(type === undefined ? {} : { types: [type] as const })
      })

type Verdict =
  | { readonly is: "write" }
  | { readonly is: "repeat"; readonly after: number }
  | { readonly is: "failure"; readonly isViolation: boolean; readonly answer: unknown }

const judge = (write: NamedWrite, stored: ReadonlyArray<Stored>, closed: ReadonlySet<string>): Verdict => {
  const verdict = judgeOpen(write, stored)
  const isOld = verdict.is === "repeat" || (verdict.is === "failure" && verdict.isViolation)
  return closed.has(write.stream) && !isOld
    ? { is: "failure", isViolation: false, answer: tombstoned(write.stream, stored.length) }
    : verdict
}

const judgeOpen = (write: NamedWrite, stored: ReadonlyArray<Stored>): Verdict => {
  const { events, expected, stream } = write
  const current = stored.length
  const fails = (answer: unknown, isViolation = false): Verdict => ({ is: "failure", isViolation, answer })
  const holds =
    expected === "any" || (expected === "exists" ? current > 0 : current === (expected === "none" ? 0 : expected))
  const exact = expected === "none" ? 0 : expected
  if (events.length === 0 || (typeof exact === "number" && current <= exact) || (current === 0 && !holds)) {
    return holds ? { is: "write" } : fails(conflict(stream, current))
  }
  const after = typeof exact === "number" ? exact : Math.max(0, current - events.length)
  const there = stored.slice(after, after + events.length).map(({ event }) => event)
  const known = events.filter((event) => there.includes(event))
  if (typeof exact === "number" && there[0] !== events[0]) {
    return fails(conflict(stream, current))
  }
  if (there.length === events.length && events.every((event, i) => event === there[i])) {
    return { is: "repeat", after }
  }
  return known.length === 0 ? { is: "write" } : fails(violation(stream, known), true)
}

const directed = <A>(
  all: ReadonlyArray<A>,
  { direction, limit }: { readonly direction: "forward" | "backward"; readonly limit: number }
) => (direction === "forward" ? all : all.toReversed()).slice(0, limit)

/** The store: its answers in the words of the model. */
const actual = (store: Kit.Store, run: Run, step: Step): Effect.Effect<unknown, unknown> => {
  switch (step.do) {
    case "append":
      return Effect.flatMap(
        step.unless === undefined ? Effect.succeed({}) : run.condition(store, step.unless),
        (options) =>
          Effect.map(
            Effect.exit(
              store.appendAll(
                step.writes.map((write) => run.write(write)),
                options
              )
            ),
            (exit) => run.answer(exit)
          )
      )
    case "transaction": {
      const steps = Effect.forEach(step.steps, (one) => actual(store, run, one))
      return step.commits
        ? store.withTransaction(steps)
        : Effect.flip(
            store.withTransaction(Effect.flatMap(steps, (answers) => Effect.fail(new TakenBack(answers))))
          ).pipe(
            Effect.flatMap((error) => (error instanceof TakenBack ? Effect.succeed(error.answers) : Effect.fail(error)))
          )
    }
    case "close":
      return Effect.map(Effect.exit(store.tombstone(run.stream(step.stream))), (exit) =>
        Exit.isSuccess(exit) ? exit.value : run.failure(exit.cause)
      )
    case "load":
      return Effect.map(store.load(run.stream(step.stream), { after: step.after }), ({ events, version }) => ({
        events: run.stored(events),
        version
      }))
    case "readStream":
      return Effect.map(Stream.runCollect(store.readStream(run.stream(step.stream), step)), (events) =>
        run.stored(events)
      )
    case "version":
      return store.streamVersion(run.stream(step.stream))
    case "read": {
      const { direction, limit } = step
      return Effect.map(
        Stream.runCollect(store.read({ category: run.category, criteria: criteriaOf(step), direction, limit })),
        (events) => {
          const positions = events.map((event) => event.position)
          Kit.holds(
            "positions are in order",
            Kit.increases(direction === "forward" ? positions : positions.toReversed()),
            positions
          )
          return run.stored(events)
        }
      )
    }
    case "streams":
      return Effect.map(Stream.runCollect(store.streams({ category: run.category })), (listed) =>
        listed.map(({ stream, version }) => ({ stream: run.nameOf(stream), version }))
      )
  }
}

class TakenBack {
  readonly answers: unknown
  constructor(answers: unknown) {
    this.answers = answers
  }
}

/** What the names of a program mean in one run of it. */
class Run {
  readonly category = `c${Kit.unique()}`
  private readonly start: Position.Position

  constructor(start: Position.Position) {
    this.start = start
  }
  private readonly events = new Map<string, NewEvent>()

  stream(name: string) {
    return Kit.streamOf(this.category, name)
  }

  nameOf(stream: string): string {
    return stream.slice(this.category.length + 1)
  }

  event(name: string): NewEvent {
    const known = this.events.get(name)
    if (known !== undefined) {
      return known
    }
    const event = Kit.newEvent({ type: typeOf(name), tags: tagsOf(name), data: { name } })
    this.events.set(name, event)
    return event
  }

  /** That among the last events none matches: after the one before them, or after where the program began. */
  condition(store: Kit.Store, unless: NamedCondition) {
    return Effect.map(
      Stream.runCollect(
        store.read({ category: this.category, direction: "backward", after: this.start, limit: unless.last + 1 })
      ),
      (events) => ({
        condition: { failIfEventsMatch: criteriaOf(unless), after: events[unless.last]?.position ?? this.start }
      })
    )
  }

  write({ events, expected, stream }: NamedWrite): Write {
    return Kit.write(
      this.stream(stream),
      expected === "any"
        ? ExpectedVersion.Any
        : expected === "exists"
          ? ExpectedVersion.StreamExists
          : expected === "none"
            ? ExpectedVersion.NoStream
            : ExpectedVersion.Exact(expected),
      ...events.map((event) => this.event(event))
    )
  }

  private eventName(id: string): string | undefined {
    for (const [name, event] of this.events) {
      if (event.id === id) {
        return name
      }
    }
    return undefined
  }

  stored(events: ReadonlyArray<RecordedEvent>) {
    return events.map((event) => {
      const name = this.eventName(event.id) ?? show(event)
      const known = this.event(name)
      const { data, tags, type } = event
      Kit.same("an event read", { data, tags, type }, { data: known.data, tags: known.tags, type: known.type })
      return { stream: this.nameOf(event.stream), version: event.version, event: name }
    })
  }

  answer(exit: Exit.Exit<ReadonlyArray<Written>, unknown>): unknown {
    if (Exit.isSuccess(exit)) {
      return exit.value.map(({ positions, repeated, stream, version }) => ({
        stream: this.nameOf(stream),
        version,
        events: positions.length,
        repeated
      }))
    }
    return this.failure(exit.cause)
  }

  failure(cause: Cause.Cause<unknown>): unknown {
    const found = Cause.findError(cause)
    const error = Result.isSuccess(found) ? found.success : cause
    if (error instanceof StreamTombstoned) {
      return tombstoned(this.nameOf(error.stream), error.version)
    }
    if (error instanceof AppendConditionFailed) {
      return forbidden
    }
    if (error instanceof VersionConflict) {
      return conflict(this.nameOf(error.stream), error.actual)
    }
    if (error instanceof IdempotencyViolation) {
      const { ids, stream } = error
      return violation(
        stream === undefined ? undefined : this.nameOf(stream),
        ids.map((id) => this.eventName(id) ?? id)
      )
    }
    return { failed: error }
  }
}

/** Where a program first goes another way than the model, in words; `undefined` when it does not. */
const contradiction = (store: Kit.Store, program: ReadonlyArray<Step>): Effect.Effect<string | undefined, unknown> =>
  Effect.gen(function* () {
    const run = new Run(yield* store.head)
    const model: Model = { log: [], closed: new Set() }
    for (const [i, step] of [...program, everything].entries()) {
      const wanted = expected(model, step)
      const exit = yield* Effect.exit(actual(store, run, step))
      const issue = Exit.isSuccess(exit)
        ? difference(exit.value, wanted)
        : `expected ${show(wanted)}, saw the failure ${show(Cause.squash(exit.cause))}`
      if (issue !== undefined) {
        return `step ${i + 1}: ${issue}`
      }
    }
    return undefined
  })

const shrunk = (store: Kit.Store, program: ReadonlyArray<Step>, issue: string) =>
  Effect.gen(function* () {
    let best = { program, issue }
    let tries = 0
    search: while (tries < maxTries) {
      for (const candidate of smaller(best.program)) {
        if (tries++ >= maxTries) {
          break search
        }
        const issue = yield* contradiction(store, candidate)
        if (issue !== undefined) {
          best = { program: candidate, issue }
          continue search
        }
      }
      break
    }
    return best
  })

const maxTries = 500

export const cases = (seed: number, programs: number): ReadonlyArray<Kit.Case> => [
  Kit.test(
    "model: random programs are answered as the contract says",
    function* (store) {
      const chance = new Chance(seed)
      for (let i = 0; i < programs; i++) {
        const program = generate(chance.fork(), 12)
        const issue = yield* contradiction(store, program)
        if (issue !== undefined) {
          const least = yield* shrunk(store, program, issue)
          const steps = [...least.program, everything].map((step, n) => `${n + 1}. ${format(step)}`)
          return yield* new Kit.ConformanceFailure({
            issue: `${least.issue}\nin the program\n${steps.join("\n")}`,
            cause: least.program
          })
        }
      }
    },
    seed
  )
]
