/**
 * A help desk's ticket: ten commands, ten events, maps and dates. What `DeciderLaws` is measured on.
 */
import { Result, Schema } from "effect"
import { Decider } from "effect-decider"

const Name = Schema.Literals(["ada", "ben", "cleo", "dan"])
const Text = Schema.String
const Minutes = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 480 }))

export const TicketCommand = Schema.TaggedUnion({
  Open: { subject: Text, by: Text, on: Schema.Date },
  Assign: { to: Name },
  Comment: { id: Text, by: Name, text: Text },
  EditComment: { id: Text, text: Text },
  DeleteComment: { id: Text },
  Label: { label: Text },
  Unlabel: { label: Text },
  LogTime: { by: Name, minutes: Minutes },
  Resolve: { on: Schema.Date },
  Archive: {}
})
export type TicketCommand = typeof TicketCommand.Type

export const TicketEvent = Schema.TaggedUnion({
  Opened: { subject: Text, by: Text, on: Schema.Date },
  Assigned: { to: Name },
  Commented: { id: Text, by: Name, text: Text },
  CommentEdited: { id: Text, text: Text },
  CommentDeleted: { id: Text },
  Labelled: { label: Text },
  Unlabelled: { label: Text },
  TimeLogged: { by: Name, minutes: Minutes },
  Resolved: { on: Schema.Date },
  Archived: {}
})
export type TicketEvent = typeof TicketEvent.Type

export interface Ticket {
  readonly status: "none" | "open" | "resolved" | "archived"
  readonly assignee: string | undefined
  readonly comments: ReadonlyMap<string, { readonly by: string; readonly text: string }>
  readonly labels: ReadonlySet<string>
  readonly minutes: number
}

const { cases: Event } = TicketEvent
const unless = (is: boolean, event: TicketEvent) => Result.succeed(is ? [] : [event])
const notOpen = Result.fail("NotOpen" as const)
const noComment = Result.fail("NoSuchComment" as const)

export const Ticket = Decider.tagged<TicketCommand, Ticket, TicketEvent>()({
  initialState: { status: "none", assignee: undefined, comments: new Map(), labels: new Set(), minutes: 0 },
  decide: {
    Open: ({ _tag, ...opened }, { status }) =>
      status === "none" ? Result.succeed([Event.Opened.make(opened)]) : Result.fail("AlreadyOpen" as const),
    Assign: ({ to }, { assignee, status }) =>
      status === "open" ? unless(assignee === to, Event.Assigned.make({ to })) : notOpen,
    Comment: ({ _tag, ...comment }, { comments, status }) =>
      status === "none" ? notOpen : unless(comments.has(comment.id), Event.Commented.make(comment)),
    EditComment: ({ id, text }, { comments }) =>
      comments.has(id) ? unless(comments.get(id)!.text === text, Event.CommentEdited.make({ id, text })) : noComment,
    DeleteComment: ({ id }, { comments }) =>
      comments.has(id) ? Result.succeed([Event.CommentDeleted.make({ id })]) : noComment,
    Label: ({ label }, { labels, status }) =>
      status === "none" ? notOpen : unless(labels.has(label), Event.Labelled.make({ label })),
    Unlabel: ({ label }, { labels }) => unless(!labels.has(label), Event.Unlabelled.make({ label })),
    LogTime: ({ by, minutes }, { status }) =>
      status === "open" ? Result.succeed([Event.TimeLogged.make({ by, minutes })]) : notOpen,
    Resolve: ({ on }, { status }) => (status === "open" ? Result.succeed([Event.Resolved.make({ on })]) : notOpen),
    Archive: (_, { status }) => (status === "resolved" ? Result.succeed([Event.Archived.make({})]) : notOpen)
  },
  evolve: {
    Opened: (ticket) => ({ ...ticket, status: "open" }),
    Assigned: (ticket, { to }) => ({ ...ticket, assignee: to }),
    Commented: (ticket, { by, id, text }) => ({
      ...ticket,
      comments: new Map([...ticket.comments, [id, { by, text }]])
    }),
    CommentEdited: (ticket, { id, text }) => ({
      ...ticket,
      comments: new Map([...ticket.comments, [id, { by: ticket.comments.get(id)!.by, text }]])
    }),
    CommentDeleted: (ticket, { id }) => ({
      ...ticket,
      comments: new Map([...ticket.comments].filter(([key]) => key !== id))
    }),
    Labelled: (ticket, { label }) => ({ ...ticket, labels: new Set([...ticket.labels, label]) }),
    Unlabelled: (ticket, { label }) => ({
      ...ticket,
      labels: new Set([...ticket.labels].filter((each) => each !== label))
    }),
    TimeLogged: (ticket, { minutes }) => ({ ...ticket, minutes: ticket.minutes + minutes }),
    Resolved: (ticket) => ({ ...ticket, status: "resolved" }),
    Archived: (ticket) => ({ ...ticket, status: "archived" })
  },
  isTerminal: ({ status }) => status === "archived"
})
