/**
 * Prints `N passed, N failed, N skipped` from vitest's JSON report, as the last line. A file that fails to load and an error
 * outside of any test count as failed. With `--ci`, a skipped test that `scripts/allowed-skips.txt` does not name fails too.
 * Plain JavaScript that any Node from 20 on runs: `node scripts/test-summary.mjs reports/tests.json [--ci]`.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';

const [file, flag] = process.argv.slice(2);
const root = path.resolve(import.meta.dirname, '..');
const report = JSON.parse(readFileSync(file, 'utf8'));
const tests = report.testResults.flatMap((result) =>
  result.assertionResults.map((test) => ({
    status: test.status,
    name: `${path.relative(root, result.name)} > ${[...test.ancestorTitles, test.title].join(' > ')}`,
  })),
);
const named = (...states) => tests.filter((test) => states.includes(test.status)).map((test) => test.name);

const passed = named('passed');
const skipped = named('skipped', 'pending', 'disabled', 'todo');
const failed = named('failed');
for (const result of report.testResults) {
  const hasFailedTest = result.assertionResults.some((test) => test.status === 'failed');
  if (result.status === 'failed' && !hasFailedTest)
    failed.push(`${path.relative(root, result.name)} (the file itself)`);
}
if (failed.length === 0 && !report.success) failed.push('an error outside of any test');
if (passed.length === 0) failed.push('no test ran');

if (flag === '--ci') {
  const allowed = readFileSync(path.join(root, 'scripts/allowed-skips.txt'), 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
  for (const name of skipped.filter((skip) => !allowed.includes(skip)))
    failed.push(`skipped, and not allowed to: ${name}`);
}

for (const name of failed) console.log(`failed: ${name}`);
for (const name of skipped) console.log(`skipped: ${name}`);
console.log(`${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
process.exitCode = failed.length === 0 ? 0 : 1;
