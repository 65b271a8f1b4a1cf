// The library ws against the service ws; prints each check it passed.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import WebSocket from 'ws';

async function open(path = '', options = { perMessageDeflate: false }, protocols = []) {
  const socket = new WebSocket(`ws://ws/${path}`, protocols, { ...options, maxPayload: 32 << 20 });
  socket.inbox = [];
  socket.on('message', (data, binary) => {
    socket.inbox.push(binary ? data : String(data));
    socket.emit('inbox');
  });
  await once(socket, 'open');
  return socket;
}

async function received(socket) {
  if (socket.inbox.length === 0) await once(socket, 'inbox');
  return socket.inbox.shift();
}

async function close(socket, code = 1000, reason = '') {
  const closed = once(socket, 'close');
  socket.close(code, reason);
  const [was, why] = await closed;
  assert.deepEqual([was, String(why)], [code, reason]);
}

let socket = await open();
for (const message of ['', 'text', '\u00e9\u{1f600}', Buffer.alloc(0), Buffer.from([0, 255]),
  'x'.repeat(125), 'x'.repeat(126), 'x'.repeat(65535), Buffer.alloc(65536, 1)]) {
  socket.send(message);
  assert.deepEqual(await received(socket), message);
}
await close(socket);
console.log('echo');

socket = await open('?greet', { perMessageDeflate: false }, ['chat.v2', 'chat.v1']);
assert.equal(await received(socket), 'hello');
assert.equal(socket.protocol, 'chat.v2');
await close(socket);
console.log('greeting with the handshake');

socket = await open();
const pongs = [];
socket.on('pong', (data) => pongs.push(String(data)));
for (let number = 0; number < 10; number += 1) {
  socket.ping(`ping ${number}`);
  socket.send(`piece ${number} `, { fin: number === 9 });
}
const pieces = Array.from({ length: 10 }, (_, number) => `piece ${number} `);
assert.equal(await received(socket), pieces.join(''));
assert.deepEqual(pongs, pieces.map((_, number) => `ping ${number}`));
await close(socket);
console.log('pings amid fragments');

const large = randomBytes(16 << 20);
socket = await open();
socket.send(large);
assert.ok(large.equals(await received(socket)));
await close(socket);
console.log('16 MiB');

socket = await open('?deflate', { perMessageDeflate: { threshold: 0 } });
assert.match(socket.extensions, /permessage-deflate/);
for (const message of ['again and '.repeat(1000), 'again and '.repeat(1000), large.subarray(0, 1e5)]) {
  socket.send(message);
  assert.deepEqual(await received(socket), message);
}
await close(socket);
console.log('compression');

for (const [code, reason] of [[1000, ''], [1001, 'going'], [1008, 'x'.repeat(123)], [3000, ''],
  [4999, '\u00e9']]) {
  await close(await open(), code, reason);
}
console.log('close codes');

socket = await open('?how=drop');
const [code] = socket.readyState === WebSocket.CLOSED ? [1006] : await once(socket, 'close');
assert.equal(code, 1006);
console.log('a service that leaves');

const refused = new WebSocket('ws://ws/?how=refuse');
const [, response] = await once(refused, 'unexpected-response');
const kept = response.socket;
assert.equal(response.statusCode, 403);
assert.equal(String((await response.toArray())[0]), 'refused as asked\n');
// A refusal leaves a normal connection, which would keep this program alive.
kept.destroy();
console.log('refusal');

socket = await open();
for (let number = 0; number < 32; number += 1) socket.send(large.subarray(0, 1 << 20));
for (let number = 0; number < 32; number += 1) {
  assert.ok(large.subarray(0, 1 << 20).equals(await received(socket)));
}
await close(socket);
console.log('both directions at once');
