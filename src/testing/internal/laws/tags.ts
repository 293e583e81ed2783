/**
 * Finds out which kinds of values there are.
 */
import * as SchemaAST from "effect/SchemaAST"
import { show } from "../show.ts"

/** One kind of values: what it is called, and which they are. */
export interface Kind {
  readonly tag: string
  readonly is: (value: unknown) => boolean
}

/**
 * The kinds of values a schema describes: its literals, and its structs by their `_tag` or, without one, by their literal
 * fields. Empty when it has neither.
 *
 * What is labelled or keyed has the kinds of what it carries: `cart.AddItem` is the `AddItem` of the part `cart`.
 */
export const kindsOf = (ast: SchemaAST.AST): ReadonlyArray<Kind> => collect(ast, new Set())

const collect = (ast: SchemaAST.AST, above: ReadonlySet<SchemaAST.AST>): ReadonlyArray<Kind> => {
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
      return [{ tag: nameOf(ast.literal), is: (value) => value === ast.literal }]
    case "Declaration":
      // A class is encoded as its fields.
      return ast.encoding?.flatMap(({ to }) => collect(to, seen)) ?? []
    case "Objects":
      return ofStruct(ast, seen)
    default:
      return []
  }
}

const ofStruct = (
  { indexSignatures, propertySignatures }: SchemaAST.Objects,
  seen: ReadonlySet<SchemaAST.AST>
): ReadonlyArray<Kind> => {
  const literals = propertySignatures.flatMap(({ name, type }) =>
    type._tag === "Literal" && !SchemaAST.isOptional(type) ? [{ name, literal: type.literal }] : []
  )
  const tags = literals.filter(({ name }) => name === "_tag")
  const isClosed = indexSignatures.length === 0 && !propertySignatures.some(({ type }) => SchemaAST.isOptional(type))
  const carrying = isClosed ? carrierOf(propertySignatures.map(({ name }) => name)) : undefined
  const own = tags.length > 0 ? tags : carrying === undefined ? literals : []
  const tag = own.length === 0 ? undefined : own.map(({ literal }) => String(literal)).join(".")
  const isOwn = (value: unknown): value is Record<PropertyKey, unknown> =>
    typeof value === "object" &&
    value !== null &&
    own.every(({ literal, name }) => (value as Record<PropertyKey, unknown>)[name] === literal)
  const inner =
    carrying === undefined ? [] : collect(propertySignatures.find(({ name }) => name === carrying)!.type, seen)
  return inner.length > 0
    ? inner.map((kind) => ({
        tag: join(tag, kind.tag),
        is: (value) => isOwn(value) && kind.is(value[carrying!])
      }))
    : tag === undefined
      ? []
      : [{ tag, is: isOwn }]
}

/** The field of what is labelled or keyed: of exactly the form that `composeAll` and `many` make. */
const carrierOf = (fields: ReadonlyArray<PropertyKey>): "command" | "event" | undefined =>
  fields.length !== 2 || !(fields.includes("_tag") || fields.includes("key"))
    ? undefined
    : fields.includes("command")
      ? "command"
      : fields.includes("event")
        ? "event"
        : undefined

/** The kind of a value: one of those its schema describes, or what is to be seen of it. */
export const kindOf = (value: unknown, kinds: ReadonlyArray<Kind>): string =>
  kinds.find(({ is }) => is(value))?.tag ?? (typeof value === "object" && value !== null ? nameOf(value) : typeof value)

/** What a value is called without its schema: by its `_tag`, or as it is. */
export const nameOf = (value: unknown): string => {
  if (typeof value === "string") {
    return value
  }
  if (typeof value !== "object" || value === null) {
    return show(value)
  }
  const { _tag } = value as { readonly _tag?: unknown }
  const own = typeof _tag === "string" ? _tag : undefined
  const carrying = carrierOf(Object.keys(value))
  const carried = carrying === undefined ? undefined : (value as Record<string, unknown>)[carrying]
  return typeof carried === "object" && carried !== null && "_tag" in carried
    ? join(own, nameOf(carried))
    : (own ?? "object")
}

const join = (label: string | undefined, tag: string): string => (label === undefined ? tag : `${label}.${tag}`)
