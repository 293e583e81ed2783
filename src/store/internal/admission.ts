/**
 * What no store accepts, refused in one place before any store sees it.
 */
import { isArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Result from "effect/Result"
import * as Criteria from "../Criteria.ts"
import * as EventId from "../EventId.ts"
import type { AppendOptions, Range, ReadOptions, StreamRange, StreamReadOptions, Write } from "../EventStore.ts"
import type { NewEvent } from "../NewEvent.ts"
import * as Position from "../Position.ts"
import { InvalidEvent, InvalidRequest } from "../StoreError.ts"
import * as StreamId from "../StreamId.ts"
import * as StreamVersion from "../StreamVersion.ts"
import * as Json from "./json.ts"

const limits = {
  streamBytes: 512,
  typeBytes: 256,
  tagBytes: 256,
  tags: 64,
  eventBytes: 8 * 1024 * 1024,
  events: 10_000
} as const

/**
 * Checked writes with private copies of their events, so that nothing the caller changes later reaches a store.
 */
export const writes = (
  requested: ReadonlyArray<Write>,
  options: AppendOptions | undefined
): Result.Result<NonEmptyReadonlyArray<Write>, InvalidEvent | InvalidRequest> => {
  const refuse = (issue: string) => Result.fail(new InvalidRequest({ operation: "append", issue }))
  if (options?.condition !== undefined) {
    return refuse("append conditions are not supported yet; expect a version of each stream instead")
  }
  let events = 0
  const streams = new Set<StreamId.StreamId>()
  const admitted: Array<Write> = []
  for (const write of requested) {
    const issue = streamIssue(write.stream) ?? expectedIssue(write)
    if (issue !== undefined) {
      return refuse(issue)
    }
    if (streams.has(write.stream)) {
      return refuse(`stream "${write.stream}" stands in it twice; put its events into one write`)
    }
    streams.add(write.stream)
    events += write.events.length
    if (events > limits.events) {
      return refuse(`it has more than ${limits.events} events; append them in several steps`)
    }
    const copies = copyEvents(write)
    if (Result.isFailure(copies)) {
      return Result.fail(copies.failure)
    }
    admitted.push({ stream: write.stream, expected: write.expected, events: copies.success })
  }
  return isArrayNonEmpty(admitted) ? Result.succeed(admitted) : refuse("it writes to no stream")
}

/**
 * A checked range of a stream.
 */
export const streamRange = (
  operation: string,
  stream: StreamId.StreamId,
  options: StreamReadOptions = {}
): Result.Result<StreamRange, InvalidRequest> => {
  const after = options.after ?? 0
  const upTo = options.upTo ?? StreamVersion.max
  const limit = options.limit ?? Number.MAX_SAFE_INTEGER
  const issue = streamIssue(stream) ?? versionIssue("after", after) ?? versionIssue("upTo", upTo) ?? limitIssue(limit)
  return issue === undefined
    ? Result.succeed({ after, upTo, limit, direction: options.direction ?? "forward" })
    : Result.fail(new InvalidRequest({ operation, issue }))
}

/**
 * A checked range of the global order.
 */
export const range = (options: ReadOptions = {}): Result.Result<Range, InvalidRequest> => {
  const criteria = options.criteria ?? Criteria.all
  const after = options.after ?? Position.origin
  const upTo = options.upTo ?? Position.make(Position.max)
  const limit = options.limit ?? Number.MAX_SAFE_INTEGER
  const issue =
    positionIssue("after", after) ??
    positionIssue("upTo", upTo) ??
    limitIssue(limit) ??
    categoryIssue(options.category) ??
    criteriaIssue(criteria)
  return issue === undefined
    ? Result.succeed({
        criteria,
        category: options.category,
        after,
        upTo,
        limit,
        direction: options.direction ?? "forward"
      })
    : Result.fail(new InvalidRequest({ operation: "read", issue }))
}

const copyEvents = (write: Write): Result.Result<ReadonlyArray<NewEvent>, InvalidEvent> => {
  const copies: Array<NewEvent> = []
  const ids = new Set<string>()
  for (let index = 0; index < write.events.length; index++) {
    const event = copyEvent(write.events[index]!)
    const issue = Result.isFailure(event)
      ? event.failure
      : ids.has(event.success.id)
        ? `its id ${event.success.id} is that of an earlier event of the same write`
        : undefined
    if (Result.isFailure(event) || issue !== undefined) {
      return Result.fail(new InvalidEvent({ stream: write.stream, index, issue: issue! }))
    }
    ids.add(event.success.id)
    copies.push(event.success)
  }
  return Result.succeed(copies)
}

const copyEvent = (event: NewEvent): Result.Result<NewEvent, string> => {
  if (!EventId.is(event.id)) {
    return Result.fail(`its id ${JSON.stringify(event.id)} is no UUID in lower case`)
  }
  const issue = nameIssue("its type", event.type, limits.typeBytes) ?? tagsIssue(event.tags)
  if (issue !== undefined) {
    return Result.fail(issue)
  }
  if (!Number.isInteger(event.schemaVersion) || event.schemaVersion < 1 || event.schemaVersion > StreamVersion.max) {
    return Result.fail(`its schema version ${event.schemaVersion} is no integer from 1 to ${StreamVersion.max}`)
  }
  const data = Json.copy(event.data)
  if (Result.isFailure(data)) {
    return Result.fail(`its data is not plain JSON: ${data.failure}`)
  }
  const metadata = Json.copy(event.metadata)
  if (Result.isFailure(metadata)) {
    return Result.fail(`its metadata is not plain JSON: ${metadata.failure}`)
  }
  if (!isObject(metadata.success.value)) {
    return Result.fail("its metadata is no JSON object")
  }
  if (data.success.maxBytes + metadata.success.maxBytes > limits.eventBytes) {
    const bytes = jsonBytes(data.success.value) + jsonBytes(metadata.success.value)
    if (bytes > limits.eventBytes) {
      return Result.fail(
        `its data and metadata take ${bytes} bytes of JSON, ${limits.eventBytes} at most; store large content elsewhere ` +
          "and refer to it"
      )
    }
  }
  return Result.succeed(
    Object.freeze({
      id: event.id,
      type: event.type,
      schemaVersion: event.schemaVersion,
      data: data.success.value,
      metadata: metadata.success.value,
      tags: event.tags.length === 0 ? noTags : Object.freeze(Array.from(new Set(event.tags)))
    })
  )
}

const noTags: ReadonlyArray<string> = Object.freeze([])

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value)

const jsonBytes = (value: unknown): number => Json.utf8Length(JSON.stringify(value))

const streamIssue = (stream: string): string | undefined =>
  nameIssue("the stream name", stream, limits.streamBytes) ??
  (StreamId.is(stream)
    ? undefined
    : `"${stream}" is no stream name; it is a category without a dash, a dash and an id, like cart-42`)

const expectedIssue = (write: Write): string | undefined =>
  write.expected._tag === "Exact" ? versionIssue("the expected version", write.expected.version) : undefined

const versionIssue = (what: string, version: number): string | undefined =>
  Number.isInteger(version) && version >= 0 && version <= StreamVersion.max
    ? undefined
    : `${what} ${version} is no stream version; it is an integer from 0 to ${StreamVersion.max}`

const positionIssue = (what: string, position: bigint): string | undefined =>
  typeof position === "bigint" && position >= 0n && position <= Position.max
    ? undefined
    : `${what} ${position} is no position`

const limitIssue = (limit: number): string | undefined =>
  Number.isSafeInteger(limit) && limit >= 1 ? undefined : `the limit ${limit} is no integer from 1`

const categoryIssue = (category: string | undefined): string | undefined =>
  category === undefined
    ? undefined
    : (nameIssue("the category", category, limits.streamBytes) ??
      (category.includes("-") ? `"${category}" is no category: a category ends at the first dash` : undefined))

const criteriaIssue = (criteria: Criteria.Criteria): string | undefined => {
  if (criteria._tag === "All") {
    return undefined
  }
  if (criteria.items.length === 0) {
    return "its criteria have no item; use Criteria.all for every event"
  }
  for (const { tags, types } of criteria.items) {
    if (types === undefined && tags === undefined) {
      return "an item of its criteria names neither types nor tags; use Criteria.all for every event"
    }
    if (types?.length === 0 || tags?.length === 0) {
      return "an item of its criteria has an empty list; leave out types or tags that do not matter"
    }
    for (const name of [...(types ?? []), ...(tags ?? [])]) {
      const issue = nameIssue("a type or tag of its criteria", name, limits.typeBytes)
      if (issue !== undefined) {
        return issue
      }
    }
  }
  return undefined
}

const tagsIssue = (tags: ReadonlyArray<string>): string | undefined => {
  if (tags.length > limits.tags) {
    return `it has ${tags.length} tags, ${limits.tags} at most`
  }
  for (const tag of tags) {
    const issue = nameIssue("a tag", tag, limits.tagBytes)
    if (issue !== undefined) {
      return issue
    }
  }
  return undefined
}

const nameIssue = (what: string, name: string, maxBytes: number): string | undefined => {
  if (typeof name !== "string" || name.length === 0) {
    return `${what} is empty`
  }
  const issue = Json.textIssue(name)
  if (issue !== undefined) {
    return `${what} cannot be stored: ${issue}`
  }
  // A UTF-16 unit takes at most three bytes, so short names need no measuring.
  if (name.length * 3 > maxBytes && Json.utf8Length(name) > maxBytes) {
    return `${what} takes ${Json.utf8Length(name)} bytes, ${maxBytes} at most`
  }
  return undefined
}
