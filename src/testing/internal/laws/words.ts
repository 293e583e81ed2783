/**
 * Puts a report of the laws into words.
 */
import * as Result from "effect/Result"
import type { Report, Violated } from "../../DeciderLaws.ts"
import { show } from "../show.ts"

export const format = (report: Report<unknown, unknown, unknown>): string => {
  const { failure } = report
  if (failure === undefined) {
    return `All laws hold. ${reached(report)}`
  }
  switch (failure._tag) {
    case "Violated":
      return violated(failure)
    case "Unreached":
      return [
        "What was never seen was not checked.",
        "",
        ...line("never accepted", failure.commands),
        ...line("never emitted", failure.events),
        ...line("never came up", failure.laws),
        "",
        "Help the commands to get there: `refer` makes them speak of what happened before, an Arbitrary generates them",
        "otherwise, a narrower Schema makes values meet. What is out of reach on purpose goes into `mayMiss`.",
        "",
        reached(report)
      ].join("\n")
    case "NotReproduced":
      return (
        `Nothing was found with the replay token ${failure.replay}. ` +
        "Either it is mended, or the decider, its schemas, the options or the version of effect are not what they were."
      )
    case "NotGenerated":
      return (
        `No commands could be generated: ${failure.discards} of them did not fit their own schema or filter. ` +
        "Describe them by checks that generate, such as isBetween, or pass an Arbitrary."
      )
  }
}

const violated = ({
  decided,
  issue,
  law,
  name,
  replay,
  statement,
  values,
  where
}: Violated<unknown, unknown, unknown>): string =>
  [
    name === undefined ? `A law is broken: ${statement}.` : `${brokenByName(law)}: ${name}.`,
    "",
    ...(law === "shape" ? [] : [decided.length === 0 ? "without any command" : "with these commands:"]),
    ...decided.flatMap(({ answer, command }, i) => [`  ${i + 1}. ${show(command)}`, ...answered(answer)]),
    ...(law === "shape" ? [] : [""]),
    `${where}:`,
    `  ${issue}`,
    ...(values === undefined
      ? []
      : ["", `expected  ${show(values.expected, 2000)}`, `saw       ${show(values.actual, 2000)}`]),
    "",
    // A token has double quotes inside.
    `To see it again: replay: ${replay.includes("'") ? JSON.stringify(replay) : `'${replay}'`}`
  ].join("\n")

const answered = (answer: Result.Result<ReadonlyArray<unknown>, unknown> | undefined): ReadonlyArray<string> => {
  if (answer === undefined) {
    return []
  }
  if (Result.isFailure(answer)) {
    return [`       refused: ${show(answer.failure)}`]
  }
  return answer.success.length === 0
    ? ["       nothing to do"]
    : answer.success.map((event) => `       → ${show(event)}`)
}

const brokenByName = (law: string): string =>
  law === "older" ? "Events as an older program stored them do not fold to the same state" : "An invariant is broken"

const line = (what: string, tags: ReadonlyArray<string>): ReadonlyArray<string> =>
  tags.length === 0 ? [] : [`  ${what}: ${tags.join(", ")}`]

const reached = ({ commands, decisions, events, runs, seed, states }: Report<unknown, unknown, unknown>): string => {
  const accepted = Object.entries(commands).map(([tag, { accepted, asked }]) => `${tag} ${accepted} of ${asked}`)
  const emitted = Object.entries(events).map(([type, count]) => `${type} ${count}`)
  return [
    `Seen: ${states} states on ${runs} walks with ${decisions} commands (seed ${show(seed)}).`,
    `  commands accepted: ${accepted.join(", ")}`,
    `  events emitted: ${emitted.join(", ")}`
  ].join("\n")
}
