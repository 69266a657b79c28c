#!/usr/bin/env node
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `changeover needs Node 22.18 or later; this is ${process.version}.\n→ install a later Node, or: npx -p node@24 -p changeover changeover`,
  );
  process.exit(2);
}

// Node before 24 announces at every start that its SQLite is experimental; other warnings stay.
const { emitWarning } = process;
process.emitWarning = (warning, ...rest) =>
  String(warning).startsWith('SQLite is an experimental') ? undefined : emitWarning.call(process, warning, ...rest);
process.getBuiltinModule('node:sqlite');
process.emitWarning = emitWarning;

// Compiled once, not at every verb: it halves the start. Where nothing can be kept (a full disk), it just compiles.
process.getBuiltinModule('node:module').enableCompileCache?.();

const { runCli } = await import('changeover/cli');
process.exitCode = await runCli(process.argv.slice(2));
