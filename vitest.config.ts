import { availableParallelism } from "node:os"
import { join } from "node:path"
import { defineConfig } from "vitest/config"

// The source condition makes `import ... from "effect-decider"` mean `src`, so tests need no build. The other conditions
// are Vite's defaults, which setting the option would otherwise drop.
const conditions = ["@effect-decider/source", "module", "node", "development|production"]

// Workers, and the many processes that tests start and kill, begin in half of the time when they need not compile all again.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "node_modules/.cache/compiled")

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["@effect-decider/source", "node", "module-sync"] } },
  test: {
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    // Starts one PostgreSQL for the whole run, and stops it.
    globalSetup: ["test/support/globalSetup.ts"],
    // Real databases on small machines that do other things too: no test takes a tenth of it, so that a limit means a hang.
    // It is for all tests, and none has one of its own.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    teardownTimeout: 60_000,
    sequence: { concurrent: false },
    // Much of the time is spent in waiting for databases and processes, so three at once also where there are two cores.
    maxWorkers: Math.max(3, availableParallelism() - 1)
  }
})
