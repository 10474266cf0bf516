// Starts lb in front of the suite's origin, runs the suite, and compares what passes with what is recorded in score.json.
//
//     node run.mjs LB SUITE OUT [score.json]
//
// Fails when a required or optimal test does not pass that is not among the recorded ones. A test that passes although it is among them
// is named, and no failure. What fails unexpectedly is run once more, alone, because the suite measures in seconds and machines are busy.

import net from 'node:net'
import path from 'node:path'
import { execFile, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { judge } from './score.mjs'

const [lb, suite, out, recorded] = process.argv.slice(2)
const here = path.dirname(fileURLToPath(import.meta.url))

// Below the range from which the system takes the ports of outgoing connections.
async function freePort () {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    const free = await new Promise(resolve => {
      const server = net.createServer().once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}

const port = await freePort()
const originPort = await freePort()
const base = `http://127.0.0.1:${port}`
const proxy = spawn(lb, ['run', '-c', path.join(here, 'lb.toml')], {
  env: { ...process.env, CONFORMANCE_PORT: port, CONFORMANCE_ORIGIN_PORT: originPort },
  stdio: ['ignore', 'ignore', 'inherit']
})
const ended = new Promise(resolve => proxy.once('exit', resolve))
const stop = () => { proxy.kill('SIGTERM') }
process.once('exit', stop)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))

async function listening () {
  const until = Date.now() + 20_000
  while (Date.now() < until && proxy.exitCode === null) {
    const answers = await new Promise(resolve => {
      const socket = net.connect(port, '127.0.0.1')
      socket.once('connect', () => { socket.destroy(); resolve(true) })
      socket.once('error', () => resolve(false))
    })
    if (answers) return
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  throw new Error('lb does not listen')
}

async function run (ids) {
  const args = [path.join(here, 'suite.mjs'), suite, originPort, base, ...ids]
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', ...args.map(String)], {
    maxBuffer: 1 << 26,
    timeout: 300_000
  })
  return JSON.parse(stdout)
}

await listening()
const { kinds, results } = await run([])
const known = recorded ? JSON.parse(readFileSync(recorded, 'utf8')).rest : {}
let verdict = judge(kinds, results, known)
if (verdict.unexpected.length > 0 && recorded) {
  console.log(`once more: ${verdict.unexpected.join(' ')}`)
  const again = await run(verdict.unexpected)
  verdict = judge(kinds, { ...results, ...again.results }, known)
}
writeFileSync(out, `${JSON.stringify({ score: verdict.score, rest: verdict.rest, results: verdict.results }, null, 2)}\n`)

for (const [kind, { passed, of }] of Object.entries(verdict.score)) console.log(`${kind.padEnd(9)} ${passed} of ${of}`)
for (const id of verdict.improved) console.log(`passes by now: ${id} (take it out of ${path.basename(recorded)})`)
if (!recorded) for (const [id, why] of Object.entries(verdict.rest)) console.log(`${id}: ${why}`)
for (const id of verdict.unexpected) if (recorded) console.error(`does not pass: ${id}: ${verdict.rest[id]}`)
stop()
await ended
process.exit(recorded && verdict.unexpected.length > 0 ? 1 : 0)
