/**
 * Courses and who attends them: rules that no single stream knows enough for. Pure, but for the last few lines.
 *
 * A course has so many seats; a student attends three courses at most. Whether Ada may attend the course in logic depends on
 * the events of that course and on those of Ada, and on nothing else.
 */
import { Result, Schema } from "effect"
import { Criteria, Decider, DecisionModel, EventSchema, StreamId } from "effect-decider"

export const EnrolmentEvent = Schema.TaggedUnion({
  CourseOffered: { course: Schema.String, seats: Schema.Natural },
  SeatsChanged: { course: Schema.String, seats: Schema.Natural },
  StudentRegistered: { student: Schema.String },
  StudentEnrolled: { course: Schema.String, student: Schema.String },
  StudentLeft: { course: Schema.String, student: Schema.String }
})
export type EnrolmentEvent = typeof EnrolmentEvent.Type

export const EnrolmentCommand = Schema.TaggedUnion({
  Offer: { course: Schema.String, seats: Schema.Natural },
  ChangeSeats: { course: Schema.String, seats: Schema.Natural },
  Register: { student: Schema.String },
  Enrol: { course: Schema.String, student: Schema.String },
  Leave: { course: Schema.String, student: Schema.String }
})
export type EnrolmentCommand = typeof EnrolmentCommand.Type

export class NoSuchCourse extends Schema.TaggedError<NoSuchCourse>()("NoSuchCourse", { course: Schema.String }) {}
export class AlreadyOffered extends Schema.TaggedError<AlreadyOffered>()("AlreadyOffered", { course: Schema.String }) {}
export class TooFewSeats extends Schema.TaggedError<TooFewSeats>()("TooFewSeats", { taken: Schema.Natural }) {}
export class CourseFull extends Schema.TaggedError<CourseFull>()("CourseFull", { seats: Schema.Natural }) {}
export class NotRegistered extends Schema.TaggedError<NotRegistered>()("NotRegistered", { student: Schema.String }) {}
export class TooManyCourses extends Schema.TaggedError<TooManyCourses>()("TooManyCourses", {
  courses: Schema.Array(Schema.String)
}) {}

export const maxCourses = 3

/** What is known of the courses and students that a command is about. */
export interface Enrolments {
  readonly seats: { readonly [course: string]: number }
  readonly students: ReadonlyArray<string>
  readonly enrolled: ReadonlyArray<{ readonly course: string; readonly student: string }>
}

const { CourseOffered, SeatsChanged, StudentEnrolled, StudentLeft, StudentRegistered } = EnrolmentEvent.cases

const taken = ({ enrolled }: Enrolments, course: string) => enrolled.filter((one) => one.course === course).length

const isEnrolled = ({ enrolled }: Enrolments, command: { readonly course: string; readonly student: string }) =>
  enrolled.some(({ course, student }) => course === command.course && student === command.student)

export const Enrolment = Decider.tagged<EnrolmentCommand, Enrolments, EnrolmentEvent>()({
  initialState: { seats: {}, students: [], enrolled: [] },
  decide: {
    Offer: ({ course, seats }, known) =>
      known.seats[course] === undefined
        ? Result.succeed([CourseOffered.make({ course, seats })])
        : Result.fail(new AlreadyOffered({ course })),
    ChangeSeats: ({ course, seats }, known) => {
      if (known.seats[course] === undefined) {
        return Result.fail(new NoSuchCourse({ course }))
      }
      return taken(known, course) > seats
        ? Result.fail(new TooFewSeats({ taken: taken(known, course) }))
        : Result.succeed(known.seats[course] === seats ? [] : [SeatsChanged.make({ course, seats })])
    },
    Register: ({ student }, known) =>
      Result.succeed(known.students.includes(student) ? [] : [StudentRegistered.make({ student })]),
    Enrol: ({ course, student }, known) => {
      const seats = known.seats[course]
      if (seats === undefined) {
        return Result.fail(new NoSuchCourse({ course }))
      }
      if (!known.students.includes(student)) {
        return Result.fail(new NotRegistered({ student }))
      }
      if (isEnrolled(known, { course, student })) {
        return Result.succeed([])
      }
      if (taken(known, course) >= seats) {
        return Result.fail(new CourseFull({ seats }))
      }
      const courses = known.enrolled.filter((one) => one.student === student).map((one) => one.course)
      return courses.length >= maxCourses
        ? Result.fail(new TooManyCourses({ courses }))
        : Result.succeed([StudentEnrolled.make({ course, student })])
    },
    Leave: ({ course, student }, known) =>
      Result.succeed(isEnrolled(known, { course, student }) ? [StudentLeft.make({ course, student })] : [])
  },
  evolve: {
    CourseOffered: (known, { course, seats }) => ({ ...known, seats: { ...known.seats, [course]: seats } }),
    SeatsChanged: (known, { course, seats }) => ({ ...known, seats: { ...known.seats, [course]: seats } }),
    StudentRegistered: (known, { student }) => ({ ...known, students: [...known.students, student] }),
    StudentEnrolled: (known, { course, student }) => ({ ...known, enrolled: [...known.enrolled, { course, student }] }),
    StudentLeft: (known, { course, student }) => ({
      ...known,
      enrolled: known.enrolled.filter((one) => one.course !== course || one.student !== student)
    })
  }
})

const aboutCourse = (course: string) => `course:${course}`
const aboutStudent = (student: string) => `student:${student}`

export const EnrolmentEvents = EventSchema.make({
  event: EnrolmentEvent,
  // What an event is about, ...
  tags: (event) => [
    ...("course" in event ? [aboutCourse(event.course)] : []),
    ...("student" in event ? [aboutStudent(event.student)] : [])
  ],
  // ... and the one stream it stands in: its course's, or its student's if it is about no course.
  streamOf: (event) =>
    "course" in event ? StreamId.make("course", event.course) : StreamId.make("student", event.student)
})

/** What a command is decided on. */
export const boundary = (command: EnrolmentCommand): Criteria.Criteria => {
  switch (command._tag) {
    case "Register":
      return Criteria.tags(aboutStudent(command.student))
    case "Offer":
    case "ChangeSeats":
      return Criteria.tags(aboutCourse(command.course))
    default:
      return Criteria.anyOf({ tags: [aboutCourse(command.course)] }, { tags: [aboutStudent(command.student)] })
  }
}

export class Office extends DecisionModel.Service<Office>()("example/Office", {
  name: "enrolment",
  decider: Enrolment,
  events: EnrolmentEvents,
  criteria: boundary
}) {}
