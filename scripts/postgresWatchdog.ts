/**
 * Ends processes for good: used by `EmbeddedPostgres.ts` when a scope closes, and run on its own as the watchdog that
 * does the same work when the process that started the server dies without closing anything (`kill -9`).
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import { createInterface } from "node:readline"
import { setTimeout } from "node:timers/promises"

/** What has to go when its owner is gone. */
export interface Watched {
  readonly pid: number | undefined
  /** A server is shut down; `initdb` has nothing to save, and is killed. */
  readonly isServer: boolean
  readonly folders: ReadonlyArray<string>
}

/** Ends the process and removes the folders, in this order. Doing it twice is harmless. */
export const cleanUp = async ({ folders, isServer, pid }: Watched): Promise<void> => {
  if (pid !== undefined && isServer) await stop(pid)
  if (pid !== undefined && !isServer) killTree(pid)
  for (const folder of folders) {
    for (let attempt = 0; attempt < 50 && Fs.existsSync(folder); attempt++) {
      // A process that was killed a moment ago may still finish what it was doing in there
      if (attempt > 0) await setTimeout(100)
      Fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
    }
  }
}

/** PostgreSQL's fast shutdown, then its immediate one, then `SIGKILL` for all of it. */
export const stop = async (pid: number): Promise<void> => {
  send(pid, "SIGINT")
  if (await isGone(pid, 30_000)) return
  send(pid, "SIGQUIT")
  if (await isGone(pid, 5_000)) return
  killTree(pid)
  await isGone(pid, 5_000)
}

/**
 * Sends `SIGKILL` to a server and every process it has forked: what a crash of the machine looks like to it.
 *
 * The processes of a server each have a session of their own, so they are counted, with their parent frozen meanwhile so
 * that it forks no more. Those of `initdb` are all in its process group.
 */
export const killTree = (pid: number): void => {
  if (process.platform === "win32") {
    spawnSync("taskkill", ["/T", "/F", "/PID", String(pid)])
    return
  }
  send(pid, "SIGSTOP")
  for (const each of [...childrenOf(pid), -pid, pid]) send(each, "SIGKILL")
}

/** Finds the server of a folder by its command line, for an owner that died before it could tell the id. */
const serverOf = (folder: string): number | undefined =>
  Fs.existsSync("/proc/self/cmdline")
    ? Fs.readdirSync("/proc")
        .map(Number)
        .find((each) => each > 0 && readProc(each, "cmdline")?.includes(`unix_socket_directories=${folder}\0`))
    : undefined

/** The processes a server has forked. */
export const childrenOf = (pid: number): ReadonlyArray<number> => {
  switch (process.platform) {
    case "win32":
      return []
    case "linux": // slim images have no `ps`
      return Fs.readdirSync("/proc")
        .map(Number)
        .filter((each) => each > 0 && processStat(each)?.parent === pid)
    default:
      return spawnSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" })
        .stdout.trim()
        .split("\n")
        .map((line) => line.trim().split(/\s+/).map(Number))
        .flatMap(([each, parent]) => (each !== undefined && parent === pid ? [each] : []))
  }
}

/** Whether a process runs. Orphaned zombies do not count: in a container nobody may ever reap them. */
export const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
  return process.platform !== "linux" || (processStat(pid)?.state ?? "Z") !== "Z"
}

const isGone = async (pid: number, patience: number): Promise<boolean> => {
  for (const end = performance.now() + patience; isRunning(pid); await setTimeout(10)) {
    if (performance.now() > end) return false
  }
  return true
}

const send = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal)
  } catch {
    // already gone
  }
}

const processStat = (pid: number): { readonly state: string; readonly parent: number } | undefined => {
  const stat = readProc(pid, "stat")
  if (stat === undefined) return undefined
  // "42 (name, may hold spaces) S 1 ...": state and parent follow the last parenthesis
  const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return { state: state!, parent: Number(parent) }
}

const readProc = (pid: number, file: string): string | undefined => {
  try {
    return Fs.readFileSync(`/proc/${pid}/${file}`, "utf8")
  } catch {
    return undefined // it has ended meanwhile
  }
}

// The owner writes what it holds to our stdin, one JSON line per change; the system closes that pipe whenever and
// however the owner ends. The title keeps a `pkill node` from taking the watchdog along.
if (import.meta.main) {
  process.title = "pg-watchdog"
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {})
  let watched: Watched = { pid: undefined, isServer: false, folders: [] }
  for await (const line of createInterface({ input: process.stdin })) watched = JSON.parse(line)
  const forgotten =
    watched.pid === undefined ? watched.folders.map(serverOf).find((pid) => pid !== undefined) : undefined
  await cleanUp(forgotten === undefined ? watched : { ...watched, pid: forgotten, isServer: true })
}
