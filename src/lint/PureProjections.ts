/**
 * Finds in projections, views, deciders and processes what would happen again when they are built anew or tried again.
 *
 * Types keep services out of a projection. They do not see promises, globals, effects that are run on the spot, and services
 * that a handler provides to itself. This rule looks at what is written in the call that defines one, and in the
 * functions and values of the same file that it names. It does not follow imports, members of objects and parameters.
 *
 * @since 0.1.0
 */

/**
 * As much of a syntax tree as is looked at.
 *
 * @category models
 * @since 0.1.0
 */
export interface Node {
  readonly type: string
  readonly [field: string]: unknown
}

/**
 * What a name stands for in a scope, as ESLint and oxlint tell it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Scope {
  readonly set: ReadonlyMap<
    string,
    { readonly defs: ReadonlyArray<{ readonly type: string; readonly node: any; readonly parent?: any }> }
  >
  readonly upper: Scope | null
}

/**
 * A rule, as ESLint and oxlint know them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rule {
  readonly meta: { readonly type: "problem"; readonly docs: { readonly description: string } }
  readonly create: (context: {
    readonly report: (found: { readonly node: any; readonly message: string }) => void
    readonly sourceCode: { readonly getScope: (node: any) => any }
  }) => { readonly CallExpression: (call: any) => void }
}

// The calls whose arguments are looked at.
const defining =
  /^(Projection\.(make|keyed|documents)|SqlProjection\.make|View\.(make|tagged)|Decider\.(make|tagged)|Process\.(make|tagged))$/

const again = "it happens again whenever this is tried again or built anew. Put it into a reactor."
const differs = "it answers otherwise when this is built anew. Take it from the event."
const unseen =
  "hides from the compiler what this needs. A projection can have the SqlClient of the store and nothing else."

// What is refused, by the beginning of its full name, and why.
const refused: ReadonlyArray<readonly [RegExp, string]> = [
  [/^(console|Console|process|fetch|XMLHttpRequest|WebSocket|HttpClient)(\.|$)/, again],
  [/^(setTimeout|setInterval|setImmediate|queueMicrotask)$/, again],
  [/^Promise(\.|$)|^Effect\.(promise|tryPromise|callback)$/, `a promise is not part of the transaction; ${again}`],
  [/^Effect\.run[A-Z]/, `it runs outside of the transaction; ${again}`],
  [/^Effect\.fork(Detach|In)$/, `it outlives the transaction; ${again}`],
  [/^(Effect\.provide|Layer\.|ManagedRuntime\.)/, unseen],
  [/^(Date\.now|Math\.random|Clock\.|Random\.|performance\.now|crypto\.)/, differs]
]

/**
 * The rule `pure-projections`.
 *
 * @category rules
 * @since 0.1.0
 */
export const rule: Rule = {
  meta: {
    type: "problem",
    docs: { description: "Refuses side effects in projections, views, deciders and processes." }
  },
  create: ({ report, sourceCode }) => {
    const seen = new Set<Node>()
    const meaningOf = (identifier: Node): Meaning => {
      const name = String(identifier["name"])
      for (let scope: Scope | null = sourceCode.getScope(identifier); scope !== null; scope = scope.upper) {
        const definition = scope.set.get(name)?.defs[0]
        if (definition !== undefined) {
          return definition.type === "ImportBinding"
            ? { name: importedName(definition.node, definition.parent) }
            : { value: definition.type === "FunctionName" ? definition.node : initialValue(definition.node) }
        }
      }
      return { name }
    }
    const look = (from: Node): void =>
      walk(from, (node) => {
        if (seen.has(node)) {
          return false
        }
        seen.add(node)
        const why = reasonAgainst(node, meaningOf)
        if (why !== undefined) {
          report({ node, message: why })
          return false
        }
        const value = node.type === "Identifier" ? meaningOf(node).value : undefined
        if (value !== undefined) {
          look(value)
        }
        return true
      })
    return {
      CallExpression: (call: Node) => {
        if (defining.test(fullName(calleeOf(call), meaningOf) ?? "")) {
          children(call["arguments"]).forEach(look)
        }
      }
    }
  }
}

/** What an identifier stands for: something global or imported, by its name, or a value of the same file, if that is known. */
interface Meaning {
  readonly name?: string | undefined
  readonly value?: Node | undefined
}

const reasonAgainst = (node: Node, meaningOf: (identifier: Node) => Meaning): string | undefined => {
  if (node.type === "AwaitExpression" || node["async"] === true) {
    return `A promise is not part of the transaction; ${again}`
  }
  if (node.type === "NewExpression" && children(node["arguments"]).length === 0) {
    return fullName(node["callee"], meaningOf) === "Date" ? `\`new Date()\`: ${differs}` : undefined
  }
  const name = node.type === "MemberExpression" || node.type === "Identifier" ? fullName(node, meaningOf) : undefined
  const why = name === undefined ? undefined : refused.find(([pattern]) => pattern.test(name))?.[1]
  return why === undefined ? undefined : `\`${name}\`: ${why}`
}

/** What is called, also where it is called by steps: `Decider.tagged<…>()({ … })`. */
const calleeOf = (call: Node): unknown => {
  const { callee } = call
  return isNode(callee) && callee.type === "CallExpression" ? calleeOf(callee) : callee
}

/** `Effect.promise` for what is written like that, under whatever name it was imported. */
const fullName = (node: unknown, meaningOf: (identifier: Node) => Meaning): string | undefined => {
  if (!isNode(node)) {
    return undefined
  }
  if (node.type === "Identifier") {
    return meaningOf(node).name
  }
  if (node.type !== "MemberExpression" || node["computed"] === true || !isNode(node["property"])) {
    return undefined
  }
  const of = fullName(node["object"], meaningOf)
  const name = String(node["property"]["name"])
  return of === undefined ? undefined : of === "globalThis" ? name : `${of}.${name}`
}

/** `Effect` for `import * as Fx from "effect/Effect"`, `Effect.runSync` for `import { runSync } from "effect/Effect"`. */
const importedName = (specifier: Node, declaration: unknown): string => {
  const { imported } = specifier
  const source = isNode(declaration) && isNode(declaration["source"]) ? String(declaration["source"]["value"]) : ""
  const file = source.slice(source.lastIndexOf("/") + 1).replace(/\.[a-z]+$/, "")
  const name = isNode(imported) ? String(imported["name"]) : undefined
  return name === undefined ? file : /^[A-Z]/.test(file) ? `${file}.${name}` : name
}

const initialValue = (declarator: Node): Node | undefined =>
  declarator.type === "VariableDeclarator" && isNode(declarator["init"]) ? declarator["init"] : undefined

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as { readonly type?: unknown }).type === "string"

const children = (value: unknown): ReadonlyArray<Node> => (Array.isArray(value) ? value.filter(isNode) : [])

/** What stands in a tree but is no code that runs, or no reference: names of members and keys, and types. */
const isSkipped = (node: Node, field: string): boolean =>
  field === "parent" ||
  field === "typeAnnotation" ||
  field === "typeArguments" ||
  field === "typeParameters" ||
  field === "returnType" ||
  (field === "property" && node.type === "MemberExpression" && node["computed"] !== true) ||
  (field === "key" && node.type === "Property" && node["computed"] !== true)

/** Goes through a tree from the top; where `visit` answers `false` it goes no deeper. */
const walk = (node: Node, visit: (node: Node) => boolean | void): void => {
  if (visit(node) === false) {
    return
  }
  for (const field of Object.keys(node)) {
    if (!isSkipped(node, field)) {
      const value = node[field]
      for (const child of Array.isArray(value) ? children(value) : isNode(value) ? [value] : []) {
        walk(child, visit)
      }
    }
  }
}
