/**
 * What JSON a schema makes, as data that can be kept and compared.
 *
 * It is JSON Schema without what says nothing of the JSON: names, descriptions, the order of required fields.
 */
import * as Schema from "effect/Schema"

type Json = Schema.Json
type Node = { readonly [key: string]: Json }

/**
 * The shape of what a schema stores. `samples` are some of the stored values: a field that the schema requires and no sample
 * has is kept elsewhere, as the `_tag` of an event is in its type, and is no part of the shape.
 */
export const jsonShape = (schema: Schema.Schema<unknown>, samples: ReadonlyArray<Json>): Json => {
  const { definitions, schema: root } = Schema.toJsonSchemaDocument(schema)
  const plain = JSON.parse(JSON.stringify({ root, definitions })) as { readonly root: Json; readonly definitions: Node }
  return withoutAbsent(normal(plain.root, plain.definitions, []), samples)
}

const annotations = new Set(["title", "description", "default", "examples", "readOnly", "writeOnly", "$comment"])

const isNode = (value: Json | undefined): value is Node =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const mapValues = (node: Node, f: (value: Json) => Json): Node =>
  Object.fromEntries(Object.entries(node).map(([key, value]) => [key, f(value)]))

// Definitions are put in where they are used, so that their names do not matter. `open` are those we are inside of: a schema
// that contains itself says how many definitions further out it goes on.
const normal = (value: Json, definitions: Node, open: ReadonlyArray<string>): Json => {
  if (!isNode(value)) {
    return value
  }
  const name = typeof value["$ref"] === "string" ? value["$ref"].replace(/^#\/\$defs\//, "") : undefined
  if (name !== undefined) {
    const depth = open.indexOf(name)
    return depth < 0 ? normal(definitions[decode(name)]!, definitions, [name, ...open]) : { $recursion: depth }
  }
  const inner = (value: Json) => normal(value, definitions, open)
  const out: { [key: string]: Json } = {}
  for (const [key, part] of Object.entries(value)) {
    if (annotations.has(key)) {
      continue
    }
    if (key === "required") {
      out[key] = [...(part as ReadonlyArray<string>)].sort()
    } else if (key === "allOf") {
      const parts = (part as ReadonlyArray<Json>).map(inner).filter((part) => !isEmpty(part))
      if (parts.length > 0) {
        out[key] = parts
      }
    } else if (key === "properties" || key === "patternProperties") {
      out[key] = mapValues(part as Node, inner)
    } else if (key === "enum" || key === "const") {
      out[key] = part
    } else {
      out[key] = Array.isArray(part) ? part.map(inner) : inner(part)
    }
  }
  return out
}

// A name in a pointer, as RFC 6901 has it.
const decode = (name: string): string => decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~")

const isEmpty = (value: Json): boolean => isNode(value) && Object.keys(value).length === 0

const withoutAbsent = (shape: Json, samples: ReadonlyArray<Json>): Json => {
  const objects = samples.filter(isNode)
  // A struct without fields allows whatever is not null.
  if (isNode(shape) && isNode(shape["not"]) && shape["not"]["type"] === "null") {
    return { type: "object", properties: {}, required: [], additionalProperties: true }
  }
  if (!isNode(shape) || !isNode(shape["properties"]) || objects.length === 0 || objects.length < samples.length) {
    return shape
  }
  const required = (shape["required"] ?? []) as ReadonlyArray<string>
  const isAbsent = (key: string) => required.includes(key) && objects.every((object) => !Object.hasOwn(object, key))
  const properties = Object.entries(shape["properties"]).filter(([key]) => !isAbsent(key))
  return {
    ...shape,
    properties: Object.fromEntries(
      properties.map(([key, part]) => [
        key,
        withoutAbsent(
          part,
          objects.flatMap((object) => (Object.hasOwn(object, key) ? [object[key]!] : []))
        )
      ])
    ),
    required: required.filter((key) => !isAbsent(key))
  }
}
