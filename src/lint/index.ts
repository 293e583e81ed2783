/**
 * A plugin for oxlint and ESLint: `pure-projections` finds what projections must not do and types cannot forbid.
 *
 * In `.oxlintrc.json`:
 *
 * ```json
 * {
 *   "jsPlugins": [{ "name": "effect-decider", "specifier": "effect-decider/lint" }],
 *   "rules": { "effect-decider/pure-projections": "error" }
 * }
 * ```
 *
 * @since 0.1.0
 */
import { type Rule, rule } from "./PureProjections.ts"

const plugin: {
  readonly meta: { readonly name: string }
  readonly rules: { readonly "pure-projections": Rule }
} = {
  meta: { name: "effect-decider" },
  rules: { "pure-projections": rule }
}

export default plugin
