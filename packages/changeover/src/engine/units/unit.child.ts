/** A small service for tests of units: `node unit.child.ts <port> [behaviour]`. */
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

const [port = '0', behaviour = 'good'] = process.argv.slice(2);
const { PASSIVE = '0', STARTED_LOG, BOOT_MS = '0', FOLDER = '' } = process.env;
if (STARTED_LOG !== undefined) appendFileSync(STARTED_LOG, `${process.pid}\n`);
let active = PASSIVE !== '1';
let busyAnswers = 3;

if (behaviour === 'dies') {
  console.log('reading settings');
  console.error('no such camera');
  process.exit(4);
}
if (behaviour === 'stubborn') process.on('SIGTERM', () => console.log('not now'));

const server = createServer((request, response) => {
  const { url = '/' } = request;
  if (behaviour === 'sick') response.writeHead(500).end('out of film');
  else if (behaviour === 'silent') request.resume();
  else if (url === '/busy') response.end(JSON.stringify({ processing: busyAnswers-- > 0 }));
  else if (url === '/always-busy') response.end(JSON.stringify({ processing: true }));
  else if (url === '/activate' || url === '/passivate') {
    active = url === '/activate';
    response.writeHead(behaviour === 'unwilling' ? 409 : 204).end();
  } else response.end(JSON.stringify({ pid: process.pid, active, folder: FOLDER }));
});
setTimeout(() => {
  server.listen(Number(port), '127.0.0.1', () => console.log('listening'));
}, Number(BOOT_MS));
