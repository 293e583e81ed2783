/**
 * What there is to say when the version of a projection that a program has is not the one that is read.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A projection is not ready in the version that this program has, and what it was told to do about it does not help.
 *
 * - `active`: the version that is read now, if there is one.
 * - `issue`: what is the matter, and what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProjectionChanged extends Schema.TaggedError<ProjectionChanged>(
  "effect-decider/projection/ProjectionChanged"
)("ProjectionChanged", {
  projection: Schema.String,
  version: Schema.Int,
  active: Schema.UndefinedOr(Schema.Int),
  issue: Schema.String
}) {
  override get message(): string {
    return `The projection "${this.projection}" is not ready in version ${this.version}: ${this.issue}.`
  }
}
