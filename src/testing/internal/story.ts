/**
 * What a scenario was told so far, and how it is printed when it goes otherwise.
 */
import * as TextDiff from "effect/TextDiff"
import { differenceAsData } from "./difference.ts"
import { show } from "./show.ts"

/** A paragraph of a story: what was given, asked or answered. Paragraphs of one name are printed as one. */
export interface Paragraph {
  readonly name: "given" | "when" | "then" | "state" | "pending" | "due"
  readonly lines: ReadonlyArray<string>
}

export type Story = ReadonlyArray<Paragraph>

/** A line of an answer: a value, and what is said before it. */
export interface Line {
  readonly label?: string | undefined
  readonly value?: unknown
}

export const tell = (story: Story, name: Paragraph["name"], values: ReadonlyArray<Line>): Story => [
  ...story,
  { name, lines: values.map(inWords) }
]

/** What failed, told from the beginning; `undefined` when the answer is as expected. */
export const mismatch = (
  story: Story,
  name: "then" | "state" | "pending" | "due",
  actual: ReadonlyArray<Line>,
  expected: ReadonlyArray<Line>
): string | undefined => {
  if (differenceAsData(actual, expected) === undefined) {
    return undefined
  }
  const edits = TextDiff.diffWith<Line>((a, b) => differenceAsData(a, b) === undefined)(expected, actual)
  const signs = { Equal: " ", Delete: "-", Insert: "+" }
  const lines = edits.flatMap(({ _tag, items }) => items.map((item) => `${signs[_tag]} ${inWords(item)}`))
  const place = closest(actual, expected)
  return [
    "The scenario went otherwise (- expected, + seen).",
    "",
    ...print([...story, { name, lines }]),
    ...(place === undefined ? [] : ["", place])
  ].join("\n")
}

/** Where a single value differs. Several are better seen side by side. */
const closest = (actual: ReadonlyArray<Line>, expected: ReadonlyArray<Line>): string | undefined => {
  const differing = expected.flatMap((line, i) => {
    const other = actual[i]
    const found = differenceAsData(other?.value, line.value)
    return found === undefined ? [] : [{ found, isPlaced: other?.label === line.label && found.startsWith("at ") }]
  })
  return actual.length === expected.length && differing.length === 1 && differing[0]!.isPlaced
    ? differing[0]!.found
    : undefined
}

const inWords = ({ label, ...rest }: Line): string =>
  "value" in rest ? `${label === undefined ? "" : `${label}: `}${show(rest.value, 2000)}` : (label ?? "")

const print = (story: Story): ReadonlyArray<string> =>
  story.flatMap(({ lines, name }, i) =>
    (lines.length === 0 ? ["nothing"] : lines).map(
      (line, j) => (j === 0 && story[i - 1]?.name !== name ? name : "").padEnd(8) + line
    )
  )
