/**
 * Finds out which kinds of values there are.
 */
import type * as SchemaAST from "effect/SchemaAST"
import { show } from "../show.ts"

/**
 * The kinds of values a schema describes: the `_tag`s of a union, or its literals. Empty when it has neither.
 *
 * What is labelled or keyed has the kinds of what it carries: `cart.AddItem` is the `AddItem` of the part `cart`.
 */
export const tagsOfSchema = (ast: SchemaAST.AST): ReadonlyArray<string> => Array.from(new Set(collect(ast, new Set())))

const collect = (ast: SchemaAST.AST, above: ReadonlySet<SchemaAST.AST>): ReadonlyArray<string> => {
  if (above.has(ast)) {
    return []
  }
  const seen = new Set([...above, ast])
  switch (ast._tag) {
    case "Union":
      return ast.types.flatMap((member) => collect(member, seen))
    case "Suspend":
      return collect(ast.thunk(), seen)
    case "Literal":
      return [tagOf(ast.literal)]
    case "Declaration":
      // A class is encoded as its fields.
      return ast.encoding?.flatMap(({ to }) => collect(to, seen)) ?? []
    case "Objects": {
      const field = (name: string) => ast.propertySignatures.find((each) => each.name === name)?.type
      const tag = field("_tag")
      const own = tag !== undefined && tag._tag === "Literal" ? String(tag.literal) : undefined
      const carried = field("command") ?? field("event")
      const inner = carried === undefined ? [] : collect(carried, seen)
      return inner.length > 0 ? inner.map((each) => join(own, each)) : own === undefined ? [] : [own]
    }
    default:
      return []
  }
}

/** The kind of a value: its `_tag`, itself when it is a literal, or what type it has. */
export const tagOf = (value: unknown, literals: ReadonlySet<string> = none): string => {
  if (typeof value === "object" && value !== null) {
    const { _tag, command, event } = value as {
      readonly _tag?: unknown
      readonly command?: unknown
      readonly event?: unknown
    }
    const own = typeof _tag === "string" ? _tag : undefined
    const carried = command ?? event
    return typeof carried === "object" && carried !== null ? join(own, tagOf(carried)) : (own ?? "object")
  }
  const text = typeof value === "string" ? value : show(value)
  return literals === none || literals.has(text) ? text : typeof value
}

const join = (label: string | undefined, tag: string): string => (label === undefined ? tag : `${label}.${tag}`)

const none: ReadonlySet<string> = new Set()
