/**
 * The figures of a run as bars: a plain SVG file that reads well on light and on dark pages.
 */
import { count, type Figure } from "./measure.ts"

export interface Chart {
  /** The suite, the machine and what else was measured on, one text each. */
  readonly title: ReadonlyArray<string>
  readonly date: string
  readonly sections: ReadonlyArray<{
    readonly title: string
    readonly unit: string
    readonly figures: ReadonlyArray<Figure>
  }>
}

const width = 1080
const barsAt = 370
const barsTo = 620
const rowHeight = 20

export const chart = ({ date, sections, title }: Chart): string => {
  const [name = "", ...about] = title
  const shapes: Array<string> = []
  let y = 40
  shapes.push(text(24, y, "title", `effect-decider benchmarks: ${name}`))
  for (const line of wrapped([...about, date.slice(0, 10)])) {
    shapes.push(text(24, (y += 20), "about", line))
  }
  y += 12
  for (const section of sections) {
    const longest = Math.max(...section.figures.map(({ value }) => value))
    shapes.push(text(24, (y += 30), "section", `${section.title}, ${section.unit}`))
    for (const figure of section.figures) {
      y += rowHeight
      const length = Math.max(2, (figure.value / longest) * (barsTo - barsAt))
      shapes.push(
        text(barsAt - 10, y, "name", figure.name),
        `<rect class="${figure.kind}" x="${barsAt}" y="${y - 12}" width="${length.toFixed(1)}" height="14" rx="2"/>`,
        text(barsAt + length + 8, y, figure.passed ? "value" : "value missed", annotation(figure))
      )
    }
  }
  const height = y + 30
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(title.join(", "))}">
<style>
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .page { fill: #ffffff }
  .title { font-size: 18px; font-weight: 600 }
  .section { font-size: 13px; font-weight: 600 }
  .about { fill: #59636e }
  .name { text-anchor: end }
  .missed { fill: #b35900; font-weight: 600 }
  .floor { fill: #8c959f }
  .peer { fill: #bf8fd9 }
  .ours { fill: #2f6fde }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .page { fill: #0d1117 }
    .about { fill: #9198a1 }
    .missed { fill: #f0a04b }
    .floor { fill: #6e7681 }
    .peer { fill: #8957a8 }
    .ours { fill: #4c8dff }
  }
</style>
<rect class="page" width="${width}" height="${height}" rx="6"/>
${shapes.join("\n")}
</svg>
`
}

const annotation = ({ bar, kind, notes, p50, p99, passed, ratio, value }: Figure): string =>
  [
    count(value),
    ...(kind === "floor" && ratio === 1 ? [] : [`× ${ratio.toFixed(2)}`]),
    ...(p50 === undefined || p99 === undefined ? [] : [`p50 ${milliseconds(p50)}, p99 ${milliseconds(p99)} ms`]),
    ...Object.entries(notes ?? {}).map(([note, value]) => `${value.toFixed(1)} ${note}`),
    ...(bar === undefined ? [] : [passed ? `✓ ${bar}` : `✗ ${bar}`])
  ].join("  ·  ")

const milliseconds = (value: number): string => value.toFixed(value < 100 ? 1 : 0)

/** Joined to lines that fit. */
const wrapped = (parts: ReadonlyArray<string>): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const part of parts) {
    const last = lines[lines.length - 1]
    if (last !== undefined && last.length + part.length < 130) {
      lines[lines.length - 1] = `${last} · ${part}`
    } else {
      lines.push(part)
    }
  }
  return lines
}

const text = (x: number, y: number, style: string, content: string): string =>
  `<text class="${style}" x="${x.toFixed(0)}" y="${y}">${escape(content)}</text>`

const escape = (content: string): string =>
  content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")
