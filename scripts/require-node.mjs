/**
 * Stops with a sentence when an older Node would run this repository's scripts.
 *
 * Inside npm scripts the development dependency `node` brings Node 24, whatever the machine's own Node is. It comes by
 * an install script; where those are forbidden, npm would silently use the machine's Node instead.
 */
const needed = 24
// Before this minor `node:sqlite` does not bind the parameters ?1, ?2 by position.
const neededMinor = 7
const [major, minor] = process.versions.node.split(".").map(Number)

if (major < needed || (major === needed && minor < neededMinor)) {
  const system = process.platform === "win32" ? "win" : process.platform
  console.error(`
  This repository runs on Node ${needed}.${neededMinor} or newer, but this is Node ${process.versions.node}.

  \`npm ci\` brings Node ${needed} as a development dependency, unless install scripts are switched off. Either
    - allow the one install script that is needed:   npm rebuild node --ignore-scripts=false
    - or put any such Node first on your PATH, for instance the same binary from a package without a script:
        npm install --no-save node-${system}-${process.arch}@${needed}
        PATH="$PWD/node_modules/node-${system}-${process.arch}/bin:$PATH" npm test
  and start things with \`npm run\` or \`npm test\`, which put node_modules/.bin on the PATH.
`)
  process.exit(1)
}
