/**
 * The names that projections and reactors have in the database.
 */
import * as Json from "../../store/internal/json.ts"

/**
 * What a projection is known by.
 */
export interface Named {
  readonly name: string
  readonly version: number
}

const kind = "projection/"

/**
 * The beginning of the names of the consumers that are projections.
 */
export const consumers = kind

/**
 * The consumer that makes a version of a projection.
 */
export const consumerOf = ({ name, version }: Named): string => `${kind}${name}/${version}`

/**
 * The beginning of the names of the consumers that build inline projections.
 */
export const inlineConsumers = "inline/"

/**
 * The consumer that builds a version of an inline projection.
 */
export const inlineConsumerOf = ({ name, version }: Named): string => `${inlineConsumers}${name}/${version}`

/**
 * The version of a projection that a consumer makes, all of it or a partition.
 */
export const ofConsumer = (consumer: string): Named => {
  const end = consumer.lastIndexOf("/")
  return { name: consumer.slice(consumer.indexOf("/") + 1, end), version: Number.parseInt(consumer.slice(end + 1), 10) }
}

/**
 * The documents of a version of a projection.
 */
export const collectionOf = ({ name, version }: Named): string => `${name}/${version}`

/**
 * The beginning of the names of the consumers that are reactors.
 */
export const reactors = "reactor/"

/**
 * The consumer that is a reactor.
 */
export const reactorOf = ({ name }: { readonly name: string }): string => `${reactors}${name}`

/**
 * What is wrong with a name, if something is.
 */
export const issueOf = (name: string): string | undefined => {
  if (name === "") {
    return "it has no name; give it one that no other has"
  }
  const isStorable = name.isWellFormed() && !name.includes("\u0000") && Json.utf8Length(name) <= 200
  return isStorable ? undefined : "no store can hold that name; give it one of at most 200 bytes"
}
