// Scores results as the suite's own page does: a test whose dependency does not pass is not counted as failed, nor is one that could not be set up.

const passes = (id, kinds, results) => verdict(id, kinds, results) === 'passed'

function verdict (id, kinds, results) {
  const result = results[id]
  if (result === undefined) return 'not run'
  const needs = kinds[id].needs.filter(needed => !passes(needed, kinds, results))
  if (needs.length > 0) return `needs ${needs.join(', ')}`
  if (result === true) return 'passed'
  const [why, message] = result
  return why === 'Assertion' ? message : `${why}: ${message}`
}

// `known`: the ids that are not expected to pass.
export function judge (kinds, results, known) {
  const score = { required: { passed: 0, of: 0 }, optimal: { passed: 0, of: 0 }, check: { passed: 0, of: 0 } }
  const rest = {}
  const checks = {}
  for (const [id, { kind }] of Object.entries(kinds)) {
    score[kind].of += 1
    const said = verdict(id, kinds, results)
    if (said === 'passed') score[kind].passed += 1
    else (kind === 'check' ? checks : rest)[id] = said
  }
  return {
    score,
    rest,
    results: Object.fromEntries(Object.keys(kinds).map(id => [id, { kind: kinds[id].kind, said: verdict(id, kinds, results) }])),
    unexpected: Object.keys(rest).filter(id => !(id in known)),
    improved: Object.keys(known).filter(id => id in kinds && !(id in rest))
  }
}
