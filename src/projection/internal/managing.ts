/**
 * What a process manager does about an event, and about a deadline that is due.
 *
 * One step is: record the input, send the commands that it led to, record what was refused, and go on with what that led to. Only
 * then is the event or the deadline done with. When it comes again, because somebody died in between, the input is there
 * already; then all is sent that the state has pending.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { Keyed } from "../../decider/Keyed.ts"
import type { EventStore } from "../../store/EventStore.ts"
import type { EventId } from "../../store/EventId.ts"
import * as Telemetry from "../../store/internal/telemetry.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type { CommitUnknown, StoreUnavailable } from "../../store/StoreError.ts"
import * as StreamId from "../../store/StreamId.ts"
import * as Tracing from "../../store/Tracing.ts"
import type { Deadline, Deadlines, Stored } from "../Deadlines.ts"
import type { ProcessManager } from "../ProcessManager.ts"
import * as Failing from "./failing.ts"
import { idOf, Instances } from "./instances.ts"
import * as Making from "./making.ts"

/**
 * - `concerns`: whether a process hears of an event.
 * - `react`: what is done about it.
 * - `triggering`: waits for deadlines, and does what is due.
 */
export interface Managing<R> {
  readonly concerns: (event: RecordedEvent) => boolean
  readonly react: (event: RecordedEvent) => Effect.Effect<void, unknown, R>
  readonly triggering: Effect.Effect<never, StoreUnavailable | CommitUnknown, R>
}

/**
 * Runs the instances of a process.
 */
export const make = <Event, State, R>(
  manager: ProcessManager<Event, State, R>,
  { deadlines, store }: { readonly store: EventStore["Service"]; readonly deadlines: Deadlines["Service"] }
): Managing<R> => {
  const { commands: routes, name, process, sources } = manager
  const instances = new Instances(manager, store, deadlines)
  const metrics = metricsOf(name)

  /** Records an input, and does all that it leads to. */
  const step = (
    instance: string,
    id: EventId,
    inputOf: (state: State) => Event | undefined,
    reached?: Deadline
  ): Effect.Effect<void, unknown, R> =>
    Effect.gen(function* () {
      const { commands, known } = yield* instances.record(instance, id, inputOf, reached)
      const waiting: Array<Keyed<any>> = [...(commands ?? process.resume(known.state))]
      const sent = new Set<string>()
      let isWanted = (_: string) => true
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const { command, key } = next
        if (sent.has(key) || !isWanted(key)) {
          continue
        }
        sent.add(key)
        const commandId = yield* idOf(name, instance, "command", key)
        const refused = yield* routes[command._tag as string]!.send(command, commandId)
        yield* metrics.sent(refused === undefined ? "accepted" : "refused")
        if (refused !== undefined) {
          const refusal = yield* idOf(name, instance, "refusal", key)
          const after = yield* instances.record(instance, refusal, () => refused)
          const pending = process.resume(after.known.state)
          waiting.push(...(after.commands ?? pending))
          // After a crash, what a refusal has made superfluous would not be sent either.
          isWanted = (key) => pending.some((one) => one.key === key)
        }
      }
    })

  const trigger = (deadline: Stored): Effect.Effect<void, unknown, R> =>
    Effect.gen(function* () {
      const { dueAt, instance, key } = deadline
      const id = yield* idOf(name, instance, "deadline", key, dueAt)
      const { last } = yield* instances.known(instance)
      const done = step(instance, id, (state) => instances.standingAs(deadline, state)?.event, deadline)
      // It goes on with what the process saw last.
      const traced = last === undefined ? done : Tracing.reaction(done, { name, event: last })
      yield* instances.alone(instance, Effect.andThen(traced, instances.settle(deadline, id)))
      yield* metrics.triggered
    })

  /** One that fails is looked at again after a while; the others do not wait for it. */
  const attempt = (deadline: Stored): Effect.Effect<void, StoreUnavailable | CommitUnknown, R> =>
    trigger(deadline).pipe(
      Effect.catchCause(Failing.ofHandler),
      Effect.catchTag(["Failed", "LeaseLost"], (failed) =>
        Effect.gen(function* () {
          const wait = Math.min(1_000 * 2 ** deadline.attempts, 3_600_000)
          const { instance, key } = deadline
          yield* Effect.logWarning(`${name}: deadline "${key}" of "${instance}" has failed: ${failed.message}`)
          yield* deadlines.postpone(deadline, (yield* Clock.currentTimeMillis) + wait, failed.message)
        })
      )
    )

  /** The sources of an event; what the process has seen itself is none. */
  const sourcesOf = ({ stream, type }: RecordedEvent) => {
    const category = StreamId.category(stream)
    return category === name ? [] : sources.filter(({ source }) => hears(source, category, type))
  }

  return {
    concerns: (recorded) => sourcesOf(recorded).length > 0,
    react: (recorded) =>
      Effect.forEach(
        sourcesOf(recorded),
        ({ meaning, source }) =>
          Effect.gen(function* () {
            for (const entry of yield* Making.decodeAll(source, [recorded])) {
              const meant = meaning(entry)
              const inputs = meant === undefined ? [] : "instance" in meant ? [meant] : meant
              for (const [i, { event, instance }] of inputs.entries()) {
                const id = yield* idOf(name, instance, "event", recorded.id, source.name ?? "", entry.part, i)
                yield* instances.alone(
                  instance,
                  step(instance, id, () => event)
                )
              }
            }
          }),
        { discard: true }
      ),
    triggering: Effect.gen(function* () {
      while (true) {
        instances.scheduled.closeUnsafe()
        const found = yield* deadlines.list(name)
        const now = yield* Clock.currentTimeMillis
        const due = found.filter(({ wakeAt }) => wakeAt <= now)
        // What an instance has waited for comes in the order of its times.
        const byInstance = Map.groupBy(due, ({ instance }) => instance).values()
        yield* Effect.forEach(byInstance, Effect.forEach(attempt, { discard: true }), { concurrency: 8, discard: true })
        const next = found[due.length]
        if (due.length === 0 || next !== undefined) {
          // What was done has taken its time.
          const wait = next === undefined ? patience : next.wakeAt - (yield* Clock.currentTimeMillis)
          // Others may add some: who has lost the lease, and does not know it yet.
          yield* Effect.raceFirst(Effect.sleep(Math.min(wait, patience)), instances.scheduled.await)
        }
      }
    })
  }
}

const patience = 60_000

/**
 * What is wrong with the sources of a manager, if something is: an event of which two of them hear would be one input.
 */
export const issueOf = ({ name, sources }: ProcessManager<any, any, any>): string | undefined => {
  const typesOf = ({ source }: (typeof sources)[number]) => source.events.shapes.map(({ type }) => type)
  const isTwice = sources.some((one, i) =>
    sources.slice(i + 1).some((other) => {
      const types = new Set(typesOf(other))
      return one.source.name === other.source.name && typesOf(one).some((type) => types.has(type))
    })
  )
  return isTwice
    ? "two of its sources hear of the same events; make one of them"
    : sources.some(({ source }) => source.name === name)
      ? "it hears of its own category; a process does not see what it has seen"
      : undefined
}

const hears = (
  source: ProcessManager<any, any, any>["sources"][number]["source"],
  category: string,
  type: string
): boolean =>
  source.name === undefined ? source.events.shapes.some((shape) => shape.type === type) : source.name === category

const metricsOf = (process: string) => {
  const commands = Telemetry.byValue((outcome: "accepted" | "refused") =>
    Telemetry.counter("effect_decider_process_commands_total", "How many commands a process has sent.", {
      process,
      outcome
    })
  )
  const deadlines = Telemetry.counter(
    "effect_decider_process_deadlines_total",
    "How many deadlines of a process were looked at when they were due.",
    { process }
  )
  return {
    sent: (outcome: "accepted" | "refused") => Metric.update(commands(outcome), 1),
    triggered: Metric.update(deadlines, 1)
  }
}
