// Runs tests of the suite, by its own client, against a cache that is in front of its own origin server.
//
//     node suite.mjs SUITE ORIGIN_PORT BASE_URL [ID]…
//
// prints {"kinds": {id: {kind, needs}}, "results": {id: true | [kind of failure, message]}}. The tests of a chunk run at once.

import http from 'node:http'
import path from 'node:path'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [suite, originPort, base, ...only] = process.argv.slice(2)
const CHUNK = 50

// The npm package has everything at its root; a checkout of today has moved the engine into a folder.
const moved = existsSync(path.join(suite, 'test-engine'))
const load = file => import(pathToFileURL(path.join(suite, file)).href)
const engine = file => load(path.join(moved ? 'test-engine' : '.', file))

// The suite's server listens on every address; this one on the loopback only.
async function serve () {
  const [config, state, test] = await Promise.all(['config', 'state', 'test'].map(name => engine(`server/handle-${name}.mjs`)))
  const handlers = { config: config.default, state: state.default, test: test.default }
  const server = http.createServer((request, response) => {
    const [, kind, ...rest] = new URL(request.url, base).pathname.split('/')
    if (kind in handlers) return handlers[kind](rest, request, response)
    response.writeHead(kind === '' ? 204 : 404).end()
  })
  // Longer than the cache keeps idle connections, so that none is closed under a request.
  server.keepAliveTimeout = 90_000
  await new Promise((resolve, reject) => server.once('error', reject).listen(Number(originPort), '127.0.0.1', resolve))
  return server
}

// What the suite says on standard output is not for whoever reads the results there.
const print = console.log
console.log = console.error = () => {}

const suites = (await load('tests/index.mjs')).default
const kinds = {}
for (const test of suites.flatMap(suite => suite.tests)) {
  if (test.browser_only) continue
  kinds[test.id] = { kind: test.kind ?? 'required', needs: test.depends_on ?? [] }
}
const wanted = only.length === 0
  ? suites
  : suites.map(suite => ({ ...suite, tests: suite.tests.filter(test => only.includes(test.id)) }))

await serve()
const { runTests, getResults } = await engine('client/runner.mjs')
if (moved) {
  await runTests(wanted, false, base, CHUNK)
} else {
  // The fetch that Node.js has adds fields of its own to requests, as browsers do.
  const fetch = createRequire(path.join(suite, 'package.json'))('node-fetch')
  await runTests(wanted, fetch, false, base, CHUNK)
}
print(JSON.stringify({ kinds, results: getResults() }))
process.exit(0)
