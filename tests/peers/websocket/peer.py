"""PyPI `websockets` and `aiohttp` as peers of interop.sh.

    peer.py LIBRARY server                  echoes on a free port, which it prints, and does what tests/src/websocket.rs asks for
    peer.py LIBRARY client ws://HOST:PORT   puts an echo server through everything
    peer.py LIBRARY victim ws://HOST:PORT   says one thing and waits to be killed
"""

import asyncio
import sys

HUGE = 64 << 20
DIGITS = "012345678901"


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"  FAILED: {what}: got {got!r:.200}, wanted {wanted!r:.200}")


class Websockets:
    """Both roles with `websockets`."""

    fragments = True
    code_after_fin = 1000

    async def serve(self):
        import websockets

        async def echo(socket):
            async for message in socket:
                words = message.split(" ") if isinstance(message, str) else [""]
                if words[0] == "close":
                    return await socket.close(int(words[1]), words[2])
                if words[0] == "fragments":
                    await socket.send([str(n % 10) for n in range(int(words[1]))])
                elif words[0] == "fin":
                    await socket.send("last")
                    socket.transport.write_eof()
                else:
                    await socket.send(message)

        async with websockets.serve(echo, "127.0.0.1", 0, max_size=HUGE) as server:
            print(f"listening 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
            await asyncio.Future()

    async def connect(self, address):
        import websockets

        self.socket = await websockets.connect(address, max_size=HUGE)
        return self

    def extensions(self):
        return self.socket.response.headers.get("Sec-WebSocket-Extensions")

    async def send(self, message):
        await self.socket.send(message)

    async def send_fragments(self, parts):
        await self.socket.send(parts)

    async def recv(self):
        return await self.socket.recv()

    async def ping(self):
        await (await self.socket.ping("there?"))

    async def close(self, code):
        await self.socket.close(code, "done")
        return self.socket.close_code

    async def ended(self):
        await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    def fin(self):
        self.socket.transport.write_eof()


class Aiohttp:
    """Both roles with `aiohttp`, which cannot send fragments."""

    fragments = False
    # It cannot answer our Close after its FIN, and calls that abnormal.
    code_after_fin = 1006

    async def serve(self):
        from aiohttp import WSMsgType, web

        async def echo(request):
            socket = web.WebSocketResponse(max_msg_size=HUGE + 1)
            await socket.prepare(request)
            async for message in socket:
                if message.type == WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
                    continue
                words = message.data.split(" ")
                if words[0] == "close":
                    await socket.close(code=int(words[1]), message=words[2].encode())
                elif words[0] == "fin":
                    await socket.send_str("last")
                    request.transport.write_eof()
                else:
                    await socket.send_str(message.data)
            return socket

        app = web.Application()
        app.router.add_get("/{any:.*}", echo)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(f"listening 127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await asyncio.Future()

    async def connect(self, address):
        import aiohttp

        self.session = aiohttp.ClientSession()
        self.socket = await self.session.ws_connect(address, max_msg_size=HUGE + 1, compress=15, autoping=False)
        return self

    def extensions(self):
        return self.socket._response.headers.get("Sec-WebSocket-Extensions")

    async def send(self, message):
        await (self.socket.send_str if isinstance(message, str) else self.socket.send_bytes)(message)

    async def recv(self):
        return (await self.socket.receive()).data

    async def ping(self):
        await self.socket.ping(b"there?")
        expect("pong", bytes(await self.recv()), b"there?")

    async def close(self, code):
        await self.socket.close(code=code, message=b"done")
        await self.session.close()
        return self.socket.close_code

    async def ended(self):
        message = await self.socket.receive()
        await self.session.close()
        return self.socket.close_code, message.extra

    def fin(self):
        self.socket._response.connection.transport.write_eof()


async def echoes(peer, message):
    await peer.send(message)
    expect("echo", await peer.recv(), message)


async def client(kind, address):
    peer = await kind().connect(address)
    print(f"  extensions: {peer.extensions()}")
    for text in ["", "hello", "hü € 😀", "long " * 30_000]:
        await echoes(peer, text)
    for size in [0, 1, 125, 126, 127, 65_535, 65_536]:
        await echoes(peer, b"\7" * size)
    await echoes(peer, b"sixtyfour-" * (HUGE // 10))
    if kind.fragments:
        await peer.send_fragments(list(DIGITS))
        expect("fragments to ours", await peer.recv(), DIGITS)
    await peer.send("fragments 12")
    expect("fragments of ours", await peer.recv(), DIGITS)
    await peer.ping()
    await peer.close(1000)
    for code in [1000, 1001, 3000, 4999]:
        peer = await kind().connect(address + "/ours")
        await echoes(peer, "a")
        expect("our answer to its Close", await peer.close(code), code)
    for code in [1000, 1001, 3000, 4321]:
        peer = await kind().connect(address + "/theirs")
        await peer.send(f"close {code} because")
        expect("our Close", await peer.ended(), (code, "because"))
    peer = await kind().connect(address + "/fin")
    await echoes(peer, "a")
    peer.fin()
    # Ours still says goodbye to who stopped sending without a Close, and reports 1006 itself.
    expect("the end after its FIN", (await peer.ended())[0], kind.code_after_fin)
    print("  text and binary, 64 MiB, fragments, ping, close codes both ways, half-close")


async def victim(kind, address):
    peer = await kind().connect(address + "/victim")
    await echoes(peer, "a")
    print("ready", flush=True)
    await asyncio.sleep(60)


async def main():
    kind = {"websockets": Websockets, "aiohttp": Aiohttp}[sys.argv[1]]
    if sys.argv[2] == "server":
        await kind().serve()
    elif sys.argv[2] == "client":
        await asyncio.wait_for(client(kind, sys.argv[3]), 60)
    else:
        await victim(kind, sys.argv[3])


asyncio.run(main())
