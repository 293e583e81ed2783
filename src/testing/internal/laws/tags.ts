/**
 * Finds out which kinds of values there are.
 */
import type * as SchemaAST from "effect/SchemaAST"
import { show } from "../show.ts"

/** The kinds of values a schema describes: the `_tag`s of a union, or its literals. Empty when it has neither. */
export const tagsOfSchema = (ast: SchemaAST.AST): ReadonlyArray<string> => {
  const tags = new Set<string>()
  collect(ast, tags, new Set())
  return Array.from(tags)
}

const collect = (ast: SchemaAST.AST, tags: Set<string>, seen: Set<SchemaAST.AST>): void => {
  if (seen.has(ast)) {
    return
  }
  seen.add(ast)
  switch (ast._tag) {
    case "Union":
      ast.types.forEach((member) => collect(member, tags, seen))
      return
    case "Suspend":
      collect(ast.thunk(), tags, seen)
      return
    case "Literal":
      tags.add(tagOf(ast.literal))
      return
    case "Declaration":
      // A class is encoded as its fields.
      ast.encoding?.forEach((link) => collect(link.to, tags, seen))
      return
    case "Objects": {
      const tag = ast.propertySignatures.find(({ name }) => name === "_tag")?.type
      if (tag !== undefined && tag._tag === "Literal") {
        tags.add(String(tag.literal))
      }
      return
    }
  }
}

/** The kind of a value: its `_tag`, itself when it is a literal, or what type it has. */
export const tagOf = (value: unknown, literals: ReadonlySet<string> = none): string => {
  if (typeof value === "object" && value !== null) {
    const tag = (value as { readonly _tag?: unknown })._tag
    return typeof tag === "string" ? tag : "object"
  }
  const text = typeof value === "string" ? value : show(value)
  return literals === none || literals.has(text) ? text : typeof value
}

const none: ReadonlySet<string> = new Set()
