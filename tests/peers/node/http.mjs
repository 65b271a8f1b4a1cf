// Node's fetch, undici and node:http against many services; prints each check it passed.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { request } from 'undici';

const SIZE = 10 << 20;
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const body = randomBytes(SIZE);

// The bytes of `download?counted`.
function counted() {
  return Buffer.concat(Array.from({ length: SIZE >> 16 }, (_, at) => Buffer.alloc(1 << 16, at % 251)));
}

async function* chunks() {
  for (let at = 0; at < SIZE; at += 100_000) yield body.subarray(at, at + 100_000);
}

for (let number = 0; number < 20; number += 1) {
  assert.equal(await (await fetch(`http://hello/${number}`)).text(), 'hello from hello (us-central1)\n');
}
console.log('keep-alive');

for (const [how, content] of [['fetch', body], ['fetch', chunks()], ['undici', body], ['undici', chunks()]]) {
  const answer = how === 'fetch'
    ? await (await fetch('http://upload/', { method: 'POST', body: content, duplex: 'half' })).json()
    : await (await request('http://upload/', { method: 'POST', body: content })).body.json();
  assert.deepEqual([answer.bytes, answer.sha256], [SIZE, sha256(body)]);
}
console.log('uploads');

for (const form of ['', '&chunked']) {
  const url = `http://download/?counted&bytes=${SIZE}${form}`;
  assert.ok(counted().equals(Buffer.from(await (await fetch(url)).arrayBuffer())));
  assert.ok(counted().equals(Buffer.from(await (await request(url)).body.arrayBuffer())));
}
console.log('downloads');

const landed = await fetch('http://redirect/');
assert.deepEqual([await landed.text(), landed.url], ['landed\n', 'http://redirect/landed']);
console.log('redirect');

const two = await fetch('http://status/?field=set-cookie:a%3D1&field=set-cookie:b%3D2');
assert.deepEqual(two.headers.getSetCookie(), ['a=1', 'b=2']);
await fetch('http://status/with-cookies', { headers: { cookie: 'a=1; b=2' } });
console.log('cookies');

const head = await fetch(`http://download/?bytes=${SIZE}`, { method: 'HEAD' });
assert.equal(head.headers.get('content-length'), String(SIZE));
for (const code of [204, 304, 299, 418, 599]) {
  assert.equal((await fetch(`http://status/?code=${code}`)).status, code);
}
console.log('statuses');

let interim = [];
let asked = http.request('http://hints/', { method: 'POST', headers: { expect: '100-continue' } });
asked.on('information', ({ statusCode, headers }) => interim.push([statusCode, headers.link]));
asked.on('continue', () => asked.end('waited'));
asked.flushHeaders();
let [answer] = await once(asked, 'response');
assert.equal(String(Buffer.concat(await answer.toArray())), 'hints 6\n');
assert.deepEqual(interim, [[100, undefined], [103, '</style.css>; rel=preload; as=style']]);
console.log('interim responses');

asked = http.request('http://trailers/', { method: 'POST', headers: { trailer: 'x-sum' } });
asked.write('summed');
asked.addTrailers({ 'x-sum': '42' });
asked.end();
[answer] = await once(asked, 'response');
assert.equal(String(Buffer.concat(await answer.toArray())), 'summed');
assert.deepEqual([answer.trailers['x-sum'], answer.trailers['x-sim-trailer']], ['42', 'end']);
console.log('trailers');

const session = http2.connect('http://trailers');
const stream = session.request({ ':method': 'POST', ':path': '/' }, { waitForTrailers: true });
const trailers = once(stream, 'trailers');
stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '42' }));
stream.end('summed');
assert.equal(String(Buffer.concat(await stream.toArray())), 'summed');
assert.equal((await trailers)[0]['x-sum'], '42');
session.close();
console.log('HTTP/2');

http.globalAgent.destroy();
