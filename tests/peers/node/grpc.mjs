// @grpc/grpc-js against the service grpc; prints each check it passed.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import grpc from '@grpc/grpc-js';

const MEGABYTE = 1 << 20;
const same = (bytes) => bytes;
const limits = {
  'grpc.max_receive_message_length': 16 * MEGABYTE,
  'grpc.max_metadata_size': 256 << 10,
};
const [target, what] = process.argv.slice(2);
const client = new grpc.Client(target, grpc.credentials.createInsecure(), limits);
const patience = () => ({ deadline: Date.now() + 30_000 });
const bytes = (text) => Buffer.from(text);

function metadata(fields) {
  const all = new grpc.Metadata();
  for (const [name, value] of Object.entries(fields)) all.set(name, value);
  return all;
}

// A unary call: its answer, both metadata, or its error.
function unary(method, message, fields = {}) {
  return new Promise((resolve, reject) => {
    const seen = {};
    const path = `/sim.Echo/${method}`;
    const call = client.makeUnaryRequest(path, same, same, message, metadata(fields), patience(),
      (error, answer) => { seen.error = error; seen.answer = answer; });
    call.on('metadata', (head) => { seen.head = head; });
    call.on('status', (status) => {
      seen.trailers = status.metadata;
      setImmediate(() => (seen.error ? reject(seen.error) : resolve(seen)));
    });
  });
}

const bidi = (method, fields = {}, options = patience()) =>
  client.makeBidiStreamRequest(`/sim.Echo/${method}`, same, same, metadata(fields), options);

async function all(call) {
  const answers = [];
  for await (const answer of call) answers.push(answer);
  return answers;
}

async function kinds() {
  assert.equal(String((await unary('Unary', bytes('one'))).answer), 'one');
  console.log('unary');
  const server = client.makeServerStreamRequest('/sim.Echo/ServerStream', same, same,
    bytes('\x05x'), new grpc.Metadata(), patience());
  assert.deepEqual((await all(server)).map(String), Array(5).fill('\x05x'));
  console.log('server stream');
  const last = await new Promise((resolve, reject) => {
    const call = client.makeClientStreamRequest('/sim.Echo/ClientStream', same, same,
      new grpc.Metadata(), patience(), (error, answer) => (error ? reject(error) : resolve(answer)));
    for (const part of ['a', 'b', 'c']) call.write(bytes(part));
    call.end();
  });
  assert.equal(String(last), 'c');
  console.log('client stream');
  const call = bidi('Bidi');
  for (let number = 0; number < 20; number += 1) {
    call.write(bytes(String(number)));
    const [answer] = await once(call, 'data');
    assert.equal(String(answer), String(number));
  }
  call.end();
  await once(call, 'status');
  console.log('bidirectional stream');
}

async function withMetadata() {
  const every = Buffer.from(Array.from({ length: 256 }, (_, at) => at));
  const { head, trailers } = await unary('Unary', bytes('x'), { 'x-text': 'two  words', 'x-odd-bin': every });
  for (const received of [head, trailers]) {
    assert.deepEqual(received.get('x-text'), ['two  words']);
    assert.deepEqual(received.get('x-odd-bin'), [every]);
  }
  console.log('metadata');
}

async function failures() {
  for (let code = 1; code <= 16; code += 1) {
    const error = await unary('Fail', bytes(''), { 'x-sim-status': String(code) }).catch((e) => e);
    assert.deepEqual([error.code, error.details], [code, 'failed as asked']);
  }
  const error = await unary('Missing', bytes('')).catch((e) => e);
  assert.equal(error.code, 12);
  console.log('trailers-only errors');
}

async function sizes() {
  const large = randomBytes(9 * MEGABYTE);
  assert.ok(large.equals((await unary('Unary', large)).answer));
  const server = client.makeServerStreamRequest('/sim.Echo/ServerStream', same, same,
    Buffer.concat([bytes('\x03'), large.subarray(0, 5 * MEGABYTE)]), new grpc.Metadata(), patience());
  assert.deepEqual((await all(server)).map((answer) => answer.length), Array(3).fill(5 * MEGABYTE + 1));
  console.log('large messages');
  const call = bidi('Trailers', { 'x-sim-bytes': '65536' });
  const status = once(call, 'status');
  call.end();
  assert.deepEqual(await all(call), []);
  assert.equal((await status)[0].metadata.get('x-sim-large')[0].length, 65536);
  console.log('large trailers');
  const many = bidi('Bidi');
  const answers = all(many);
  for (let number = 0; number < 20_000; number += 1) {
    if (!many.write(bytes('.'))) await once(many, 'drain');
  }
  many.end();
  assert.equal((await answers).length, 20_000);
  console.log('many small messages');
}

async function ends() {
  const late = bidi('Hang', {}, { deadline: Date.now() + 300 });
  const [error] = await once(late, 'error').catch((e) => [e]);
  assert.equal(error.code, 4);
  console.log('deadline');
  const call = bidi('Hang', { 'x-cancelled': 'yes' });
  await once(call, 'metadata');
  const ended = new Promise((resolve) => { call.on('error', resolve); });
  call.cancel();
  assert.equal((await ended).code, 1);
  // The library tells the peer on its own time; the next call is behind it.
  assert.equal(String((await unary('Unary', bytes('next'))).answer), 'next');
  console.log('cancellation');
}

if (what === 'status') {
  const error = await unary('Unary', bytes('x')).catch((e) => e);
  console.log(error.code, error.details);
} else {
  for (const part of [kinds, withMetadata, failures, sizes, ends]) await part();
}
client.close();
