// npm `ws` as a peer of tests/peers/websocket/interop.sh.
//
//     ws.mjs server                  echoes on a free port, which it prints, and does what tests/src/websocket.rs asks for
//     ws.mjs reaper                  ends every connection after a few messages; see tests/src/websocket_writers.rs
//     ws.mjs client ws://HOST:PORT   puts an echo server through everything
//     ws.mjs victim ws://HOST:PORT   says one thing and waits to be killed
import { createRequire } from 'node:module';
import { once } from 'node:events';
import assert from 'node:assert/strict';

// The packages lie where install.sh put them.
const { WebSocket, WebSocketServer } = createRequire(process.env.NODE_FOLDER + '/x.js')('ws');
const HUGE = 64 << 20;
const [role, address] = process.argv.slice(2);
const perMessageDeflate = { threshold: 0, zlibDeflateOptions: { level: 1 } };

function fragments(socket, count) {
    for (let n = 0; n < count; n++) {
        socket.send(String(n % 10), { fin: n + 1 === count });
    }
}

function server() {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, maxPayload: HUGE, perMessageDeflate });
    server.on('listening', () => console.log(`listening 127.0.0.1:${server.address().port}`));
    server.on('connection', (socket) => {
        socket.on('error', () => {});
        socket.on('message', (data, binary) => {
            const words = binary ? [] : data.toString().split(' ');
            if (words[0] === 'close') return socket.close(Number(words[1]), words[2]);
            if (words[0] === 'fragments') return fragments(socket, Number(words[1]));
            if (words[0] === 'fin') return socket.send('last', () => socket._socket.end());
            socket.send(data, { binary });
        });
    });
}

// Says hello, keeps what comes under the name that the first message gives, and ends the connection after a while: by a
// Close, by FIN or by a reset.
function reaper() {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    const kept = new Map();
    let connections = 0;
    server.on('listening', () => console.log(`listening 127.0.0.1:${server.address().port}`));
    server.on('connection', (socket, request) => {
        if (request.url === '/report') {
            return socket.send([...kept].map(([name, got]) => [name, ...got].join(' ')).join('\n'));
        }
        const end = [() => socket.close(1001, 'again'), () => socket.terminate(), () => socket._socket.resetAndDestroy()];
        const how = end[connections++ % end.length];
        const most = 1 + Math.floor(Math.random() * 150);
        let got = null;
        socket.on('error', () => {});
        socket.on('message', (data) => {
            if (got === null) kept.set(data.toString(), (got = []));
            else got.push(data.toString());
            if (got.length === most) how();
        });
        socket.send('hello');
    });
}

async function open(path = '/') {
    const socket = new WebSocket(address + path, { maxPayload: HUGE, perMessageDeflate });
    const waiting = [];
    const messages = [];
    socket.on('message', (data, binary) => {
        const message = { data, binary };
        if (waiting.length) waiting.shift()(message);
        else messages.push(message);
    });
    socket.next = () => (messages.length ? messages.shift() : new Promise((resolve) => waiting.push(resolve)));
    socket.ended = new Promise((resolve) => socket.on('close', (code, reason) => resolve([code, reason.toString()])));
    await once(socket, 'open');
    return socket;
}

async function echoes(socket, data) {
    socket.send(data);
    const got = await socket.next();
    assert.equal(got.binary, typeof data !== 'string');
    assert.ok(Buffer.from(data).equals(got.data), 'another message came back');
}

async function client() {
    let socket = await open();
    console.log(`  extensions: ${socket.extensions || 'none'}`);
    for (const text of ['', 'hello', 'hü € 😀', 'long '.repeat(30000)]) await echoes(socket, text);
    for (const len of [0, 1, 125, 126, 127, 65535, 65536]) await echoes(socket, Buffer.alloc(len, 7));
    await echoes(socket, Buffer.alloc(HUGE, 'sixty-four'));
    fragments(socket, 12);
    assert.equal((await socket.next()).data.toString(), '012345678901');
    socket.send('fragments 12');
    assert.equal((await socket.next()).data.toString(), '012345678901');
    const pong = once(socket, 'pong');
    socket.ping('there?');
    assert.equal((await pong)[0].toString(), 'there?');
    for (const code of [1000, 1001, 3000, 4999]) {
        socket = await open('/ours');
        await echoes(socket, 'a');
        socket.close(code, 'done');
        // Ours answers with the same code.
        assert.equal((await socket.ended)[0], code);
    }
    for (const code of [1000, 1001, 3000, 4321]) {
        socket = await open('/theirs');
        socket.send(`close ${code} because`);
        assert.deepEqual(await socket.ended, [code, 'because']);
    }
    socket = await open('/fin');
    await echoes(socket, 'a');
    socket._socket.end();
    // Ours still says goodbye to who stopped sending without a Close, and reports 1006 itself.
    assert.equal((await socket.ended)[0], 1000);
    console.log('  text and binary, 64 MiB, fragments both ways, ping, close codes both ways, half-close');
}

async function victim() {
    const socket = await open('/victim');
    await echoes(socket, 'a');
    console.log('ready');
    setTimeout(() => {}, 60000);
}

const roles = { server, reaper, client, victim };
await roles[role]();
if (role === 'client') process.exit(0);
