/**
 * Names and texts as PostgreSQL's SQL wants them quoted, and pieces of SQL that several statements have in common.
 */

/**
 * A name in double quotes.
 */
export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`

/**
 * A text in single quotes, whatever `standard_conforming_strings` says.
 */
export const literal = (text: string): string => {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes("\\") ? `E${quoted.replaceAll("\\", "\\\\")}` : quoted
}

/**
 * The sequence that positions are drawn from, of the tables in a schema.
 */
export const sequence = (schema: string): string => `${literal(`${schema}.position_seq`)}::regclass`

/**
 * After the name of a stream: its last row, from the end of the index. Without the range a plan that was made while the table was
 * small looks at all of the stream, and sessions keep such plans.
 */
export const lastOne = "and e.version > 0 order by e.version desc limit 1"

/**
 * A function body in dollar quotes that the body does not contain.
 */
export const body = (text: string): string => {
  let tag = "$body$"
  for (let n = 1; text.includes(tag); n++) {
    tag = `$body${n}$`
  }
  return `${tag}\n${text.trim()}\n${tag}`
}

/**
 * An array of texts as the text that PostgreSQL reads as one.
 */
export const arrayText = (texts: ReadonlyArray<string>): string =>
  texts.length === 0 ? "{}" : `{${texts.map((text) => `"${text.replace(/["\\]/g, "\\$&")}"`).join(",")}}`

/**
 * The elements of arrays side by side as rows, each under its name; what is shorter, or null, is filled up with nulls. Unnested in
 * the list of the query: behind its `from` each array is first copied into a table of its own, which takes twice as long.
 */
export const sideBySide = (arrays: Readonly<Record<string, string>>): string =>
  `(select ${Object.entries(arrays)
    .map(([name, array]) => `unnest(${array}) as ${name}`)
    .join(", ")})`

/**
 * The same for events, whose positions increase, with the number of each from 1 on as `n`. Not by `generate_series`: of that a
 * plan without its values expects a thousand rows, and such a plan is never kept, but made anew each time.
 */
export const numbered = (arrays: Readonly<Record<string, string>> & { readonly position: string }): string =>
  `(select e.*, (row_number() over (order by e.position))::integer as n from ${sideBySide(arrays)} e)`

/**
 * As many new positions as an array has elements, in their order.
 */
export const draw = (schema: string, array: string): string =>
  `array(select nextval(${sequence(schema)}) from unnest(${array}) order by 1)`

/**
 * The tags of an event, which are given as the text of an array, or null for none.
 */
export const tagList = (text: string): string => `coalesce(${text}::text[], '{}')`

/**
 * What keeps a text from being the name of a schema, if anything.
 */
export const schemaIssue = (name: string): string | undefined =>
  name === "" || name.includes("\u0000") || !name.isWellFormed()
    ? "it is empty or contains what no name can contain"
    : new TextEncoder().encode(name).length > 63
      ? "it is longer than 63 bytes"
      : undefined
