"""A bRPC peer of its own: baidu_std calls and streaming, from the wire's description only, with protobuf's own codec.

    peer.py ECHO        ECHO is the example brpc_echo; it is started as a server, and as a client of this peer.
"""
import socket
import struct
import subprocess
import sys
import threading

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

F = descriptor_pb2.FieldDescriptorProto
INT32, INT64, STRING, BYTES, BOOL, MESSAGE = F.TYPE_INT32, F.TYPE_INT64, F.TYPE_STRING, F.TYPE_BYTES, F.TYPE_BOOL, F.TYPE_MESSAGE
REQUIRED, OPTIONAL, REPEATED = F.LABEL_REQUIRED, F.LABEL_OPTIONAL, F.LABEL_REPEATED
RST, CLOSE, DATA, FEEDBACK = 1, 2, 3, 4

SCHEMA = {
    "StreamSettings": [("stream_id", 1, INT64, REQUIRED), ("need_feedback", 2, BOOL, OPTIONAL),
                       ("writable", 3, BOOL, OPTIONAL), ("extra_stream_ids", 4, INT64, REPEATED)],
    "Feedback": [("consumed_size", 1, INT64, OPTIONAL)],
    "StreamFrameMeta": [("stream_id", 1, INT64, REQUIRED), ("source_stream_id", 2, INT64, OPTIONAL),
                        ("frame_type", 3, INT32, OPTIONAL), ("has_continuation", 4, BOOL, OPTIONAL),
                        ("feedback", 5, "Feedback", OPTIONAL)],
    "RpcRequestMeta": [("service_name", 1, STRING, REQUIRED), ("method_name", 2, STRING, REQUIRED),
                       ("timeout_ms", 8, INT32, OPTIONAL)],
    "RpcResponseMeta": [("error_code", 1, INT32, OPTIONAL), ("error_text", 2, STRING, OPTIONAL)],
    "RpcMeta": [("request", 1, "RpcRequestMeta", OPTIONAL), ("response", 2, "RpcResponseMeta", OPTIONAL),
                ("compress_type", 3, INT32, OPTIONAL), ("correlation_id", 4, INT64, OPTIONAL),
                ("attachment_size", 5, INT32, OPTIONAL), ("stream_settings", 8, "StreamSettings", OPTIONAL),
                ("content_type", 10, INT32, OPTIONAL), ("checksum_type", 11, INT32, OPTIONAL),
                ("checksum_value", 12, BYTES, OPTIONAL)],
    "Echo": [("message", 1, STRING, OPTIONAL)],
}


def build():
    file = descriptor_pb2.FileDescriptorProto(name="peer.proto", package="peer", syntax="proto2")
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label in fields:
            made = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                made.type, made.type_name = MESSAGE, ".peer." + kind
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName("peer." + n)) for n in SCHEMA}


M = build()


class Wire:
    def __init__(self, sock):
        sock.settimeout(20)
        self.sock = sock

    def exactly(self, n):
        got = b""
        while len(got) < n:
            more = self.sock.recv(n - len(got))
            if not more:
                raise EOFError
            got += more
        return got

    @staticmethod
    def pack(magic, meta, payload):
        meta = meta.SerializeToString()
        return magic + struct.pack(">II", len(meta) + len(payload), len(meta)) + meta + payload

    @staticmethod
    def unpack(head, body):
        meta = M["RpcMeta" if head[:4] == b"PRPC" else "StreamFrameMeta"]()
        size = struct.unpack(">I", head[8:12])[0]
        meta.ParseFromString(body[:size])
        return head[:4], meta, body[size:]

    def frame(self):
        head = self.exactly(12)
        return self.unpack(head, self.exactly(struct.unpack(">I", head[4:8])[0]))

    def rpc(self, meta, payload=b""):
        self.sock.sendall(self.pack(b"PRPC", meta, payload))

    def strm(self, to, kind, source=None, payload=b"", more=None, consumed=None):
        meta = M["StreamFrameMeta"](stream_id=to, frame_type=kind)
        if source is not None:
            meta.source_stream_id = source
        if more is not None:
            meta.has_continuation = more
        if consumed is not None:
            meta.feedback.consumed_size = consumed
        self.sock.sendall(self.pack(b"STRM", meta, payload))


def request(method="Echo", correlation=7, text="hi", ids=()):
    meta = M["RpcMeta"](correlation_id=correlation, compress_type=0, content_type=0, checksum_type=0, checksum_value=b"")
    meta.request.service_name, meta.request.method_name = "example.EchoService", method
    if ids:
        settings = meta.stream_settings
        settings.stream_id, settings.need_feedback, settings.writable = ids[0], True, True
        settings.extra_stream_ids.extend(ids[1:])
    return meta, M["Echo"](message=text).SerializeToString()


def whole(wire):
    """The next response, and the frame around it if there is one."""
    magic, meta, payload = wire.frame()
    if magic == b"PRPC":
        return None, meta, payload
    assert meta.frame_type == DATA and not meta.has_continuation, meta
    inner, rpc, body = Wire.unpack(payload[:12], payload[12:])
    assert inner == b"PRPC"
    return meta, rpc, body


def check_server(port):
    wire = Wire(socket.create_connection(("127.0.0.1", port)))
    wire.rpc(*request(text="größe"))
    around, meta, body = whole(wire)
    assert around is None and meta.correlation_id == 7 and meta.response.error_code == 0
    assert M["Echo"].FromString(body).message == "größe"
    wire.rpc(*request(method="Nothing"))
    assert whole(wire)[1].response.error_code == 1002
    wire.rpc(*request(method="Nothing", ids=[5]))
    around, meta, _ = whole(wire)
    assert around.stream_id == 5 and meta.response.error_code == 1002 and not meta.HasField("stream_settings")

    # Two streams, opaque ids: 0 and the largest negative but one.
    ids = [0, -(2 ** 63) + 1]
    wire.rpc(*request(ids=ids))
    around, meta, _ = whole(wire)
    theirs = [meta.stream_settings.stream_id, *meta.stream_settings.extra_stream_ids]
    assert around.stream_id == 0 and len(theirs) == 2 and meta.stream_settings.need_feedback and meta.stream_settings.writable
    for mine, their in zip(ids, theirs):
        messages = [b"", b"x" * 26, b"segment" * 30000]
        wire.strm(their, DATA, mine, messages[0], False)
        wire.strm(their, DATA, mine, messages[1], False)
        wire.strm(their, DATA, mine, messages[2][:100], True)
        wire.strm(their, DATA, mine, messages[2][100:], False)
        back, message, told, consumed = [], b"", 0, 0
        while len(back) < 3 or consumed < sum(map(len, messages)):
            _, meta, payload = wire.frame()
            assert meta.stream_id == mine and meta.source_stream_id == their, meta
            if meta.frame_type == FEEDBACK:
                assert meta.feedback.consumed_size > consumed, "feedback is cumulative and grows"
                consumed = meta.feedback.consumed_size
                continue
            assert meta.frame_type == DATA, meta
            message += payload
            told += len(payload)
            wire.strm(their, FEEDBACK, mine, consumed=told)
            if not meta.has_continuation:
                back.append(message)
                message = b""
        assert back == messages and consumed == sum(map(len, messages))
    # An orderly end is mirrored; what comes behind it is for nobody.
    wire.strm(theirs[0], CLOSE, ids[0])
    _, meta, _ = wire.frame()
    assert (meta.frame_type, meta.stream_id, meta.source_stream_id) == (CLOSE, ids[0], theirs[0])
    wire.strm(theirs[0], DATA, ids[0], b"late", False)
    _, meta, _ = wire.frame()
    assert (meta.frame_type, meta.stream_id, meta.HasField("source_stream_id")) == (RST, ids[0], False)
    # RST and FEEDBACK for what is unknown are answered by nothing: the next thing that comes is the call's answer.
    wire.strm(theirs[0], RST)
    wire.strm(theirs[0], FEEDBACK, ids[0], consumed=1)
    wire.strm(theirs[1], RST)
    wire.rpc(*request(correlation=-1))
    around, meta, _ = whole(wire)
    assert around is None and meta.correlation_id == -1
    wire.sock.close()


class Server(threading.Thread):
    """Echoes calls and streams, with a window of its own of 1000 bytes towards the client."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.error, self.closes, self.fed = None, 0, 0

    def run(self):
        try:
            self.wire = Wire(self.listener.accept()[0])
            self.serve(self.wire)
        except Exception as error:  # told by the main thread
            self.error = error
        finally:
            self.wire.sock.close()

    def serve(self, wire):
        streams = {}
        while True:
            try:
                magic, meta, payload = wire.frame()
            except EOFError:
                return
            if magic == b"PRPC":
                self.answer(wire, meta, payload, streams)
                continue
            stream = streams[meta.stream_id]
            assert meta.source_stream_id == stream["to"], meta
            if meta.frame_type == DATA:
                stream["got"] += len(payload)
                wire.strm(stream["to"], FEEDBACK, meta.stream_id, consumed=stream["got"])
                stream["part"] += payload
                if not meta.has_continuation:
                    stream["queue"].append(stream["part"])
                    stream["part"] = b""
            elif meta.frame_type == FEEDBACK:
                assert stream["told"] < meta.feedback.consumed_size <= stream["sent"], meta
                stream["told"] = meta.feedback.consumed_size
                self.fed += 1
            elif meta.frame_type == CLOSE:
                self.closes += 1
                wire.strm(stream["to"], CLOSE, meta.stream_id)
                del streams[meta.stream_id]
                continue
            while stream["queue"] and stream["sent"] < stream["told"] + 1000:
                message = stream["queue"].pop(0)
                stream["sent"] += len(message)
                middle = len(message) // 2
                wire.strm(stream["to"], DATA, meta.stream_id, message[:middle], True)
                wire.strm(stream["to"], DATA, meta.stream_id, message[middle:], False)

    def answer(self, wire, meta, payload, streams):
        answer = M["RpcMeta"](correlation_id=meta.correlation_id)
        answer.response.error_code = 0 if meta.request.method_name == "Echo" else 1002
        assert meta.request.service_name == "example.EchoService"
        if not meta.HasField("stream_settings"):
            wire.rpc(answer, payload)
            return
        asked = meta.stream_settings
        ids = [2 ** 40 + 7, -2]
        for mine, to in zip(ids, [asked.stream_id, *asked.extra_stream_ids]):
            streams[mine] = {"to": to, "got": 0, "part": b"", "queue": [], "told": 0, "sent": 0}
        settings = answer.stream_settings
        settings.stream_id, settings.need_feedback, settings.writable = ids[0], True, True
        settings.extra_stream_ids.extend(ids[1:len(streams)])
        wire.strm(asked.stream_id, DATA, ids[0], Wire.pack(b"PRPC", answer, payload), False)


def check_client(echo):
    server = Server()
    server.start()
    asked = subprocess.run([echo, "--connect", str(server.port), "--messages", "500", "--size", "300"], timeout=60)
    server.join(10)
    if server.error:
        raise server.error
    assert asked.returncode == 0
    assert not server.is_alive() and server.closes == 2 and server.fed > 10, (server.closes, server.fed)


def main():
    echo = sys.argv[1]
    served = subprocess.Popen([echo, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(served.stdout.readline().rsplit(":", 1)[1])
        check_server(port)
        print("our server: calls, streams, feedback, CLOSE, RST: ok")
        subprocess.run([echo, "--connect", str(port)], check=True, timeout=60)
    finally:
        served.kill()
        served.wait()
    check_client(echo)
    print("our client: calls, streams, feedback, CLOSE: ok")


main()
